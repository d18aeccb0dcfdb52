"""Rates: unit price, speed, ratio."""

from __future__ import annotations

from fractions import Fraction
from math import gcd

from tdsys.reference.steps import Number, Redraw, Style, total
from tdsys.reference.tale import Kind, Outcome, Tale
from tdsys.reference.topic import Topic

DOMAIN = "rates"
MONEY = Style.MONEY

UNIT_PRICE = Topic(
    DOMAIN,
    "unit price",
    ("unit price",),
    (
        "The unit price is the price divided by the number of units.",
        "With the unit price you can find the price of any amount.",
        "Compare offers by their unit price.",
        "Keep track of dollars and cents when you divide.",
    ),
)


def _cost(value: Number, *asks: str) -> Outcome:
    return Outcome(Kind.COST, value, asks, what="this price")


def _offer(t: Tale, *, low: int = 3, high: int = 12) -> tuple[Number, Number, Fraction]:
    """A number of units, the price of all of them and the price of each."""
    n = t.whole(low, high)
    price = Fraction(t.rng.randint(8, 60), t.rng.choice((1, 2, 4)))
    return n, t.given(n.n * price, MONEY), price


@UNIT_PRICE.story(steps=1)
def _single_price(t: Tale) -> Outcome:
    c, (n, whole, price) = t.c, _offer(t)
    t.tell(
        f"{n} {c.items} cost ${whole} {c.at}. {t.who} wants to know the unit price.",
        f"{t.friend} pays ${whole} for {n} {c.units} of {c.stuff} for {c.place} and writes the "
        f"unit price on the shelf.",
        f"A sign {c.at} offers {n} {c.others} for ${whole}; the unit price is missing.",
        f"For ${whole}, {t.third} receives {n} {c.items} {c.at}, which gives a unit price.",
    )
    each = t.step("The unit price is # dollars.", whole / n, MONEY)
    t.prove(each, price)
    return _cost(each, "What is the unit price in dollars?", "How many dollars is the unit price?")


@UNIT_PRICE.story(steps=2)
def _other_amount(t: Tale) -> Outcome:
    c, (n, whole, _) = t.c, _offer(t)
    m = t.whole(5, 25)
    t.tell(
        f"{c.at}, {n} {c.items} cost ${whole}. At the same unit price {t.who} takes {m} {c.items}.",
        f"{t.friend} bought {n} {c.units} of {c.stuff} for {c.place} and paid ${whole}. Next time "
        f"{m} {c.units} are needed, and the unit price stays.",
        f"If ${whole} buys {n} {c.others} {c.at}, what do {m} {c.others} cost at this unit price?",
    )
    each = t.step("The unit price is # dollars.", whole / n, MONEY)
    cost = t.step("The other amount costs # dollars.", each * m, MONEY)
    t.prove(cost, Fraction(m.n, n.n) * whole.value)
    return _cost(cost, "How many dollars does this amount cost?", "What is the price in dollars?")


@UNIT_PRICE.story(steps=2)
def _how_many_units(t: Tale) -> Outcome:
    c, (n, whole, price) = t.c, _offer(t)
    money = t.given(price * t.rng.randint(13, 30), MONEY)
    t.tell(
        f"{t.who} pays ${whole} for {n} {c.items} {c.at}. {t.friend} spends ${money} at the same "
        f"unit price.",
        f"An order of {n} {c.items} for {c.place} comes to ${whole}. The unit price is fixed, and "
        f"the next order comes to ${money}.",
    )
    each = t.step("The unit price is # dollars.", whole / n, MONEY)
    units = t.step(f"The money buys # {c.items}.", money / each)
    t.prove(money, units.n * price)
    asks = (f"How many {c.items} is that?", f"How many {c.items} does the second buyer get?")
    return Outcome(Kind.COUNT, units, asks, c.items, c.item)


@UNIT_PRICE.story(steps=3)
def _compare_offers(t: Tale) -> Outcome:
    c, (n, whole, price), (m, other, second) = t.c, _offer(t), _offer(t)
    if price == second:
        raise Redraw
    t.tell(
        f"Shop A sells {n} {c.items} for ${whole}, shop B sells {m} {c.items} for ${other}. "
        f"{t.who} compares the unit price for {c.place}.",
        f"{c.at} there are packs of {n} {c.others} for ${whole} and packs of {m} {c.others} for "
        f"${other}. {t.third} calculates each unit price and the gap between them.",
    )
    a = t.step("The first unit price is # dollars.", whole / n, MONEY)
    b = t.step("The second unit price is # dollars.", other / m, MONEY)
    gap = t.step("They differ by # dollars.", a - b if price > second else b - a, MONEY)
    t.prove(gap, abs(price - second))
    asks = ("By how many dollars do the unit prices differ?", "How many dollars is the gap?")
    return _cost(gap, *asks)


SPEED = Topic(
    DOMAIN,
    "speed",
    ("speed",),
    (
        "Speed is distance divided by time.",
        "Distance is speed times time.",
        "Use hours for the time when the speed is in kilometres per hour.",
        "Treat every leg of a trip on its own.",
    ),
)

