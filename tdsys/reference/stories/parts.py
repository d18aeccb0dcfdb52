"""Fractions: a fraction of a quantity, adding fractions, dividing by a fraction."""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm

from tdsys.reference.steps import Number, Redraw, Style, constant
from tdsys.reference.tale import Kind, Outcome, Tale
from tdsys.reference.topic import Topic

DOMAIN = "fractions"
FRACTION = Style.FRACTION


def _proper(t: Tale, low: int = 3, high: int = 12) -> Number:
    """A proper fraction in lowest terms."""
    bottom = t.rng.randint(low, high)
    top = t.rng.choice([k for k in range(1, bottom) if gcd(k, bottom) == 1])
    return t.given(Fraction(top, bottom), FRACTION)


def _bottom(number: Number) -> int:
    return number.value.denominator


def _counted(of: Fraction, whole: int) -> int:
    """How many of `whole` things are in a fraction of them, found by counting off groups."""
    groups = range(0, whole, of.denominator)
    return sum(of.numerator for _ in groups)


OF_QUANTITY = Topic(
    DOMAIN,
    "fraction of a quantity",
    ("fraction",),
    (
        "To take a fraction of a quantity, multiply the quantity by the fraction.",
        "Divide the quantity by the denominator, then multiply by the numerator.",
        "The denominator says into how many parts the quantity is cut.",
        "A proper fraction of a quantity is smaller than the quantity.",
    ),
)


@OF_QUANTITY.story(steps=1)
def _fraction_of(t: Tale) -> Outcome:
    c, f = t.c, _proper(t)
    whole = t.given(_bottom(f) * t.rng.randint(4, 18))
    look = c.looks[0]
    t.tell(
        f"Of the {whole} {c.items} {c.at}, a fraction of {f} is {look}.",
        f"{t.who} says that the fraction of {look} ones among all {whole} {c.items} {c.at} is {f}.",
        f"There are {whole} {c.items} {c.at}. The fraction of {look} ones is {f}.",
        f"A sign {c.at} reads: a fraction of {f} of our {c.items} is {look}! In all there are "
        f"{whole}.",
    )
    some = t.step(f"There are # {look} {c.items}.", whole * f)
    t.prove(some, _counted(f.value, whole.n))
    kept = f"{look} {c.items}"
    asks = (f"How many {kept} are there?", f"Find the number of {kept}.")
    return Outcome(Kind.COUNT, some, asks, kept, f"{look} {c.item}")


@OF_QUANTITY.story(steps=2)
def _what_is_left(t: Tale) -> Outcome:
    c, f = t.c, _proper(t)
    whole = t.given(_bottom(f) * t.rng.randint(4, 18))
    t.tell(
        f"{t.who} brings {whole} {c.items} to {c.place}; the fraction handed out is {f}.",
        f"{c.place} starts the day with {whole} {c.items}. By noon a fraction of {f} is gone.",
        f"After a storm, the fraction {f} of the {whole} {c.items} {c.at} has to be thrown away.",
    )
    gone = t.step(f"The fraction that is gone is # {c.items}.", whole * f)
    left = t.step(f"There remain # {c.items}.", whole - gone)
    t.prove(left, _counted(1 - f.value, whole.n))
    asks = (f"How many {c.items} are left?", f"What number of {c.items} remains?")
    return Outcome(Kind.COUNT, left, asks, c.items, c.item)


@OF_QUANTITY.story(steps=2)
def _fraction_of_fraction(t: Tale) -> Outcome:
    c, f, g = t.c, _proper(t, 3, 7), _proper(t, 3, 7)
    whole = t.given(_bottom(f) * _bottom(g) * t.rng.randint(2, 7))
    t.tell(
        f"Among {whole} {c.items} {c.at}, {t.who} owns the fraction {f}, and {t.who} lends {g} of "
        f"those to {t.friend}.",
        f"{c.at}, {whole} {c.items} are checked. A fraction of {f} passes, and {g} of the ones "
        f"that pass get a gold star.",
    )
    first = t.step(f"The first fraction is # {c.items}.", whole * f)
    second = t.step(f"The fraction of those is # {c.items}.", first * g)
    t.prove(second, _counted(f.value * g.value, whole.n))
    asks = (
        f"How many {c.items} are in this last group?",
        f"Find the number of {c.items} that are picked out last.",
    )
    return Outcome(Kind.COUNT, second, asks, c.items, c.item)


