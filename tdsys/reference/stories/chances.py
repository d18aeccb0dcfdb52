"""Probability: a single draw, independent events, expected numbers."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

from tdsys.reference.steps import Number, Redraw, Style, total
from tdsys.reference.tale import Kind, Outcome, Tale
from tdsys.reference.topic import Topic

DOMAIN = "probability"
FRACTION = Style.FRACTION


def _chance(value: Number, what: str, *asks: str) -> Outcome:
    asks = asks or (f"What is the probability that {what}?",)
    return Outcome(Kind.CHANCE, value, asks, what=what)


def _fair(a: Number, *others: Number) -> None:
    """Keep fractions readable: the counts must leave a denominator people can handle."""
    whole = a.n + sum(o.n for o in others)
    if Fraction(a.n, whole).denominator > 40:
        raise Redraw


def _share_of(wanted: int, whole: int) -> Fraction:
    """The share of the first `wanted` among `whole` things, found by counting them."""
    return Fraction(sum(k < wanted for k in range(whole)), whole)


DRAW = Topic(
    DOMAIN,
    "drawing at random",
    ("probability of drawing", "at random"),
    (
        "The probability of a draw is the favourable cases over all cases.",
        "Count all cases first.",
        "A probability is never larger than a whole.",
        "Write the probability as a fraction in lowest terms.",
    ),
)


@DRAW.story(steps=2)
def _mixed_box(t: Tale) -> Outcome:
    c, a, b = t.c, t.whole(3, 16), t.whole(3, 16)
    _fair(a, b)
    look, other = c.looks[0], c.looks[1]
    t.tell(
        f"A {c.box} {c.at} holds {a} {look} and {b} {other} {c.items}. {t.who} takes a single "
        f"{c.item} at random.",
        f"{c.at}, {t.friend} mixes {a} {look} {c.items} with {b} {other} ones. The probability of "
        f"drawing a certain kind is discussed.",
        f"Without looking, {t.third} draws at random from {b} {other} and {a} {look} {c.items} "
        f"{c.at}.",
        f"There are {a} {look} {c.items} {c.at} and {b} {other} ones in a bag; a draw at random is "
        f"made.",
    )
    whole = t.step(f"In all there are # {c.items}.", a + b)
    chance = t.step("The probability is #.", a / whole, FRACTION)
    t.prove(chance, _share_of(a.n, a.n + b.n))
    return _chance(chance, f"a {look} {c.item} is drawn")


@DRAW.story(steps=1)
def _known_total(t: Tale) -> Outcome:
    c, whole = t.c, t.whole(12, 40)
    a = t.whole(3, whole.n - 3)
    look = c.looks[2]
    t.tell(
        f"Of the {whole} {c.items} {c.at}, {a} are {look}. {t.who} picks a single {c.item} at "
        f"random.",
        f"{t.friend} numbers {whole} {c.items} {c.at}; {a} of them are {look}. A number is called "
        f"at random.",
        f"{a} {look} {c.items} are hidden among {whole} {c.items} {c.at}, and {t.third} draws at "
        f"random.",
    )
    chance = t.step("The probability is #.", a / whole, FRACTION)
    t.prove(chance, _share_of(a.n, whole.n))
    return _chance(chance, f"a {look} {c.item} is drawn")


@DRAW.story(steps=2)
def _not_wanted(t: Tale) -> Outcome:
    c, whole = t.c, t.whole(12, 40)
    a = t.whole(3, whole.n - 3)
    look = c.looks[1]
    t.tell(
        f"{a} of the {whole} {c.items} {c.at} are {look}. {t.who} hopes to draw a different kind "
        f"at random.",
        f"A wheel {c.at} has {whole} fields, {a} of them {look}. It stops at random, and "
        f"{t.friend} does not want a {look} field.",
    )
    rest = t.step("The favourable cases are #.", whole - a)
    chance = t.step("The probability is #.", rest / whole, FRACTION)
    t.prove(chance, 1 - _share_of(a.n, whole.n))
    return _chance(chance, "the draw is not " + look)


@DRAW.story(steps=2)
def _three_kinds(t: Tale) -> Outcome:
    c, a, b, d = t.c, t.whole(3, 14), t.whole(3, 14), t.whole(3, 14)
    _fair(a, b, d)
    x, y, z = c.looks
    t.tell(
        f"A {c.box} with {a} {x}, {b} {y} and {d} {z} {c.items} stands {c.at}. {t.who} closes the "
        f"eyes and draws at random.",
        f"{t.third} puts {d} {z}, {b} {y} and {a} {x} {c.items} into a drum {c.at}. A single "
        f"{c.item} falls out at random.",
    )
    whole = t.step(f"In all there are # {c.items}.", total(a, b, d))
    chance = t.step("The probability is #.", a / whole, FRACTION)
    t.prove(chance, _share_of(a.n, a.n + b.n + d.n))
    return _chance(chance, f"a {x} {c.item} is drawn")


@DRAW.story(steps=3)
def _after_adding(t: Tale) -> Outcome:
    c, a, b, more = t.c, t.whole(3, 12), t.whole(4, 14), t.whole(3, 9)
    _fair(Number(a.n + more.n), b)
    look, other = c.looks[0], c.looks[2]
    t.tell(
        f"Into a {c.box} {c.at} with {a} {look} and {b} {other} {c.items}, {t.friend} puts {more} "
        f"more {look} {c.items}. Then {t.who} draws at random.",
        f"{t.who} has {b} {other} {c.items} {c.at}; there are {a} {look} ones and {more} further "
        f"{look} ones arrive. This gives a new probability of drawing.",
    )
    wanted = t.step(f"There are # {look} {c.items}.", a + more)
    whole = t.step(f"In all there are # {c.items}.", wanted + b)
    chance = t.step("The probability is #.", wanted / whole, FRACTION)
    t.prove(chance, _share_of(a.n + more.n, a.n + more.n + b.n))
    return _chance(chance, f"a {look} {c.item} is drawn")


INDEPENDENT = Topic(
    DOMAIN,
    "independent events",
    ("independent",),
    (
        "For independent events, multiply the probabilities.",
        "Independent means that an event does not change the probability of the other.",
        "A tree diagram shows how the probabilities are multiplied along a path.",
        "The product of proper fractions is smaller than each of them.",
    ),
)


def _odds(t: Tale) -> Number:
    bottom = t.rng.randint(3, 8)
    return t.given(Fraction(t.rng.randint(1, bottom - 1), bottom), FRACTION)


def _paths(*chances: Number) -> Fraction:
    """The probability that all happen, found by listing all equally likely cases."""
    cases = product(*(range(p.value.denominator) for p in chances))
    good = whole = 0
    for case in cases:
        whole += 1
        good += all(k < p.value.numerator for k, p in zip(case, chances, strict=True))
    return Fraction(good, whole)


@INDEPENDENT.story(steps=1)
def _both_events(t: Tale) -> Outcome:
    c, p, q = t.c, _odds(t), _odds(t)
    t.tell(
        f"{c.at}, the probability of rain is {p}, and independent of that a {c.vehicle} is late "
        f"with probability {q}.",
        f"{t.who} hits a target with probability {p}, {t.friend} with probability {q}; the shots "
        f"{c.at} are independent.",
        f"A first lamp {c.at} glows with probability {p}. A second, independent lamp glows with "
        f"probability {q}.",
        f"Picture independent wheels {c.at}: the left wheel wins with probability {p}, the right "
        f"wheel with {q}.",
    )
    chance = t.step("The probability of the combination is #.", p * q, FRACTION)
    t.prove(chance, _paths(p, q))
    return _chance(chance, "these events happen together")


@INDEPENDENT.story(steps=2)
def _first_not_second(t: Tale) -> Outcome:
    c, p, q = t.c, _odds(t), _odds(t)
    t.tell(
        f"A machine {c.at} works with probability {p}. Independent of it, a spare machine works "
        f"with probability {q}. {t.who} thinks of the case that the machine works but the spare "
        f"fails.",
        f"{t.friend} catches the {c.vehicle} with probability {p}; {t.third}'s independent chance "
        f"{c.at} is {q}. Only {t.friend} should succeed.",
    )
    fails = t.step("The second event fails with probability #.", 1 - q, FRACTION)
    chance = t.step("The probability is #.", p * fails, FRACTION)
    t.prove(chance, p.value - _paths(p, q))
    return _chance(chance, "only the first event happens")


@INDEPENDENT.story(steps=2)
def _three_events(t: Tale) -> Outcome:
    c, p, q, r = t.c, _odds(t), _odds(t), _odds(t)
    t.tell(
        f"{t.who}, {t.friend} and {t.third} make independent attempts {c.at} with probabilities of "
        f"success {p}, {q} and {r}.",
        f"A door {c.at} opens when independent sensors A, B and C agree. Their probabilities are "
        f"{p}, {q} and {r}.",
        f"On the way to {c.place} there are independent signals that are green with probability "
        f"{p}, {q} and {r}.",
    )
    first = t.step("The first events combine to #.", p * q, FRACTION)
    chance = t.step("All of them combine to #.", first * r, FRACTION)
    t.prove(chance, _paths(p, q, r))
    return _chance(chance, "all of these happen")


@INDEPENDENT.story(steps=3)
def _neither(t: Tale) -> Outcome:
    c, p, q = t.c, _odds(t), _odds(t)
    t.tell(
        f"{c.at}, {t.who} forgets the key with probability {p} and {t.friend} with probability "
        f"{q}; this is independent. Think of the case that nobody forgets it.",
        f"Independent alarms {c.at} go off with probability {p} and {q} in a night. {t.third} "
        f"hopes for a quiet night.",
    )
    a = t.step("The first does not happen with probability #.", 1 - p, FRACTION)
    b = t.step("The second does not happen with probability #.", 1 - q, FRACTION)
    chance = t.step("Neither happens with probability #.", a * b, FRACTION)
    t.prove(chance, 1 - p.value - q.value + _paths(p, q))
    return _chance(chance, "none of these happens")


EXPECTED = Topic(
    DOMAIN,
    "expected number",
    ("expect",),
    (
        "The expected number is the number of trials times the probability.",
        "An expected number says what happens on average.",
        "Find the probability for a single trial first.",
        "Percentages are probabilities out of a hundred trials.",
    ),
)


def _times(value: Number, *asks: str) -> Outcome:
    return Outcome(Kind.TIMES, value, asks)


_TIMES_ASKS = (
    "What is the expected number of successes?",
    "How many successes can be expected?",
)


@EXPECTED.story(steps=1)
def _expected_successes(t: Tale) -> Outcome:
    c, p = t.c, _odds(t)
    n = t.given(p.value.denominator * t.rng.randint(5, 30))
    t.tell(
        f"A lottery {c.at} wins with probability {p}. {t.who} plays {n} times and looks at what to "
        f"expect.",
        f"{t.friend} tries a trick {n} times {c.at}; it works with probability {p}. The expected "
        f"number of successes is noted.",
        f"Each of {n} guests {c.at} answers correctly with probability {p}, so a certain number of "
        f"successes is expected.",
        f"What should {t.third} expect {c.at} after {n} attempts that succeed with probability "
        f"{p} each?",
    )
    wins = t.step("The expected number is #.", n * p)
    t.prove(wins, n.n * _share_of(p.value.numerator, p.value.denominator))
    return _times(wins, *_TIMES_ASKS)


@EXPECTED.story(steps=1)
def _expected_percent(t: Tale) -> Outcome:
    c, p, n = t.c, t.whole(5, 95, by=5), t.whole(20, 300, by=20)
    t.tell(
        f"With a probability of {p}%, a {c.box} {c.at} is checked. {t.who} expects a certain "
        f"number of checks among {n} {c.boxes}; a check is called a success.",
        f"{t.friend} guesses right in {p}% of the cases and makes {n} guesses {c.at}. Right "
        f"guesses are the expected successes.",
    )
    wins = t.step("The expected number is #.", n * p / 100)
    t.prove(wins, Fraction(p.n, 100) * n.n)
    return _times(wins, *_TIMES_ASKS)


@EXPECTED.story(steps=2)
def _expected_draws(t: Tale) -> Outcome:
    c, a, whole = t.c, t.whole(3, 9), t.whole(10, 24)
    n = t.given(whole.n * t.rng.randint(3, 12))
    t.tell(
        f"A {c.box} {c.at} holds {whole} {c.items}, and {a} of them are {c.looks[0]}. {t.who} "
        f"draws, notes the kind and puts the {c.item} back, {n} times. A success is a "
        f"{c.looks[0]} {c.item}; the expected number matters.",
        f"A wheel {c.at} has {whole} fields, and {a} of them win. {t.third} turns it {n} times and "
        f"has expectations about the successes.",
    )
    chance = t.step("The probability of a success is #.", a / whole, FRACTION)
    wins = t.step("The expected number is #.", n * chance)
    t.prove(wins, n.n // whole.n * a.n)
    return _times(wins, *_TIMES_ASKS)


@EXPECTED.story(steps=2)
def _expected_failures(t: Tale) -> Outcome:
    c, p = t.c, _odds(t)
    n = t.given(p.value.denominator * t.rng.randint(5, 30))
    t.tell(
        f"A rope ring misses its pole {c.at} with probability {p}. {t.who} throws {n} times and "
        f"expects some successes, that is, throws that do not miss.",
        f"{t.friend} loses a game {c.at} with probability {p} and plays {n} rounds; the rounds "
        f"that are not lost are the expected successes.",
    )
    chance = t.step("A success has the probability #.", 1 - p, FRACTION)
    wins = t.step("The expected number is #.", n * chance)
    t.prove(wins, n.n - n.n * p.value)
    return _times(wins, *_TIMES_ASKS)


@EXPECTED.story(steps=3)
def _expected_two_groups(t: Tale) -> Outcome:
    c, p, q = t.c, _odds(t), _odds(t)
    n = t.given(p.value.denominator * t.rng.randint(4, 20))
    m = t.given(q.value.denominator * t.rng.randint(4, 20))
    t.tell(
        f"{t.who} makes {n} attempts {c.at} with probability {p} each; {t.friend} makes {m} with "
        f"probability {q}. All expected successes are added.",
        f"A quiz {c.at} has {n} simple questions (probability of success {p}) and {m} tricky "
        f"questions (probability of success {q}). {t.third} expects a certain sum.",
    )
    first = t.step("The first part is expected to give #.", n * p)
    second = t.step("The second part is expected to give #.", m * q)
    wins = t.step("Together # successes are expected.", first + second)
    t.prove(wins, n.n * p.value + m.n * q.value)
    return _times(wins, *_TIMES_ASKS)


TOPICS = (DRAW, INDEPENDENT, EXPECTED)