KILOMETRES = ("kilometres", "kilometre")


def _distance(value: Number, *asks: str) -> Outcome:
    return Outcome(Kind.MEASURE, value, asks, *KILOMETRES, what="the way")


@SPEED.story(steps=1)
def _find_speed(t: Tale) -> Outcome:
    c, h = t.c, t.whole(3, 9)
    way = t.given(h.n * t.rng.randint(12, 90))
    t.tell(
        f"The {c.vehicle} needs {h} hours for the {way} kilometres to {c.place}. {t.who} works out "
        f"its speed.",
        f"{t.friend} travels {way} kilometres with a {c.vehicle} {c.at} in {h} hours, always at "
        f"the same speed.",
        f"A tracker {c.at} reports {way} kilometres within {h} hours for the {c.vehicle}; its "
        f"speed stays the same.",
    )
    speed = t.step("The speed is # kilometres per hour.", way / h)
    t.prove(way, sum((speed.n,) * h.n))
    asks = ("What is the speed in kilometres per hour?", "How many kilometres per hour is that?")
    return Outcome(Kind.RATE, speed, asks, *KILOMETRES, per="hour")


@SPEED.story(steps=1)
def _find_distance(t: Tale) -> Outcome:
    c, h, v = t.c, t.whole(3, 9), t.whole(15, 95)
    t.tell(
        f"At a speed of {v} kilometres per hour, a {c.vehicle} travels for {h} hours to {c.place}.",
        f"{t.who} steers a {c.vehicle} {c.at} for {h} hours. The speed is {v} kilometres per hour.",
        f"How far does {t.third} get with a {c.vehicle} {c.at} in {h} hours at a steady speed of "
        f"{v} kilometres per hour?",
    )
    way = t.step("The distance is # kilometres.", v * h)
    t.prove(v, Fraction(way.n, h.n))
    return _distance(way, "How many kilometres is that?", "What is the distance in kilometres?")


@SPEED.story(steps=2)
def _other_time(t: Tale) -> Outcome:
    c, h, k = t.c, t.whole(3, 8), t.whole(3, 12)
    way = t.given(h.n * t.rng.randint(14, 80))
    t.tell(
        f"In {h} hours a {c.vehicle} covers {way} kilometres near {c.place}. It goes on for {k} "
        f"hours at the same speed, and {t.who} records this second leg.",
        f"{t.friend} knows: {way} kilometres take {h} hours. The {c.vehicle} {c.at} is used for "
        f"{k} hours at this speed.",
    )
    speed = t.step("The speed is # kilometres per hour.", way / h)
    leg = t.step("The distance is # kilometres.", speed * k)
    t.prove(leg, Fraction(way.n * k.n, h.n))
    return _distance(leg, "How many kilometres is this leg?", "How far is that, in kilometres?")


@SPEED.story(steps=2)
def _time_with_break(t: Tale) -> Outcome:
    c, v, rest = t.c, t.whole(20, 80), t.whole(2, 6)
    way = t.given(v.n * t.rng.randint(3, 11))
    t.tell(
        f"{t.who} rides {way} kilometres to {c.place} at a speed of {v} kilometres per hour and "
        f"rests for {rest} hours on the way.",
        f"A {c.vehicle} {c.at} has a speed of {v} kilometres per hour. Its route has {way} "
        f"kilometres, and loading takes {rest} hours more.",
    )
    hours = t.step("The pure travelling time is # hours.", way / v)
    whole = t.step("With the rest it is # hours.", hours + rest)
    t.prove(way, (whole.n - rest.n) * v.n)
    asks = ("How many hours does that take?", "What is the whole time in hours?")
    return Outcome(Kind.MEASURE, whole, asks, "hours", "hour", what="this time")


@SPEED.story(steps=3)
def _two_legs(t: Tale) -> Outcome:
    c, v, h, w, k = t.c, t.whole(20, 90), t.whole(3, 8), t.whole(20, 90), t.whole(3, 8)
    t.tell(
        f"The {c.vehicle} travels {h} hours at a speed of {v} kilometres per hour and then {k} "
        f"hours at a speed of {w} kilometres per hour before it reaches {c.place}.",
        f"From {c.place}, {t.who} goes north for {h} hours and {t.friend} goes south for {k} "
        f"hours. {t.who}'s speed is {v}, {t.friend}'s is {w} kilometres per hour; the distance "
        f"between them is wanted.",
    )
    first = t.step("The first leg has # kilometres.", v * h)
    second = t.step("The second leg has # kilometres.", w * k)
    way = t.step("Together that is # kilometres.", total(first, second))
    t.prove(way, sum((v.n,) * h.n) + sum((w.n,) * k.n))
    return _distance(way, "How many kilometres is that?", "What is the distance in kilometres?")


RATIO = Topic(
    DOMAIN,
    "ratio",
    ("ratio",),
    (
        "A ratio tells how many parts each side has.",
        "Add the parts of the ratio when the whole amount is known.",
        "Find the size of a single part first.",
        "A ratio does not change when both sides are multiplied by the same number.",
    ),
)


