"""How a story about money, a rate, a plain number or a chance goes on.

The one rule is that of `links`: None when the link does not fit, and every step is undone.
"""

from __future__ import annotations

from dataclasses import replace

from tdsys.reference.links import MONEY, continues, part
from tdsys.reference.steps import Style, constant
from tdsys.reference.tale import Kind, Outcome, Tale


@continues(Kind.COST)
def _fee(t: Tale, o: Outcome) -> Outcome | None:
    a = t.money(3, 25)
    t.tell(
        f"A fee of ${a} for delivery comes on top of {o.what}.",
        f"Besides {o.what}, {t.friend} has to pay ${a} for insurance.",
        f"The invoice adds ${a} for packing to {o.what}.",
    )
    now = t.step("Together with the fee it is # dollars.", o.value + a, MONEY)
    t.prove(a, now.value - o.value.value)
    t.hints.append("Fees are added to the bill.")
    asks = ("How many dollars have to be paid in the end?", "What is the full bill in dollars?")
    return replace(o, value=now, what="the full bill", asks=asks)


@continues(Kind.COST)
def _coupon(t: Tale, o: Outcome) -> Outcome | None:
    a = part(t, o.value)
    if a is None:
        return None
    t.tell(
        f"A voucher lowers {o.what} by ${a}.",
        f"{t.third} pays ${a} of {o.what} as a sponsor.",
        f"Of {o.what}, ${a} were paid in advance.",
    )
    now = t.step("What is still to be paid is # dollars.", o.value - a, MONEY)
    t.prove(o.value, now.value + a.value)
    t.hints.append("Take off the part of the bill that somebody else covers.")
    asks = ("How many dollars are still to be paid?", "How much is left to pay, in dollars?")
    return replace(o, value=now, what="the rest of the bill", asks=asks)


@continues(Kind.COST, Kind.INCOME)
def _split(t: Tale, o: Outcome) -> Outcome | None:
    k = t.whole(3, 8)
    if (o.value.value * 100 / k.value).denominator != 1:
        return None
    t.tell(
        f"In the end {o.what} is split evenly among {k} {t.c.workers}.",
        f"{k} {t.c.workers} share {o.what} evenly.",
    )
    each = t.step("Each of them has a part of # dollars.", o.value / k, MONEY)
    t.prove(o.value, sum(each.value for _ in range(k.n)))
    t.hints.append("Sharing an amount evenly calls for division.")
    asks = (
        f"How many dollars is that for each of the {t.c.workers}?",
        f"What is the part of a single {t.c.worker}, in dollars?",
    )
    return replace(o, value=each, asks=asks, final=True)


@continues(Kind.COST, Kind.INCOME)
def _weeks(t: Tale, o: Outcome) -> Outcome | None:
    k = t.whole(3, 12)
    t.tell(
        f"The same as {o.what} comes up in each of {k} weeks.",
        f"For {k} weeks, as much as {o.what} comes up every week.",
    )
    now = t.step("Over all weeks it adds up to # dollars.", o.value * k, MONEY)
    t.prove(o.value, now.value / k.value)
    t.hints.append("The same amount every week calls for multiplication.")
    asks = (
        "How many dollars is that over all weeks?",
        "What is the total for all weeks in dollars?",
    )
    return replace(o, value=now, what="the amount for all weeks", asks=asks)


@continues(Kind.COST)
def _budget(t: Tale, o: Outcome) -> Outcome | None:
    b = t.given(round(o.value.value * t.rng.randint(12, 20) / 10 / 5) * 5)
    if b.value - o.value.value < 2:
        return None
    t.tell(
        f"{t.who} has a budget of ${b} for {o.what}.",
        f"The cash box {t.c.at} holds ${b} to pay {o.what}.",
    )
    left = t.step("After paying, # dollars are left of the budget.", b - o.value, MONEY)
    t.prove(b, left.value + o.value.value)
    t.hints.append("Compare the cost with the money that is at hand.")
    asks = ("How many dollars are left after paying?", "How much money remains, in dollars?")
    return replace(o, value=left, asks=asks, final=True)


@continues(Kind.INCOME)
def _spent(t: Tale, o: Outcome) -> Outcome | None:
    a = part(t, o.value)
    if a is None:
        return None
    t.tell(
        f"From {o.what}, {t.who} spends ${a} on {t.c.stuff}.",
        f"{t.friend} uses ${a} of {o.what} to repair a {t.c.box}.",
        f"Costs of ${a} have to be covered from {o.what}.",
    )
    left = t.step("After that # dollars are left.", o.value - a, MONEY)
    t.prove(o.value, left.value + a.value)
    t.hints.append("Money that is spent is taken away from what came in.")
    asks = ("How many dollars are left?", "How much of the money remains, in dollars?")
    return replace(o, value=left, what="the remaining money", asks=asks)


