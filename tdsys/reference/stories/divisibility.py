"""Number theory: greatest common divisor, least common multiple, consecutive integers."""

from __future__ import annotations

from math import gcd

from tdsys.reference.steps import Number
from tdsys.reference.tale import Kind, Outcome, Tale
from tdsys.reference.topic import Topic

DOMAIN = "number_theory"

# Pairs without a common divisor, by how many subtractions Euclid's method takes on them.
_PAIRS = {
    1: ((3, 2), (4, 3), (5, 4), (6, 5), (7, 6)),
    2: ((5, 3), (5, 2), (7, 4), (7, 3), (9, 5)),
    3: ((7, 5), (8, 5), (8, 3), (7, 2), (11, 7)),
}


def _multiples(t: Tale, subtractions: int) -> tuple[Number, Number]:
    """Numbers, the larger first, for which Euclid's method takes so many subtractions."""
    large, small = t.rng.choice(_PAIRS[subtractions])
    common = t.rng.randint(3, 24)
    return t.given(large * common), t.given(small * common)


def _euclid(t: Tale, large: Number, small: Number) -> Number:
    """The greatest common divisor by repeated subtraction, a step for each subtraction."""
    while True:
        apart = t.step("Subtracting the smaller number from the larger gives #.", large - small)
        if small.n % apart.n == 0:
            return apart
        large, small = (small, apart) if small.n > apart.n else (apart, small)


def _largest_divisor(a: int, b: int) -> int:
    return max(k for k in range(1, b + 1) if a % k == 0 == b % k)


GCD = Topic(
    DOMAIN,
    "greatest common divisor",
    ("greatest common divisor",),
    (
        "A common divisor divides both numbers without a rest.",
        "A common divisor of the numbers also divides their difference.",
        "Replace the larger number by the difference until the divisor shows.",
        "Listing all divisors of the smaller number also works.",
    ),
)


def _gcd_texts(t: Tale, a: Number, b: Number) -> None:
    c = t.c
    first, last = t.rng.sample((a, b), 2)
    t.tell(
        f"{t.who} has {first} {c.items} and {last} {c.others} {c.at} and makes as many identical "
        f"gift bags as possible, without a rest. The greatest common divisor tells how many bags.",
        f"{c.at}, {first} {c.looks[0]} and {last} {c.looks[1]} {c.items} go into bags that all "
        f"have the same contents. The number of bags is the greatest common divisor.",
        f"What is the largest number of bags among which {t.friend} can deal out {first} {c.items} "
        f"and {last} {c.others} {c.at} evenly? It is their greatest common divisor.",
        f"A list {c.at} says: {first} {c.others}, {last} {c.items}, identical bags, nothing left "
        f"over. {t.third} forms the greatest common divisor to get the number of bags.",
    )


def _bags(value: Number) -> Outcome:
    asks = ("How many bags are there at most?", "What is the largest possible number of bags?")
    return Outcome(Kind.COUNT, value, asks, "bags", "bag")


@GCD.story(steps=1)
def _bags_close(t: Tale) -> Outcome:
    a, b = _multiples(t, 1)
    _gcd_texts(t, a, b)
    found = _euclid(t, a, b)
    t.prove(found, _largest_divisor(a.n, b.n))
    return _bags(found)


@GCD.story(steps=2)
def _bags_wide(t: Tale) -> Outcome:
    a, b = _multiples(t, 2)
    _gcd_texts(t, a, b)
    found = _euclid(t, a, b)
    t.prove(found, _largest_divisor(a.n, b.n))
    return _bags(found)


def _squares_texts(t: Tale, a: Number, b: Number) -> None:
    c = t.c
    t.tell(
        f"The {c.plot} {c.at} measures {a} by {b} decimetres. It is covered with equal square "
        f"tiles that are as large as possible; the side is the greatest common divisor.",
        f"{t.who} cuts strips of {a} and {b} decimetres {c.at} into equal pieces without waste. "
        f"The longest piece is the greatest common divisor.",
        f"Posts along paths of {b} and {a} decimetres {c.at} are set at equal distances, as far "
        f"apart as possible. {t.friend} needs the greatest common divisor.",
    )


def _side(value: Number) -> Outcome:
    asks = ("How many decimetres is this length?", "What is the greatest possible length?")
    return Outcome(Kind.MEASURE, value, asks, "decimetres", "decimetre", what="this length")


@GCD.story(steps=1)
def _tiles_close(t: Tale) -> Outcome:
    a, b = _multiples(t, 1)
    _squares_texts(t, a, b)
    found = _euclid(t, a, b)
    t.prove(found, gcd(a.n, b.n))
    return _side(found)


@GCD.story(steps=3)
def _tiles_wide(t: Tale) -> Outcome:
    a, b = _multiples(t, 3)
    _squares_texts(t, a, b)
    found = _euclid(t, a, b)
    t.prove(found, gcd(a.n, b.n))
    return _side(found)