def _coprime(t: Tale) -> tuple[Number, Number]:
    a, b = t.whole(2, 9), t.whole(2, 9)
    if gcd(a.n, b.n) != 1:
        raise Redraw
    return a, b


@RATIO.story(steps=2)
def _scale_ratio(t: Tale) -> Outcome:
    c, (a, b), k = t.c, _coprime(t), t.rng.randint(4, 20)
    known = t.given(a.n * k)
    t.tell(
        f"{c.at} the ratio of {c.looks[0]} to {c.looks[1]} {c.items} is {a}:{b}. {t.who} counts "
        f"{known} {c.looks[0]} ones.",
        f"{t.friend} arranges {c.looks[0]} and {c.looks[1]} {c.items} {c.at} in the ratio {a} to "
        f"{b}, starting with {known} {c.looks[0]} ones.",
        f"A plan for {c.place} calls for {b} {c.looks[1]} {c.items} for every {a} {c.looks[0]} "
        f"ones. With {known} {c.looks[0]} ones this ratio has to hold too.",
    )
    part = t.step("A single part has #.", known / a)
    other = t.step(f"The number of {c.looks[1]} {c.items} is #.", part * b)
    t.prove(other, Fraction(b.n, a.n) * known.n)
    nouns = f"{c.looks[1]} {c.items}"
    asks = (f"How many {nouns} are there?", f"Find the number of {nouns}.")
    return Outcome(Kind.COUNT, other, asks, nouns, f"{c.looks[1]} {c.item}")


@RATIO.story(steps=3)
def _share_in_ratio(t: Tale) -> Outcome:
    c, (a, b), k = t.c, _coprime(t), t.rng.randint(4, 20)
    whole = t.given((a.n + b.n) * k)
    t.tell(
        f"{t.who} and {t.friend} split {whole} {c.items} {c.at} in the ratio {a}:{b}. Look at "
        f"{t.who}'s part.",
        f"There are {whole} {c.items} {c.at}, and the ratio of those with a label to those without "
        f"is {a} to {b}. {t.third} gathers the ones with a label.",
    )
    parts = t.step("The ratio has # parts.", a + b)
    single = t.step(f"A single part has # {c.items}.", whole / parts)
    share = t.step(f"The part asked for has # {c.items}.", single * a)
    t.prove(whole, share.value + share.value * b.n / a.n)
    asks = (f"How many {c.items} are in this part?", f"Find the number of {c.items} in this part.")
    return Outcome(Kind.COUNT, share, asks, c.items, c.item)


@RATIO.story(steps=2)
def _single_part(t: Tale) -> Outcome:
    c, (a, b), k = t.c, _coprime(t), t.rng.randint(4, 20)
    whole = t.given((a.n + b.n) * k, MONEY)
    t.tell(
        f"A fee of ${whole} {c.at} is divided between {t.who} and {t.friend} in the ratio {a}:{b}. "
        f"{t.third} first looks for the value of a single part.",
        f"{a} parts of a bill {c.at} are paid by {t.who} and {b} parts by {t.friend}, which is a "
        f"ratio. The bill is ${whole}, and a single part is asked for.",
    )
    parts = t.step("The ratio has # parts.", a + b)
    single = t.step("A single part is # dollars.", whole / parts, MONEY)
    t.prove(whole, single.value * a.n + single.value * b.n)
    return _cost(single, "How many dollars is a single part?", "What is a single part in dollars?")


@RATIO.story(steps=1)
def _map_scale(t: Tale) -> Outcome:
    c, scale, length = t.c, t.whole(15, 60, by=5), t.whole(3, 14)
    t.tell(
        f"On a plan of {c.place} the ratio is 1:{scale}. {t.who} measures {length} decimetres on "
        f"the plan.",
        f"A model stands {c.at}. Its ratio to the real thing is 1 to {scale}, and a wall of the "
        f"model is {length} decimetres long.",
    )
    real = t.step("In reality it is # decimetres.", length * scale)
    t.prove(length, Fraction(real.n, scale.n))
    asks = ("How many decimetres is it in reality?", "What is the real length in decimetres?")
    return Outcome(Kind.MEASURE, real, asks, "decimetres", "decimetre", what="the real length")


@RATIO.story(steps=1)
def _mixture(t: Tale) -> Outcome:
    c, k, cups = t.c, t.whole(3, 9), t.whole(4, 30)
    t.tell(
        f"{t.who} mixes {c.stuff} and water {c.at} in the ratio 1:{k}, using {cups} {c.units} of "
        f"{c.stuff}.",
        f"For every {c.unit} of {c.stuff}, {t.third} takes {k} {c.units} of water {c.at}. The "
        f"ratio is kept for {cups} {c.units} of {c.stuff}.",
    )
    water = t.step(f"The water needed is # {c.units}.", cups * k)
    t.prove(cups, Fraction(water.n, k.n))
    asks = (f"How many {c.units} of water is that?", f"Find the water in {c.units}.")
    return Outcome(Kind.MEASURE, water, asks, c.units, c.unit, what="the water")


TOPICS = (UNIT_PRICE, SPEED, RATIO)