@OF_QUANTITY.story(steps=2)
def _whole_from_fraction(t: Tale) -> Outcome:
    c, f = t.c, _proper(t, 3, 9)
    if f.value.numerator == 1:
        f = t.given(Fraction(_bottom(f) - 1, _bottom(f)), FRACTION)
    part = t.given(f.value.numerator * t.rng.randint(5, 20))
    t.tell(
        f"{t.who} has filled {part} {c.boxes} {c.at}, which is the fraction {f} of all the "
        f"{c.boxes}.",
        f"{part} {c.boxes} stand in the sun {c.at}. They are a fraction of {f} of all {c.boxes}.",
    )
    top, bottom = constant(f.value.numerator), constant(_bottom(f))
    unit = t.step(f"Divided by the numerator it is # {c.boxes}.", part / top)
    whole = t.step(f"The whole is # {c.boxes}.", unit * bottom)
    t.prove(part, whole.value * f.value)
    asks = (f"How many {c.boxes} are there in all?", f"Find the number of all {c.boxes}.")
    return Outcome(Kind.COUNT, whole, asks, c.boxes, c.box)


@OF_QUANTITY.story(steps=3)
def _two_fractions(t: Tale) -> Outcome:
    c, f, g = t.c, _proper(t, 3, 8), _proper(t, 3, 8)
    whole = t.given(lcm(_bottom(f), _bottom(g)) * t.rng.randint(3, 8))
    if f.value + g.value > 1:
        raise Redraw
    t.tell(
        f"Of {whole} {c.items} {c.at}, {t.who} takes the fraction {f} and {t.friend} the "
        f"fraction {g}.",
        f"{c.at}, fractions of the {whole} {c.items} have a colour label: {f} are "
        f"{c.looks[1]} and {g} are {c.looks[2]}. {t.third} collects all of these.",
    )
    first = t.step(f"The first fraction is # {c.items}.", whole * f)
    second = t.step(f"The second fraction is # {c.items}.", whole * g)
    both = t.step(f"Together that is # {c.items}.", first + second)
    t.prove(both, whole.value * (f.value + g.value))
    asks = (f"How many {c.items} is that together?", f"Find the number of these {c.items}.")
    return Outcome(Kind.COUNT, both, asks, c.items, c.item)


ADDING = Topic(
    DOMAIN,
    "adding fractions",
    ("fraction",),
    (
        "Fractions can be added when they have a common denominator.",
        "Add the numerators and keep the common denominator.",
        "Bring the sum to lowest terms at the end.",
        "The whole is a fraction with equal numerator and denominator.",
    ),
)


def _cross_sum(f: Number, g: Number) -> Fraction:
    """The sum of fractions over the product of the denominators."""
    top = f.value.numerator * _bottom(g) + g.value.numerator * _bottom(f)
    return Fraction(top, _bottom(f) * _bottom(g))


@ADDING.story(steps=1)
def _sum_of_two(t: Tale) -> Outcome:
    c, f, g = t.c, _proper(t), _proper(t)
    t.tell(
        f"{c.at}, {t.who} does the fraction {f} of the work and {t.friend} does {g} of it.",
        f"{t.who} fills a fraction of {f} of a {c.box} {c.at}; {t.friend} fills {g} of it.",
        f"In the morning the fraction {f} of the {c.stuff} {c.at} is used, in the afternoon "
        f"another {g}.",
        f"A poster {c.at} is painted by {t.who} (a fraction of {f}) and {t.third} (a fraction of "
        f"{g}).",
    )
    both = t.step("The fractions add up to #.", f + g, FRACTION)
    t.prove(both, _cross_sum(f, g))
    _needs_part(both)
    asks = (
        "What fraction of the whole is that together?",
        "Add the fractions. What fraction of the whole results?",
    )
    return Outcome(Kind.SHARE, both, asks, what="this part")


