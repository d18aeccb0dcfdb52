"""Arithmetic: sums and differences, equal groups, making change."""

from __future__ import annotations

from tdsys.reference.steps import Style, total
from tdsys.reference.tale import Kind, Outcome, Tale
from tdsys.reference.topic import Topic

DOMAIN = "arithmetic"

SUMS = Topic(
    DOMAIN,
    "sums and differences",
    ("sum", "difference"),
    (
        "A sum puts amounts together; a difference tells how far apart they are.",
        "Line up the ones, tens and hundreds before you add or subtract.",
        "Decide first which amount is the larger.",
        "Check a subtraction by adding back.",
    ),
)


@SUMS.story(steps=1)
def _sum_of_heaps(t: Tale) -> Outcome:
    c, a, b = t.c, t.whole(24, 180), t.whole(24, 180)
    t.tell(
        f"{c.at}, {t.who} counts {a} {c.items} and {t.friend} counts {b}; the list shows the sum.",
        f"The morning shift {c.at} handled {a} {c.items}, the evening shift {b}. A sum is noted.",
        f"To know the sum, {t.third} adds {a} {c.looks[0]} {c.items} and {b} {c.looks[1]} "
        f"{c.items} {c.at}.",
        f"A {c.box} {c.at} has {a} {c.items} in it, a second {c.box} {b}. {t.who} needs their sum.",
    )
    both = t.step(f"The sum is # {c.items}.", a + b)
    t.prove(a, both.value - b.value)
    asks = (f"How many {c.items} are there altogether?", f"What is the sum of the {c.items}?")
    return Outcome(Kind.COUNT, both, asks, c.items, c.item)


@SUMS.story(steps=1)
def _difference(t: Tale) -> Outcome:
    c, b = t.c, t.whole(20, 90)
    a = t.given(b.n + t.rng.randint(15, 140))
    t.tell(
        f"{c.at}, {t.who} has {a} {c.items} but {t.friend} only {b}. The difference is fetched "
        f"from the store.",
        f"There should be {a} {c.items} {c.at}, yet the count says {b}. {t.third} orders exactly "
        f"the difference.",
        f"Yesterday {b} {c.items} came to {c.place}; today {a} came. The difference between the "
        f"days is put aside.",
    )
    apart = t.step(f"The difference is # {c.items}.", a - b)
    t.prove(a, b.value + apart.value)
    asks = (f"How many {c.items} is the difference?", f"By how many {c.items} do they differ?")
    return Outcome(Kind.COUNT, apart, asks, c.items, c.item)


@SUMS.story(steps=2)
def _more_than(t: Tale) -> Outcome:
    c, a, d = t.c, t.whole(30, 120), t.whole(6, 28)
    sign = t.rng.choice(("more", "fewer"))
    t.tell(
        f"{t.who} prepares {a} {c.items} {c.at}. {t.friend} prepares {d} {sign} than {t.who}, and "
        f"they report the sum.",
        f"{c.at}, the first {c.box} has {a} {c.items} in it; the difference to the second {c.box} "
        f"is {d}, because the second has {sign}. Both are emptied onto a table.",
    )
    second = t.step(f"The second amount is # {c.items}.", a + d if sign == "more" else a - d)
    both = t.step(f"The sum is # {c.items}.", a + second)
    t.prove(both, 2 * a.n + (d.n if sign == "more" else -d.n))
    asks = (f"How many {c.items} do the amounts make together?", f"Find the sum of the {c.items}.")
    return Outcome(Kind.COUNT, both, asks, c.items, c.item)


@SUMS.story(steps=2)
def _compare_sums(t: Tale) -> Outcome:
    c, a, b, d = t.c, t.whole(60, 160), t.whole(40, 150), t.whole(15, 90)
    t.tell(
        f"{c.at}, the {c.looks[0]} {c.items} number {a} and the {c.looks[1]} ones {b}. "
        f"{t.who} takes their sum; {t.friend} compares it with the {d} {c.looks[2]} {c.items} and "
        f"sets the difference aside.",
        f"{t.who} brought {a} {c.items} to {c.place} and {t.friend} brought {b}. From this sum "
        f"{t.third} took {d}; the difference stayed.",
    )
    both = t.step(f"The sum is # {c.items}.", a + b)
    apart = t.step(f"The difference is # {c.items}.", both - d)
    t.prove(apart, a.n - d.n + b.n)
    asks = (f"How many {c.items} is the difference?", f"What difference results, in {c.items}?")
    return Outcome(Kind.COUNT, apart, asks, c.items, c.item)