@GCD.story(steps=2)
def _per_bag(t: Tale) -> Outcome:
    c = t.c
    a, b = _multiples(t, 1)
    t.tell(
        f"{a} {c.items} and {b} {c.others} are packed {c.at} into as many identical bags as the "
        f"greatest common divisor allows. {t.who} looks into a single bag.",
        f"The greatest common divisor of {a} and {b} is the number of teams {c.at}. {t.friend} "
        f"spreads {a} {c.items} and {b} {c.others} evenly over the teams.",
    )
    found = _euclid(t, a, b)
    each = t.step(f"The share of {c.items} is #.", a / found)
    t.prove(each, a.n // _largest_divisor(a.n, b.n))
    asks = (f"How many {c.items} are in a single share?", f"Find the {c.items} in each share.")
    return Outcome(Kind.COUNT, each, asks, c.items, c.item)


LCM = Topic(
    DOMAIN,
    "least common multiple",
    ("least common multiple",),
    (
        "A common multiple of both numbers is reached by counting in steps of either number.",
        "Divide the product of the numbers by their greatest common divisor.",
        "List multiples of the larger number and test each.",
        "The least common multiple is at least as large as the larger number.",
    ),
)


def _least_multiple(a: int, b: int) -> int:
    return next(k for k in range(a, a * b + 1, a) if k % b == 0)


def _lcm(t: Tale, a: Number, b: Number, subtractions: int) -> Number:
    """The least common multiple of numbers for which Euclid's method takes so many steps."""
    common = _euclid(t, a, b)
    least = t.step("The least common multiple is #.", a * b / common)
    t.prove(least, _least_multiple(a.n, b.n))
    if len(t.solution) != subtractions + 1:
        raise ValueError(f"{a} and {b} take {len(t.solution) - 1} subtractions")
    return least


def _meeting_texts(t: Tale, a: Number, b: Number) -> None:
    c = t.c
    t.tell(
        f"A {c.vehicle} leaves {c.place} every {a} minutes, another line every {b} minutes. They "
        f"leave together now; the next time follows from the least common multiple.",
        f"{c.at}, {t.who} checks the {c.boxes} every {a} minutes and {t.friend} every {b} minutes. "
        f"They have just met and will meet again after the least common multiple.",
        f"Lamps {c.at} blink in a rhythm of {b} and {a} minutes. {t.third} waits from a common "
        f"blink to the next and thinks of the least common multiple.",
        f"How long does it take until signals {c.at} that sound every {b} minutes and every {a} "
        f"minutes sound together again? It is the least common multiple.",
    )


def _minutes(value: Number) -> Outcome:
    asks = ("After how many minutes is that?", "How many minutes does that take?")
    return Outcome(Kind.MEASURE, value, asks, "minutes", "minute", what="this time")


@LCM.story(steps=2)
def _meet_close(t: Tale) -> Outcome:
    a, b = _multiples(t, 1)
    _meeting_texts(t, a, b)
    return _minutes(_lcm(t, a, b, 1))


@LCM.story(steps=3)
def _meet_wide(t: Tale) -> Outcome:
    a, b = _multiples(t, 2)
    _meeting_texts(t, a, b)
    return _minutes(_lcm(t, a, b, 2))


@LCM.story(steps=2)
def _same_number(t: Tale) -> Outcome:
    c = t.c
    a, b = _multiples(t, 1)
    t.tell(
        f"{c.items} come in packs of {a}, {c.others} in packs of {b}. {t.who} wants the same "
        f"number of either {c.at}, as small as possible: the least common multiple.",
        f"A crowd {c.at} can form rows of {a} or rows of {b} without a rest. It is the smallest "
        f"such crowd, the least common multiple, and everybody holds a single {c.item}.",
        f"{t.third} stacks {c.items} {c.at} in towers of {b}; {t.friend} stacks as many in towers "
        f"of {a}. The smallest number that works is the least common multiple.",
    )
    least = _lcm(t, a, b, 1)
    asks = (f"How many {c.items} are needed?", f"What is the smallest number of {c.items}?")
    return Outcome(Kind.COUNT, least, asks, c.items, c.item)


@LCM.story(steps=3)
def _packs_needed(t: Tale) -> Outcome:
    c = t.c
    a, b = _multiples(t, 1)
    t.tell(
        f"{t.who} buys {c.items} in packs of {a} and {c.others} in packs of {b} for {c.place}. The "
        f"least common multiple makes the numbers equal; the packs with {b} pieces are counted.",
        f"The least common multiple of {a} and {b} is the number of tickets printed {c.at}. They "
        f"leave in stacks of {b}.",
    )
    least = _lcm(t, a, b, 1)
    packs = t.step("The number of packs is #.", least / b)
    t.prove(packs, a.n // gcd(a.n, b.n))
    asks = ("How many packs of this size are there?", "What is the number of these packs?")
    return Outcome(Kind.COUNT, packs, asks, "packs", "pack")


CONSECUTIVE = Topic(
    DOMAIN,
    "consecutive integers",
    ("consecutive",),
    (
        "Consecutive integers differ by a single unit.",
        "For an odd number of consecutive integers, the middle number is the mean.",
        "Call the first integer n and write the others with its help.",
        "The smallest and the largest lie equally far from the middle.",
    ),
)


def _run(t: Tale) -> tuple[Number, Number, int]:
    """How many integers, their sum and the first of them."""
    size = t.whole(5, 13, by=2)
    first = t.rng.randint(8, 60)
    return size, t.given(sum(range(first, first + size.n))), first


@CONSECUTIVE.story(steps=2)
def _largest(t: Tale) -> Outcome:
    c, (n, whole, first) = t.c, _run(t)
    t.tell(
        f"The numbers on {n} lockers {c.at} are consecutive integers with the sum {whole}. "
        f"{t.who} has the largest number.",
        f"{t.friend} reads {n} consecutive pages in a book {c.at}; the page numbers add up to "
        f"{whole}. Consider the last page number.",
        f"{whole} is the sum of {n} consecutive integers on a sign {c.at}, and {t.third} asks for "
        f"the largest of them.",
    )
    middle = t.step("The middle integer is #.", whole / n)
    last = t.step("The largest integer is #.", middle + (n - 1) / 2)
    t.prove(last, first + n.n - 1)
    asks = ("What is the largest integer?", "Find the largest of the integers.")
    return Outcome(Kind.NUMBER, last, asks, what="the largest integer")


@CONSECUTIVE.story(steps=2)
def _smallest(t: Tale) -> Outcome:
    c, (n, whole, first) = t.c, _run(t)
    t.tell(
        f"On {n} consecutive days the calendar of {c.place} shows numbers that add up to {whole}, "
        f"counted from the start of the season. {t.who} started on the first of these days.",
        f"{t.friend} puts {whole} {c.items} into {n} {c.boxes} {c.at} so that the numbers of "
        f"{c.items} are consecutive integers; the smallest is of interest.",
    )
    middle = t.step("The middle integer is #.", whole / n)
    least = t.step("The smallest integer is #.", middle - (n - 1) / 2)
    t.prove(least, first)
    asks = ("What is the smallest integer?", "Find the smallest of the integers.")
    return Outcome(Kind.NUMBER, least, asks, what="the smallest integer")


@CONSECUTIVE.story(steps=1)
def _middle_of_run(t: Tale) -> Outcome:
    c, (n, whole, first) = t.c, _run(t)
    t.tell(
        f"{n} consecutive integers on badges {c.at} have the sum {whole}. {t.who} wears the "
        f"integer in the middle.",
        f"A wheel {c.at} shows {n} consecutive integers. {t.third} adds them to {whole} and tells "
        f"the middle integer from that.",
        f"The seats in a row {c.at} carry consecutive integers. There are {n} seats, the sum is "
        f"{whole}, and {t.friend} sits in the middle.",
    )
    middle = t.step("The middle integer is #.", whole / n)
    t.prove(middle, first + (n.n - 1) // 2)
    asks = ("What is the middle integer?", "Which integer is in the middle?")
    return Outcome(Kind.NUMBER, middle, asks, what="the middle integer")


@CONSECUTIVE.story(steps=2)
def _sum_of_run(t: Tale) -> Outcome:
    c, first, n = t.c, t.whole(6, 60), t.whole(5, 25)
    t.tell(
        f"{t.who} adds {n} consecutive integers that start with {first} to pass time {c.at}.",
        f"The {c.boxes} {c.at} hold consecutive numbers of {c.items}: {first} in the first, and so "
        f"on. There are {n} {c.boxes}, and the sum is needed.",
        f"Starting at {first}, {t.friend} calls out {n} consecutive integers {c.at}; {t.third} "
        f"adds them up.",
    )
    last = t.step("The last integer is #.", first + n - 1)
    whole = t.step("The sum is #.", n * (first + last) / 2)
    t.prove(whole, sum(range(first.n, first.n + n.n)))
    asks = ("What is the sum of these integers?", "Find the sum of the consecutive integers.")
    return Outcome(Kind.NUMBER, whole, asks, what="the sum of the integers")


@CONSECUTIVE.story(steps=3)
def _outer_product(t: Tale) -> Outcome:
    c, (n, whole, first) = t.c, _run(t)
    t.tell(
        f"Among {n} consecutive integers with the sum {whole}, {t.who} picks the smallest and the "
        f"largest for a riddle {c.at} and adds them.",
        f"A stack of {n} cards {c.at} carries consecutive integers that add up to {whole}. "
        f"{t.friend} draws the lowest and the highest card and adds them.",
    )
    middle = t.step("The middle integer is #.", whole / n)
    last = t.step("The largest integer is #.", middle + (n - 1) / 2)
    ends = t.step("The smallest and the largest add up to #.", last + last - (n - 1))
    t.prove(ends, first + first + n.n - 1)
    asks = ("What is the sum of these ends?", "What do the ends add up to?")
    return Outcome(Kind.NUMBER, ends, asks, what="the sum of the ends")


TOPICS = (GCD, LCM, CONSECUTIVE)