def _needs_part(number: Number) -> None:
    if number.value >= 1 or _bottom(number) > 72:
        raise Redraw


@ADDING.story(steps=2)
def _sum_of_three(t: Tale) -> Outcome:
    c, f, g, h = t.c, _proper(t), _proper(t), _proper(t)
    t.tell(
        f"{t.who}, {t.friend} and {t.third} clean {c.place}. The fraction of the floor that each "
        f"of them cleans is {f}, {g} and {h}.",
        f"The stock of {c.stuff} {c.at} shrinks by a fraction of {f} in the first week, of {g} in "
        f"the second and of {h} in the third, always measured by the full stock.",
    )
    first = t.step("The first fractions add up to #.", f + g, FRACTION)
    every = t.step("With the last fraction it is #.", first + h, FRACTION)
    t.prove(every, _cross_sum(f, Number(_cross_sum(g, h), FRACTION)))
    _needs_part(every)
    asks = ("What fraction of the whole is that together?", "What fraction is the sum?")
    return Outcome(Kind.SHARE, every, asks, what="this part")


@ADDING.story(steps=2)
def _rest_after_two(t: Tale) -> Outcome:
    c, f, g = t.c, _proper(t), _proper(t)
    t.tell(
        f"{t.who} reads {f} of a manual {c.at} on Monday and {g} of it on Tuesday. The remaining "
        f"fraction is for Friday.",
        f"Of the {c.plot} {c.at}, the fraction {f} is repaired by {t.friend} and the fraction {g} "
        f"by {t.who}; {t.third} repairs the rest.",
        f"{f} of the {c.items} {c.at} are {c.looks[0]}, {g} of them are {c.looks[1]}, and the "
        f"remaining fraction is {c.looks[2]}.",
    )
    both = t.step("The known fractions add up to #.", f + g, FRACTION)
    _needs_part(both)
    rest = t.step("The remaining fraction is #.", constant(1) - both, FRACTION)
    t.prove(rest, 1 - _cross_sum(f, g))
    asks = ("What fraction remains?", "What fraction of the whole is the rest?")
    return Outcome(Kind.SHARE, rest, asks, what="the remaining fraction")


@ADDING.story(steps=2)
def _more_than_fraction(t: Tale) -> Outcome:
    c, f, g = t.c, _proper(t, 4, 9), _proper(t, 6, 12)
    t.tell(
        f"{t.who} gets the fraction {f} of the money that {c.place} earns. The fraction for "
        f"{t.friend} is {g} "
        f"of the whole more than {t.who}'s.",
        f"{c.at}, the first lamp lights {f} of the {c.plot}. The second lamp lights a fraction "
        f"that is larger by {g} of the whole, and the lamps light different areas.",
    )
    second = t.step("The larger fraction is #.", f + g, FRACTION)
    both = t.step("Both fractions add up to #.", f + second, FRACTION)
    _needs_part(both)
    t.prove(both, f.value * 2 + g.value)
    asks = ("What fraction of the whole is that for both?", "Which fraction do both make?")
    return Outcome(Kind.SHARE, both, asks, what="this part")


DIVIDING = Topic(
    DOMAIN,
    "dividing by a fraction",
    ("how often", "portions of", "pieces of", "fills of", "cups of"),
    (
        "To divide by a fraction, multiply by its reciprocal.",
        "Ask how often the portion fits into the whole amount.",
        "Dividing by a proper fraction gives a larger number.",
        "Keep the amount and the size of a portion in the same unit.",
    ),
)