@continues(Kind.INCOME)
def _gift(t: Tale, o: Outcome) -> Outcome | None:
    a = t.whole(5, 80)
    t.tell(
        f"A friend of {t.c.place} adds a gift of ${a} to {o.what}.",
        f"Another ${a} are found in an old envelope and put with {o.what}.",
        f"{t.third} puts ${a} of savings with {o.what}.",
    )
    now = t.step("With the extra money it is # dollars.", o.value + a, MONEY)
    t.prove(a, now.value - o.value.value)
    t.hints.append("Money that comes in is added.")
    asks = ("How many dollars are there then?", "How much money is that now, in dollars?")
    return replace(o, value=now, what="the increased sum", asks=asks)


def _whole(o: Outcome) -> str:
    """What a rate adds up to, as an object of a sentence."""
    return f"all these {o.nouns}" if o.base is Kind.COUNT else "the whole amount"


@continues(Kind.RATE)
def _longer(t: Tale, o: Outcome) -> Outcome | None:
    k = t.whole(3, 15)
    t.tell(
        f"This goes on in the same way for {k} {o.per}s.",
        f"{t.who} keeps this up for {k} {o.per}s.",
        f"It stays like this for {k} {o.per}s.",
    )
    now = t.step(f"In that time it comes to # {o.nouns}.", o.value * k)
    t.prove(o.value, now.value / k.value)
    t.hints.append(f"Go from a single {o.per} to all of them by multiplication.")
    asks = (
        f"How many {o.nouns} is that in all this time?",
        f"Find the number of {o.nouns} for the whole time.",
    )
    return Outcome(o.base, now, asks, nouns=o.nouns, noun=o.noun, what=_whole(o))


@continues(Kind.RATE)
def _faster(t: Tale, o: Outcome) -> Outcome | None:
    a = t.whole(3, 20)
    t.tell(
        f"From then on it is {a} {o.nouns} per {o.per} more than that.",
        f"With new equipment, {a} {o.nouns} per {o.per} come on top of this.",
    )
    now = t.step(f"Now it is # {o.nouns} per {o.per}.", o.value + a)
    t.prove(a, now.value - o.value.value)
    t.hints.append(f"Raise the number for a single {o.per} first.")
    asks = (f"How many {o.nouns} per {o.per} is it now?",)
    return replace(o, value=now, asks=asks)


@continues(Kind.NUMBER)
def _plus(t: Tale, o: Outcome) -> Outcome | None:
    a = t.whole(4, 60)
    t.tell(
        f"{t.friend} adds {a} to {o.what}.",
        f"Next, {o.what} is increased by {a}.",
        f"{t.third} writes {o.what} on a board {t.c.at} and raises it by {a}.",
    )
    now = t.step("Increasing it gives #.", o.value + a)
    t.prove(a, now.value - o.value.value)
    t.hints.append("To increase a number, add.")
    return replace(o, value=now, what="the new number", asks=_NUMBER_ASKS)


@continues(Kind.NUMBER)
def _minus(t: Tale, o: Outcome) -> Outcome | None:
    a = part(t, o.value)
    if a is None:
        return None
    t.tell(
        f"{t.friend} subtracts {a} from {o.what}.",
        f"After that, {o.what} is lowered by {a}.",
        f"{t.third} takes {o.what} and counts back by {a}.",
    )
    now = t.step("Lowering it gives #.", o.value - a)
    t.prove(o.value, now.value + a.value)
    t.hints.append("To lower a number, subtract.")
    return replace(o, value=now, what="the new number", asks=_NUMBER_ASKS)


@continues(Kind.NUMBER)
def _times(t: Tale, o: Outcome) -> Outcome | None:
    k = t.whole(3, 12)
    t.tell(
        f"{t.third} multiplies {o.what} by {k}.",
        f"For a riddle, {o.what} is taken {k} times.",
        f"A machine {t.c.at} then multiplies {o.what} by {k}.",
    )
    now = t.step("Multiplying gives #.", o.value * k)
    t.prove(o.value, now.value / k.value)
    t.hints.append("Taking a number several times is multiplication.")
    return replace(o, value=now, what="the product", asks=_NUMBER_ASKS)


@continues(Kind.NUMBER)
def _over(t: Tale, o: Outcome) -> Outcome | None:
    k = t.divisor(o.value, 3, 12)
    if k is None:
        return None
    t.tell(
        f"{t.who} divides {o.what} by {k}.",
        f"Then {o.what} is cut into {k} parts of the same size, and a single part counts.",
    )
    now = t.step("Dividing gives #.", o.value / k)
    t.prove(o.value, sum(now.value for _ in range(k.n)))
    t.hints.append("Finish with a division.")
    return replace(o, value=now, what="the quotient", asks=_NUMBER_ASKS)


