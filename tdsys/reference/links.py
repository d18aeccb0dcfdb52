"""How a story goes on: each link adds one sentence, one step and a new question.

The one rule: a link says None when it does not fit the value it would go on from.
Every step is proved by undoing it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from tdsys.reference.steps import Number, Style
from tdsys.reference.tale import Kind, Outcome, Tale

Link = Callable[[Tale, Outcome], Outcome | None]

LINKS: dict[Kind, list[Link]] = {kind: [] for kind in Kind}

MONEY = Style.MONEY


def continues(*kinds: Kind) -> Callable[[Link], Link]:
    """Register a link that goes on from a value of these kinds."""

    def register(link: Link) -> Link:
        for kind in kinds:
            LINKS[kind].append(link)
        return link

    return register


def part(t: Tale, value: Number) -> Number | None:
    """A number clearly below `value`, to be taken away from it."""
    ceiling = int(value.value * 2 / 3)
    return t.whole(3, ceiling) if ceiling > 6 else None


def _these(o: Outcome) -> str:
    """The counted things as an object of a sentence."""
    return o.what or f"these {o.nouns}"


@continues(Kind.COUNT)
def _more(t: Tale, o: Outcome) -> Outcome | None:
    what = _these(o)
    a = t.whole(5, 60)
    t.tell(
        f"Then {t.friend} brings {a} more {o.nouns} to join {what}.",
        f"After lunch a delivery adds {a} {o.nouns} to {what}.",
        f"Another {a} {o.nouns} turn up in a storeroom and are put with {what}.",
        f"Besides {what}, {t.third} contributes {a} {o.nouns}.",
    )
    now = t.step(f"With the additional ones there are # {o.nouns}.", o.value + a)
    t.prove(a, now.value - o.value.value)
    t.hints.append(f"Put the additional {o.nouns} on top of what was there before.")
    asks = (
        f"How many {o.nouns} are there now?",
        f"What number of {o.nouns} does that make?",
    )
    return replace(o, value=now, what=f"all these {o.nouns}", asks=asks)


@continues(Kind.COUNT)
def _fewer(t: Tale, o: Outcome) -> Outcome | None:
    what = _these(o)
    a = part(t, o.value)
    if a is None:
        return None
    t.tell(
        f"Of {what}, {a} are given away.",
        f"{t.third} takes {a} of {what} elsewhere.",
        f"By the evening {a} of {what} have been used up.",
        f"Unfortunately {a} of {what} turn out to be damaged and are removed.",
    )
    left = t.step(f"Without those, # {o.nouns} remain.", o.value - a)
    t.prove(o.value, left.value + a.value)
    t.hints.append(f"Take away the {o.nouns} that are no longer there.")
    asks = (f"How many {o.nouns} are left?", f"Find how many {o.nouns} remain.")
    return replace(o, value=left, what=f"the remaining {o.nouns}", asks=asks)


@continues(Kind.COUNT)
def _days(t: Tale, o: Outcome) -> Outcome | None:
    what = _these(o)
    k = t.whole(3, 14)
    t.tell(
        f"As many as {what} come together in each of {k} rounds, and all rounds are added.",
        f"This is done {k} times, each time with as many as {what}.",
        f"On each of {k} weekends there are as many as {what}, and all weekends count.",
    )
    all_days = t.step(f"Over the whole time that makes # {o.nouns}.", o.value * k)
    t.prove(o.value, all_days.value / k.value)
    t.hints.append("The same amount again and again calls for multiplication.")
    asks = (
        f"How many {o.nouns} is that over the whole time?",
        f"What is the number of {o.nouns} for the entire period?",
    )
    return replace(o, value=all_days, what=f"all these {o.nouns}", asks=asks)


@continues(Kind.COUNT)
def _stacks(t: Tale, o: Outcome) -> Outcome | None:
    what = _these(o)
    k = t.divisor(o.value, 3, 15)
    if k is None:
        return None
    boxes = t.c.boxes if o.nouns != t.c.boxes else "rows"
    t.tell(
        f"Evenly, {what} are divided over {k} {boxes}.",
        f"{t.who} spreads {what} evenly over {k} {boxes}.",
        f"In the end {k} {boxes} take {what}, the same number each.",
    )
    each = t.step(f"Every part then has # {o.nouns}.", o.value / k)
    t.prove(o.value, sum(each.value for _ in range(k.n)))
    t.hints.append("An even spread calls for division by the number of places.")
    asks = (
        f"How many {o.nouns} go to each of the {boxes}?",
        f"Work out the number of {o.nouns} in each of the {boxes}.",
    )
    return replace(o, value=each, asks=asks, final=True)


@continues(Kind.COUNT)
def _bundled(t: Tale, o: Outcome) -> Outcome | None:
    what = _these(o)
    k = t.divisor(o.value, 3, 12)
    if k is None:
        return None
    t.tell(
        f"{t.friend} ties {what} into bundles of {k}.",
        f"In sealed packs of {k}, {what} leave on a cart.",
        f"For the way home {what} are put into bags of {k}.",
    )
    bags = t.step("The number of full packs is #.", o.value / k)
    t.prove(o.value, bags.value * k.value)
    t.hints.append(f"Ask how often the size of a pack fits into the number of {o.nouns}.")
    asks = ("How many packs does that make?", "What is the number of packs?")
    return replace(o, value=bags, nouns="packs", noun="pack", what="these packs", asks=asks)


@continues(Kind.COUNT)
def _sold(t: Tale, o: Outcome) -> Outcome | None:
    what = _these(o)
    p = t.money(2, 9)
    t.tell(
        f"Each of {what} is sold for ${p}.",
        f"A customer takes {what} and pays ${p} for every {o.noun}.",
        f"At a price of ${p} apiece, {what} find a buyer.",
    )
    income = t.step("The sale brings in # dollars.", o.value * p, MONEY)
    t.prove(p, income.value / o.value.value)
    t.hints.append("Multiply the number that is sold by the price of a single piece.")
    asks = (
        "How many dollars does the sale bring in?",
        "How much money is taken, in dollars?",
    )
    return Outcome(Kind.INCOME, income, asks, what="the income")


@continues(Kind.COUNT)
def _some_percent(t: Tale, o: Outcome) -> Outcome | None:
    what = _these(o)
    p = t.whole(5, 95, by=5)
    if (o.value.value * p.value / 100).denominator != 1:
        return None
    t.tell(
        f"{p}% of {what} are reserved for {t.third}.",
        f"A label is put on {p}% of {what}, and only those count.",
    )
    kept = t.step(f"That is # {o.nouns}.", o.value * p / 100)
    t.prove(kept, Fraction(p.n, 100) * o.value.value)
    t.hints.append("Percent means out of every hundred.")
    asks = (f"How many {o.nouns} are those?",)
    return replace(o, value=kept, asks=asks, final=True)


@continues(Kind.MEASURE)
def _billed(t: Tale, o: Outcome) -> Outcome | None:
    p = t.money(2, 12)
    t.tell(
        f"Every {o.noun} of {o.what} costs ${p}.",
        f"A firm charges ${p} per {o.noun} for {o.what}.",
        f"The price of {o.what} is ${p} for each {o.noun}.",
    )
    cost = t.step("The bill is # dollars.", o.value * p, MONEY)
    t.prove(p, cost.value / o.value.value)
    t.hints.append(f"Multiply the price of a single {o.noun} by the number of {o.nouns}.")
    asks = ("How many dollars does that cost?", "What is the cost in dollars?")
    return Outcome(Kind.COST, cost, asks, what="the bill")


@continues(Kind.MEASURE)
def _several(t: Tale, o: Outcome) -> Outcome | None:
    k = t.whole(3, 12)
    t.tell(
        f"As much as {o.what} is needed {k} times.",
        f"{t.third} takes {o.what} as a model and plans {k} times as much.",
        f"It is decided to take {o.what} {k} times.",
    )
    now = t.step(f"For all of them that makes # {o.nouns}.", o.value * k)
    t.prove(o.value, now.value / k.value)
    t.hints.append("The same amount several times calls for multiplication.")
    asks = (f"How many {o.nouns} is that in all?", f"Find the number of {o.nouns} for all of it.")
    return replace(o, value=now, what="the whole amount", asks=asks)


@continues(Kind.MEASURE)
def _extra(t: Tale, o: Outcome) -> Outcome | None:
    a = t.whole(4, 40)
    t.tell(
        f"As a reserve, {t.friend} adds {a} {o.nouns} to {o.what}.",
        f"A further {a} {o.nouns} come on top of {o.what}.",
    )
    now = t.step(f"Including the extra part it is # {o.nouns}.", o.value + a)
    t.prove(a, now.value - o.value.value)
    t.hints.append(f"The extra {o.nouns} are added at the end.")
    asks = (f"How many {o.nouns} is it then?", f"How many {o.nouns} are there with the extra part?")
    return replace(o, value=now, what="the increased amount", asks=asks)


@continues(Kind.MEASURE)
def _done(t: Tale, o: Outcome) -> Outcome | None:
    a = part(t, o.value)
    if a is None:
        return None
    t.tell(
        f"Of {o.what}, {a} {o.nouns} are already taken care of.",
        f"{t.third} has already dealt with {a} {o.nouns} of {o.what}.",
    )
    left = t.step(f"What remains is # {o.nouns}.", o.value - a)
    t.prove(o.value, left.value + a.value)
    t.hints.append("Take away the part that is already dealt with.")
    asks = (f"How many {o.nouns} remain?", f"How many {o.nouns} are still missing?")
    return replace(o, value=left, what="the remaining part", asks=asks)


@continues(Kind.MEASURE)
def _parts(t: Tale, o: Outcome) -> Outcome | None:
    k = t.divisor(o.value, 3, 12)
    if k is None:
        return None
    t.tell(
        f"{t.who} splits {o.what} evenly among {k} {t.c.workers}.",
        f"In the end {o.what} is divided into {k} parts of the same size.",
    )
    each = t.step(f"A single part is # {o.nouns}.", o.value / k)
    t.prove(o.value, sum(each.value for _ in range(k.n)))
    t.hints.append("Parts of the same size call for division.")
    asks = (f"How many {o.nouns} is a single part?", f"How many {o.nouns} does each part have?")
    return replace(o, value=each, asks=asks, final=True)