@DIVIDING.story(steps=1)
def _portions(t: Tale) -> Outcome:
    c, f = t.c, _proper(t, 2, 8)
    whole = t.given(f.value.numerator * t.rng.randint(4, 20))
    t.tell(
        f"{t.who} has {whole} {c.units} of {c.stuff} {c.at} and makes portions of {f} {c.unit}.",
        f"{c.at}, a supply of {whole} {c.units} of {c.stuff} is handed out in portions of {f} "
        f"{c.unit} until nothing is left.",
        f"A scoop {c.at} takes {f} {c.unit} of {c.stuff}. {t.friend} wonders how often it can be "
        f"filled from {whole} {c.units}.",
        f"The {c.strip} {c.at} is {whole} metres long. {t.third} marks off pieces of {f} metre.",
    )
    pieces = t.step("Dividing by the fraction gives #.", whole / f)
    t.prove(whole, sum(f.value for _ in range(pieces.n)))
    asks = ("How many are there?", "What number of them does that give?")
    return Outcome(Kind.COUNT, pieces, asks, "portions", "portion")


@DIVIDING.story(steps=2)
def _after_loss(t: Tale) -> Outcome:
    c, f = t.c, _proper(t, 2, 8)
    usable, lost = f.value.numerator * t.rng.randint(4, 20), t.whole(3, 15)
    whole = t.given(usable + lost.n)
    t.tell(
        f"Of {whole} {c.units} of {c.stuff} {c.at}, {lost} {c.units} are spilled. {t.who} makes "
        f"portions of {f} {c.unit} from the rest.",
        f"A {c.strip} of {whole} metres hangs {c.at}. {t.friend} cuts off {lost} metres and "
        f"divides what remains into pieces of {f} metre.",
    )
    rest = t.step("There remain #.", whole - lost)
    pieces = t.step("Dividing by the fraction gives #.", rest / f)
    t.prove(whole, lost.value + sum(f.value for _ in range(pieces.n)))
    asks = ("How many does that make?", "What number of them results?")
    return Outcome(Kind.COUNT, pieces, asks, "portions", "portion")


@DIVIDING.story(steps=2)
def _several_sources(t: Tale) -> Outcome:
    c, f, n = t.c, _proper(t, 2, 8), t.whole(3, 9)
    each = t.given(f.value.numerator * t.rng.randint(2, 9))
    t.tell(
        f"{n} canisters with {each} {c.units} of {c.stuff} each stand {c.at}. {t.who} wants "
        f"portions of {f} {c.unit}.",
        f"{t.friend} collects {each} {c.units} of {c.stuff} a day {c.at}. After {n} days it is "
        f"poured into cups of {f} {c.unit}.",
    )
    whole = t.step(f"That is # {c.units}.", n * each)
    pieces = t.step("Dividing by the fraction gives #.", whole / f)
    t.prove(pieces, Fraction(n.n * each.n * _bottom(f), f.value.numerator))
    asks = ("How many does that make?", "What number of them results?")
    return Outcome(Kind.COUNT, pieces, asks, "portions", "portion")


@DIVIDING.story(steps=3)
def _two_sources(t: Tale) -> Outcome:
    c, f, n, more = t.c, _proper(t, 2, 6), t.whole(3, 9), t.whole(4, 16)
    each = t.given(f.value.numerator * t.rng.randint(3, 9) - 1)
    t.tell(
        f"{t.who} empties {n} canisters of {each} {c.units} and a tank of {more} {c.units} of "
        f"{c.stuff} {c.at}; all of it becomes portions of {f} {c.unit}.",
        f"{n} visitors bring {each} {c.units} of {c.stuff} apiece to {c.place}, and {more} "
        f"{c.units} were there already. {t.third} fills bottles until it is gone and asks how "
        f"often {f} {c.unit} fits.",
    )
    some = t.step(f"The first part is # {c.units}.", n * each)
    whole = t.step(f"All of it is # {c.units}.", some + more)
    if (whole.value / f.value).denominator != 1:
        raise Redraw
    pieces = t.step("Dividing by the fraction gives #.", whole / f)
    t.prove(whole, sum(f.value for _ in range(pieces.n)))
    asks = ("How many does that make?", "What number of them results?")
    return Outcome(Kind.COUNT, pieces, asks, "portions", "portion")


TOPICS = (OF_QUANTITY, ADDING, DIVIDING)
