"""The settings a problem can be told in, with the people and things found there.

The one rule: every domain can be told in every setting, so a setting offers countable things,
containers, a material, something rectangular, something long and somebody who travels.
"""

from __future__ import annotations

from typing import NamedTuple


class Context(NamedTuple):
    """One setting; nouns are given as singular and plural, `at` begins a phrase of place."""

    setting: str
    at: str
    people: tuple[str, ...]
    worker: str
    workers: str
    item: str
    items: str
    other: str
    others: str
    box: str
    boxes: str
    looks: tuple[str, str, str]
    stuff: str
    unit: str
    units: str
    plot: str
    strip: str
    vehicle: str

    @property
    def place(self) -> str:
        """The setting with the definite article: "the bakery"."""
        return "the " + self.setting.partition(" ")[2]


def _context(setting: str, people: str, nouns: str, rest: str) -> Context:
    preposition, _, named = setting.partition(" ")
    worker, workers, item, items, other, others, box, boxes = nouns.split(", ")
    looks, stuff, unit, plot, strip, vehicle = rest.split(", ")
    first, second, third = looks.split("/")
    at = f"{preposition} the {named.partition(' ')[2]}"
    return Context(
        named, at, tuple(people.split()), worker, workers, item, items, other, others, box, boxes,
        (first, second, third), stuff, unit, unit + "s", plot, strip, vehicle,
    )  # fmt: skip


CONTEXTS = (
    _context(
        "at a bakery",
        "Mara Tobias Lena Anton",
        "baker, bakers, bun, buns, loaf, loaves, tray, trays",
        "seeded/plain/glazed, flour, kilogram, worktop, ribbon, delivery van",
    ),
    _context(
        "on a train journey",
        "Priya Oscar Helga Ramon",
        "conductor, conductors, ticket, tickets, suitcase, suitcases, rack, racks",
        "green/white/yellow, coffee, litre, platform, handrail, night train",
    ),
    _context(
        "in a school garden",
        "Noor Felix Amara Jonas",
        "gardener, gardeners, seedling, seedlings, pumpkin, pumpkins, crate, crates",
        "tall/short/striped, compost, kilogram, flower bed, fence, wheelbarrow cart",
    ),
    _context(
        "in a library",
        "Ingrid Samir Dora Elias",
        "librarian, librarians, book, books, magazine, magazines, shelf, shelves",
        "coloured/leather/paperback, glue, litre, reading room, shelf board, book bus",
    ),
    _context(
        "at a football club",
        "Kofi Marta Diego Hanna",
        "coach, coaches, ball, balls, jersey, jerseys, locker, lockers",
        "golden/silver/black, lemonade, litre, training pitch, rope, team coach",
    ),
    _context(
        "on a farm",
        "Agnes Bruno Yara Matteo",
        "farmer, farmers, egg, eggs, melon, melons, basket, baskets",
        "brown/pale/speckled, barley, kilogram, paddock, hedge, tractor",
    ),
    _context(
        "in a pottery studio",
        "Sofia Kenji Lucia Arvid",
        "potter, potters, mug, mugs, vase, vases, rack, racks",
        "blue/grey/painted, clay, kilogram, work table, clay strip, supply truck",
    ),
    _context(
        "at a music festival",
        "Zara Milan Freya Tarek",
        "organiser, organisers, wristband, wristbands, poster, posters, bundle, bundles",
        "purple/golden/neon, juice, litre, stage, cable, shuttle bus",
    ),
    _context(
        "at a swimming pool",
        "Nadia Erik Chloe Pavel",
        "lifeguard, lifeguards, towel, towels, float, floats, cabinet, cabinets",
        "striped/turquoise/dotted, chlorine, litre, sun terrace, lane rope, pool cart",
    ),
    _context(
        "in a bicycle workshop",
        "Leila Gustav Ximena Robert",
        "mechanic, mechanics, bell, bells, tyre, tyres, drawer, drawers",
        "chrome/brass/copper, oil, litre, workbench, chain, courier bike",
    ),
    _context(
        "at a science museum",
        "Amina Ludwig Teresa Nils",
        "guide, guides, model, models, fossil, fossils, display case, display cases",
        "wooden/metal/plastic, plaster, kilogram, exhibition hall, barrier tape, tour bus",
    ),
    _context(
        "in a fishing harbour",
        "Bjorn Salma Henrik Inez",
        "fisher, fishers, buoy, buoys, net, nets, barrel, barrels",
        "red/weathered/floating, ice, kilogram, pier deck, mooring line, ferry",
    ),
    _context(
        "in a toy shop",
        "Mila Jasper Odette Ravi",
        "clerk, clerks, puzzle, puzzles, teddy, teddies, carton, cartons",
        "colourful/foam/magnetic, paint, litre, play mat, toy track, parcel van",
    ),
    _context(
        "on a mountain hike",
        "Greta Andrei Fatima Colin",
        "ranger, rangers, snack bar, snack bars, flask, flasks, backpack, backpacks",
        "sweet/salty/crunchy, water, litre, camping meadow, trail, cable car",
    ),
    _context(
        "at a film club",
        "Vera Hassan Louise Dmitri",
        "projectionist, projectionists, film reel, film reels, badge, badges, case, cases",
        "silent/funny/foreign, popcorn, kilogram, screen, curtain, cinema bus",
    ),
    _context(
        "in a zoo",
        "Olga Rashid Paula Wendell",
        "keeper, keepers, apple, apples, carrot, carrots, bucket, buckets",
        "ripe/green/sliced, hay, kilogram, penguin enclosure, railing, zoo railway",
    ),
    _context(
        "in a post office",
        "Irene Malik Birgit Tomas",
        "postal worker, postal workers, parcel, parcels, postcard, postcards, sack, sacks",
        "small/heavy/fragile, ink, litre, sorting hall, conveyor belt, mail van",
    ),
    _context(
        "at a summer camp",
        "Carla Ibrahim Sunniva Leo",
        "counsellor, counsellors, marshmallow, marshmallows, lantern, lanterns, tent, tents",
        "pink/vanilla/toasted, rice, kilogram, camp field, climbing rope, camp minibus",
    ),
    _context(
        "at a flower market",
        "Rosa Cedric Yuki Stefan",
        "florist, florists, tulip, tulips, bouquet, bouquets, bucket, buckets",
        "scarlet/cream/violet, soil, kilogram, market stall, garland, flower lorry",
    ),
    _context(
        "in a robotics lab",
        "Dana Farid Linnea Viktor",
        "engineer, engineers, sensor, sensors, battery, batteries, toolbox, toolboxes",
        "pressure/thermal/wireless, resin, kilogram, test arena, wire, test rover",
    ),
)  # fmt: skip