@SUMS.story(steps=3)
def _three_days(t: Tale) -> Outcome:
    c, a, d, e = t.c, t.whole(50, 140), t.whole(8, 30), t.whole(5, 25)
    t.tell(
        f"On Monday {a} {c.items} pass through {c.place}. On Tuesday there are {d} more than on "
        f"Monday, on Wednesday {e} fewer than on Tuesday. The sum goes into the report.",
        f"{t.who} has {a} {c.items} {c.at}, {t.friend} has {d} more than {t.who} and {t.third} "
        f"{e} fewer than {t.friend}. They want the sum.",
    )
    second = t.step(f"The second amount is # {c.items}.", a + d)
    last = t.step(f"The last amount is # {c.items}.", second - e)
    every = t.step(f"The sum is # {c.items}.", total(a, second, last))
    t.prove(every, 3 * a.n + 2 * d.n - e.n)
    asks = (f"How many {c.items} is that altogether?", f"What is the sum of the {c.items}?")
    return Outcome(Kind.COUNT, every, asks, c.items, c.item)


GROUPS = Topic(
    DOMAIN,
    "equal groups",
    ("equal groups",),
    (
        "Equal groups call for multiplication: groups times the size of a group.",
        "Sketch the groups as rows of dots to see the product.",
        "To undo equal groups, divide.",
        "Do not add the number of groups to the size of a group.",
    ),
)


@GROUPS.story(steps=1)
def _groups(t: Tale) -> Outcome:
    c, n, k = t.c, t.whole(4, 12), t.whole(13, 36)
    t.tell(
        f"{c.at}, {t.who} sorts {c.items} into {n} equal groups with {k} {c.items} in each.",
        f"There are {n} {c.boxes} {c.at}, as equal groups with {k} {c.items} in each.",
        f"{t.friend} sees equal groups of {c.items} {c.at}: {n} of them, and every group counts "
        f"{k}.",
        f"For a photo, {k} {c.items} lie in each of {n} rows {c.at}: equal groups.",
    )
    every = t.step(f"The groups hold # {c.items}.", n * k)
    t.prove(every, sum(k.n for _ in range(n.n)))
    asks = (f"How many {c.items} are there in all?", f"Find the number of {c.items} in the groups.")
    return Outcome(Kind.COUNT, every, asks, c.items, c.item)


@GROUPS.story(steps=1)
def _into_groups(t: Tale) -> Outcome:
    c, n = t.c, t.whole(4, 12)
    whole = t.given(n.n * t.rng.randint(9, 40))
    t.tell(
        f"{t.who} has {whole} {c.items} {c.at} and makes {n} equal groups of them. A single group "
        f"goes to {t.friend}.",
        f"A load of {whole} {c.items} reaches {c.place}. It is laid out as {n} equal groups, and "
        f"{t.third} looks at a single group.",
        f"{n} {c.boxes} {c.at} take {whole} {c.items} as equal groups; {t.who} opens "
        f"a single {c.box}.",
    )
    each = t.step(f"A single group has # {c.items}.", whole / n)
    t.prove(whole, sum(each.n for _ in range(n.n)))
    asks = (f"How many {c.items} are in a single group?", f"Find the size of a group of {c.items}.")
    return Outcome(Kind.COUNT, each, asks, c.items, c.item)


@GROUPS.story(steps=2)
def _two_kinds(t: Tale) -> Outcome:
    c, n, k, j = t.c, t.whole(3, 9), t.whole(11, 25), t.whole(11, 25)
    t.tell(
        f"{c.at} stand {n} {c.boxes}, equal groups of {k} {c.looks[0]} {c.items}. {t.friend} adds "
        f"the {j} {c.looks[1]} {c.items} that were left on a chair.",
        f"{t.who} forms {n} equal groups of {k} {c.items} {c.at}, and {j} {c.items} do not fit "
        f"into any group but count too.",
    )
    grouped = t.step(f"The groups hold # {c.items}.", n * k)
    every = t.step(f"With the others that makes # {c.items}.", grouped + j)
    t.prove(every, sum((k.n,) * n.n, j.n))
    asks = (f"How many {c.items} are there altogether?", f"What is the number of {c.items}?")
    return Outcome(Kind.COUNT, every, asks, c.items, c.item)


@GROUPS.story(steps=2)
def _groups_of_groups(t: Tale) -> Outcome:
    c, n, k, m = t.c, t.whole(3, 8), t.whole(3, 9), t.whole(10, 24)
    t.tell(
        f"{c.at} are {n} cupboards. In every cupboard stand {k} {c.boxes}, equal groups with {m} "
        f"{c.items} in each {c.box}.",
        f"{t.who} packs {m} {c.items} into every {c.box} {c.at}. {k} {c.boxes} fit on a cart, and "
        f"{n} carts are loaded, with equal groups on all of them.",
    )
    boxes = t.step(f"There are # {c.boxes}.", n * k)
    every = t.step(f"They hold # {c.items}.", boxes * m)
    t.prove(every, sum(k.n * m.n for _ in range(n.n)))
    asks = (f"How many {c.items} is that altogether?", f"Find the number of all {c.items}.")
    return Outcome(Kind.COUNT, every, asks, c.items, c.item)