_NUMBER_ASKS = (
    "What number is the result?",
    "Which number comes out in the end?",
    "Give the final number.",
)


@continues(Kind.CHANCE)
def _expected(t: Tale, o: Outcome) -> Outcome | None:
    n = t.given(o.value.value.denominator * t.rng.randint(3, 15))
    t.tell(
        f"The experiment is carried out {n} times.",
        f"{t.third} repeats it {n} times under the same conditions.",
        f"Over the day, {n} visitors of {t.c.place} try it.",
    )
    wins = t.step("The expected number is #.", n * o.value)
    t.prove(wins, n.value - n.value * (1 - o.value.value))
    t.hints.append("Multiply the probability by the number of trials.")
    asks = (
        f"How many times can we expect that {o.what}?",
        f"What is the expected number of times that {o.what}?",
    )
    return Outcome(Kind.TIMES, wins, asks)


@continues(Kind.CHANCE)
def _complement(t: Tale, o: Outcome) -> Outcome | None:
    t.tell(
        f"{t.friend} wins a prize in all other cases.",
        f"In every other case {t.friend} wins.",
    )
    rest = t.step("The probability of the other cases is #.", constant(1) - o.value, Style.FRACTION)
    t.prove(o.value, 1 - rest.value)
    t.hints.append("The probabilities of an event and of its opposite add up to a whole.")
    wins = f"{t.friend} wins"
    asks = (f"What is the probability that {wins}?",)
    return replace(o, value=rest, what=wins, asks=asks)


@continues(Kind.TIMES)
def _prizes(t: Tale, o: Outcome) -> Outcome | None:
    p = t.money(2, 15)
    t.tell(
        f"Every time this earns ${p} for {t.c.place}.",
        f"Each such success is rewarded with ${p}.",
    )
    money = t.step("The rewards come to # dollars.", o.value * p, MONEY)
    t.prove(p, money.value / o.value.value)
    t.hints.append("Multiply the reward by the expected number of successes.")
    asks = ("How many dollars can be expected?", "What sum can be expected, in dollars?")
    return Outcome(Kind.INCOME, money, asks, what="the reward")


@continues(Kind.TIMES)
def _rounds(t: Tale, o: Outcome) -> Outcome | None:
    k = t.whole(3, 9)
    t.tell(
        f"The whole series is run on {k} days.",
        f"{t.friend} organises {k} series like this.",
    )
    now = t.step("For all series together # successes are expected.", o.value * k)
    t.prove(o.value, now.value / k.value)
    t.hints.append("Every series has the same expected number.")
    return replace(o, value=now, asks=("How many successes can be expected altogether?",))


@continues(Kind.TIMES)
def _earlier(t: Tale, o: Outcome) -> Outcome | None:
    a = t.whole(3, 30)
    t.tell(
        f"There were already {a} successes before that.",
        f"{t.friend} had counted {a} successes in an earlier test.",
    )
    now = t.step("With the earlier ones that makes # successes.", o.value + a)
    t.prove(a, now.value - o.value.value)
    t.hints.append("Do not forget the earlier successes.")
    return replace(o, value=now, asks=("How many successes is that when all are counted?",))


@continues(Kind.SHARE)
def _of_whole(t: Tale, o: Outcome) -> Outcome | None:
    whole = t.given(o.value.value.denominator * t.rng.randint(4, 25))
    t.tell(
        f"The whole is {whole} {t.c.items}.",
        f"In numbers, the whole stands for {whole} {t.c.items}.",
    )
    amount = t.step(f"This part is # {t.c.items}.", whole * o.value)
    t.prove(amount, whole.value / o.value.value.denominator * o.value.value.numerator)
    t.hints.append("To find a fraction of a whole, multiply the whole by the fraction.")
    asks = (
        f"How many {t.c.items} does {o.what} have?",
        f"Find the number of {t.c.items} in {o.what}.",
    )
    return Outcome(Kind.COUNT, amount, asks, nouns=t.c.items, noun=t.c.item)


@continues(Kind.SHARE)
def _rest(t: Tale, o: Outcome) -> Outcome | None:
    if o.value.value >= 1:
        return None
    t.tell(f"{t.friend} gets the rest of the whole.", f"What is left of the whole is {t.third}'s.")
    rest = t.step("The rest is # of the whole.", constant(1) - o.value, Style.FRACTION)
    t.prove(o.value, 1 - rest.value)
    t.hints.append("All parts together make up the whole.")
    asks = ("What fraction of the whole is the rest?",)
    return replace(o, value=rest, what="the rest", asks=asks)