@GROUPS.story(steps=3)
def _regroup(t: Tale) -> Outcome:
    c, n, k, j, m = t.c, t.whole(4, 9), t.whole(12, 24), t.whole(12, 24), t.whole(3, 11)
    t.tell(
        f"{c.at}, {t.who} starts with {n} equal groups of {k} {c.items}; {t.friend} starts with "
        f"{m} equal groups of {j}. They put everything together.",
        f"{n} {c.boxes} with {k} {c.items} in each and {m} {c.boxes} with {j} {c.items} in each "
        f"wait {c.at}, so there are equal groups of each size.",
    )
    first = t.step(f"The first groups hold # {c.items}.", n * k)
    second = t.step(f"The other groups hold # {c.items}.", m * j)
    every = t.step(f"Together these are # {c.items}.", first + second)
    t.prove(every, sum((k.n,) * n.n) + sum((j.n,) * m.n))
    asks = (f"How many {c.items} are there in all?", f"What is the number of all {c.items}?")
    return Outcome(Kind.COUNT, every, asks, c.items, c.item)


CHANGE = Topic(
    DOMAIN,
    "making change",
    ("change",),
    (
        "Change is the money handed over minus the price.",
        "Work out the price of everything before you look at the banknote.",
        "Count up from the price to the money that was paid.",
        "Keep dollars and cents apart when you subtract.",
    ),
)


@CHANGE.story(steps=1)
def _simple_change(t: Tale) -> Outcome:
    c, p = t.c, t.money(6, 60)
    note = t.given(-(-int(p.value + 3) // 10) * 10)
    t.tell(
        f"{c.at}, {t.who} buys some {c.items} for ${p}, pays with ${note} and keeps the change.",
        f"A bill of ${p} is settled with ${note} {c.at}. The change goes into a tip jar.",
        f"{t.friend} hands over ${note} {c.at} although the {c.others} cost ${p}, and waits for "
        f"the change.",
        f"The till {c.at} shows ${p}. {t.third} puts down ${note} and gets change.",
    )
    back = t.step("The change is # dollars.", note - p, Style.MONEY)
    t.prove(note, p.value + back.value)
    asks = ("How many dollars is the change?", "How much change is that, in dollars?")
    return Outcome(Kind.INCOME, back, asks, what="the change")


@CHANGE.story(steps=2)
def _several_pieces(t: Tale) -> Outcome:
    c, n, p = t.c, t.whole(3, 9), t.money(2, 7)
    note = t.given(-(-int(n.value * p.value + 2) // 20) * 20)
    t.tell(
        f"{t.who} takes {n} {c.items} at ${p} apiece {c.at} and pays with ${note}, wanting "
        f"the change.",
        f"{c.at} every {c.item} costs ${p}. {t.friend} asks for {n} of them, hands over ${note} "
        f"and counts the change.",
        f"With ${note} in hand, {t.third} goes to {c.place} to get {n} {c.others} for ${p} each "
        f"and brings back the change.",
    )
    price = t.step("The price of everything is # dollars.", n * p, Style.MONEY)
    back = t.step("The change is # dollars.", note - price, Style.MONEY)
    t.prove(note, sum((p.value,) * n.n) + back.value)
    asks = ("How many dollars is the change?", "What change is due, in dollars?")
    return Outcome(Kind.INCOME, back, asks, what="the change")


@CHANGE.story(steps=2)
def _two_prices(t: Tale) -> Outcome:
    c, p, q = t.c, t.money(4, 19), t.money(4, 19)
    note = t.given(-(-int(p.value + q.value + 2) // 10) * 10)
    t.tell(
        f"{c.at}, {c.stuff} for ${p} and a {c.other} for ${q} are paid for with ${note}; the "
        f"change is handed back.",
        f"{t.who} spends ${p} and then ${q} {c.at}. The money was a single payment of ${note}, so "
        f"there is change.",
    )
    price = t.step("Both prices make # dollars.", p + q, Style.MONEY)
    back = t.step("The change is # dollars.", note - price, Style.MONEY)
    t.prove(back, note.value - p.value - q.value)
    asks = ("How many dollars is the change?", "How much change is there, in dollars?")
    return Outcome(Kind.INCOME, back, asks, what="the change")


@CHANGE.story(steps=3)
def _basket_of_two(t: Tale) -> Outcome:
    c, n, p, q = t.c, t.whole(3, 8), t.money(2, 6), t.money(5, 15)
    note = t.given(-(-int(n.value * p.value + q.value + 3) // 25) * 25)
    t.tell(
        f"{t.who} buys {n} {c.items} for ${p} each and a {c.other} for ${q} {c.at}. The payment "
        f"is ${note}, and the change is put away.",
        f"A {c.other} costs ${q} {c.at}, and every {c.item} costs ${p}. {t.friend} gets a single "
        f"{c.other} and {n} {c.items}, pays ${note} and takes the change.",
    )
    some = t.step(f"The {c.items} cost # dollars.", n * p, Style.MONEY)
    price = t.step("The whole price is # dollars.", some + q, Style.MONEY)
    back = t.step("The change is # dollars.", note - price, Style.MONEY)
    t.prove(note, back.value + q.value + sum((p.value,) * n.n))
    asks = ("How many dollars is the change?", "What is the change in dollars?")
    return Outcome(Kind.INCOME, back, asks, what="the change")


TOPICS = (SUMS, GROUPS, CHANGE)
