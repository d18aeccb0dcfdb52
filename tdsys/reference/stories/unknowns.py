"""Algebra: linear equations, number sequences, substituting into a formula."""

from __future__ import annotations

from tdsys.reference.steps import Number, total
from tdsys.reference.tale import Kind, Outcome, Tale
from tdsys.reference.topic import Topic

DOMAIN = "algebra"

EQUATIONS = Topic(
    DOMAIN,
    "linear equations",
    ("equation", "unknown"),
    (
        "Do the same on either side of the equation until the unknown stands alone.",
        "Undo additions and subtractions first, multiplications afterwards.",
        "Put the solution back into the equation to check it.",
        "Collect the terms with the unknown on a single side.",
    ),
)


_X_ASKS = (
    "What is the value of x, the unknown number?",
    "Solve for the unknown number x.",
    "Which number x is the solution?",
)


def _x(found: Number) -> Outcome:
    return Outcome(Kind.NUMBER, found, _X_ASKS, what="the solution x")


@EQUATIONS.story(steps=2)
def _times_plus(t: Tale) -> Outcome:
    c, a, b = t.c, t.whole(3, 12), t.whole(5, 40)
    x = t.rng.randint(4, 40)
    right = t.given(a.n * x + b.n)
    t.tell(
        f"{t.who} thinks of a number {c.at}, multiplies it by {a} and adds {b}. The equation gives "
        f"{right}.",
        f"On a board {c.at} stands the equation {a}*x + {b} = {right}.",
        f"The locker code {c.at} is the unknown x with {right} = {b} + {a}*x.",
        f"{a} {c.boxes} {c.at} hold an unknown number x of {c.items} each; together with {b} loose "
        f"{c.items} these are {right} {c.items}.",
    )
    part = t.step("Subtracting the constant leaves #.", right - b)
    found = t.step("Dividing by the coefficient gives x = #.", part / a)
    t.prove(right, a.value * found.value + b.value)
    return _x(found)


@EQUATIONS.story(steps=2)
def _times_minus(t: Tale) -> Outcome:
    c, a, b = t.c, t.whole(3, 12), t.whole(5, 40)
    right = t.given(a.n * t.rng.randint(6, 40) - b.n)
    t.tell(
        f"{t.friend} multiplies an unknown number x by {a}, takes away {b} and reads {right} on a "
        f"display {c.at}.",
        f"A riddle {c.at} asks for the solution of the equation {a}*x - {b} = {right}.",
        f"{t.who} pays {a} equal bills of an unknown amount x {c.at}, gets a rebate of {b} dollars "
        f"and has paid {right} dollars.",
    )
    part = t.step("Adding the constant gives #.", right + b)
    found = t.step("Dividing by the coefficient gives x = #.", part / a)
    t.prove(right, a.value * found.value - b.value)
    return _x(found)


@EQUATIONS.story(steps=2)
def _bracket(t: Tale) -> Outcome:
    c, a, b = t.c, t.whole(3, 12), t.whole(4, 20)
    right = t.given(a.n * (t.rng.randint(4, 30) + b.n))
    t.tell(
        f"A worksheet {c.at} shows the equation {a}*(x + {b}) = {right}.",
        f"{t.who} adds {b} to the unknown number x and multiplies this sum by {a}; a screen {c.at} "
        f"shows {right}.",
        f"Each of the {a} {c.workers} {c.at} carries x + {b} {c.items}; together they carry "
        f"{right}, and x is the unknown.",
    )
    bracket = t.step("Dividing by the factor leaves the bracket #.", right / a)
    found = t.step("Subtracting inside the bracket gives x = #.", bracket - b)
    t.prove(right, a.value * found.value + a.value * b.value)
    return _x(found)


@EQUATIONS.story(steps=3)
def _either_side(t: Tale) -> Outcome:
    c, d, more = t.c, t.whole(3, 8), t.rng.randint(2, 7)
    a, b = t.given(d.n + more), t.whole(4, 40)
    right = t.given(more * t.rng.randint(3, 25) + b.n)
    t.tell(
        f"The equation {a}*x + {b} = {d}*x + {right} hangs on the wall {c.at}.",
        f"{c.at} a scale balances: on the left {a} unknown weights x and {b} kilograms, on the "
        f"right {d} weights x and {right} kilograms.",
        f"{t.who} saves {a} coins of unknown worth x and ${b} {c.at}; {t.friend} saves {d} such "
        f"coins and ${right}. Both have the same sum.",
    )
    factor = t.step("On a single side the coefficient is #.", a - d)
    part = t.step("The constants give #.", right - b)
    found = t.step("Dividing gives x = #.", part / factor)
    t.prove(right, a.value * found.value + b.value - d.value * found.value)
    return _x(found)


@EQUATIONS.story(steps=2)
def _like_terms(t: Tale) -> Outcome:
    c, a, d = t.c, t.whole(3, 9), t.whole(3, 9)
    right = t.given((a.n + d.n) * t.rng.randint(5, 30))
    t.tell(
        f"{a} trips and then {d} trips of unknown length x lead away from {c.place}; an equation "
        f"says "
        f"that the whole way is {right} kilometres.",
        f"Solve the equation {a}*x + {d}*x = {right} that {t.third} found {c.at}.",
    )
    factor = t.step("The like terms have the coefficient #.", a + d)
    found = t.step("Dividing gives x = #.", right / factor)
    t.prove(right, found.value * a.value + found.value * d.value)
    return _x(found)


SEQUENCES = Topic(
    DOMAIN,
    "number sequences",
    ("sequence",),
    (
        "In an arithmetic sequence the step between neighbours is always the same.",
        "The number of steps is lower than the position of the term by a single unit.",
        "For a sum, combine the first and the last term.",
        "Write down the first few terms before you use a formula.",
    ),
)


@SEQUENCES.story(steps=1)
def _nth_term(t: Tale) -> Outcome:
    c, first, d, n = t.c, t.whole(4, 30), t.whole(3, 12), t.whole(8, 40)
    t.tell(
        f"The rows {c.at} form an arithmetic sequence: row 1 has {first} seats, and every row has "
        f"{d} seats more than the row before. Look at row {n}.",
        f"{t.who} writes a sequence on paper {c.at}. It starts at {first} and grows by {d} each "
        f"time; {t.friend} wants the term in position {n}.",
        f"A sequence of {c.items} is laid out {c.at}: {first} in stage 1, and {d} more from stage "
        f"to stage, up to stage {n}.",
        f"Term number {n} of the sequence with first term {first} and common difference {d} "
        f"opens a lock {c.at}.",
    )
    term = t.step("The term is #.", first + (n - 1) * d)
    t.prove(term, range(first.n, first.n + n.n * d.n, d.n)[-1])
    asks = ("What is this term?", "Find this term of the sequence.")
    return Outcome(Kind.NUMBER, term, asks, what="this term")


@SEQUENCES.story(steps=2)
def _position(t: Tale) -> Outcome:
    c, first, d = t.c, t.whole(4, 30), t.whole(3, 12)
    last = t.given(first.n + d.n * t.rng.randint(9, 40))
    t.tell(
        f"A sequence starts with {first} and goes up in steps of {d}. Somewhere {c.at}, {t.who} "
        f"reaches the term {last}.",
        f"{t.friend} saves money for {c.place}: ${first} in week 1 and ${d} more every week, a "
        f"sequence that reaches ${last}.",
        f"House numbers on the way to {c.place} form the sequence {first}, then {d} more each "
        f"time, until {last}.",
    )
    gaps = t.step("The number of steps is #.", (last - first) / d)
    place = t.step("The position of the term is #.", gaps + 1)
    t.prove(place, len(range(first.n, last.n + 1, d.n)))
    asks = ("In which position is this last term?", "How many terms does the sequence have?")
    return Outcome(Kind.NUMBER, place, asks, what="this position")


@SEQUENCES.story(steps=2)
def _series(t: Tale) -> Outcome:
    c, first, d, n = t.c, t.whole(4, 20), t.whole(3, 9), t.whole(8, 24)
    t.tell(
        f"{t.who} stacks {c.items} {c.at} in {n} layers that follow an arithmetic sequence: "
        f"{first} in the top layer, {d} more in each layer below.",
        f"On day 1, {first} guests come to {c.place}. The daily numbers are a sequence that grows "
        f"by {d}, and all guests of {n} days are added.",
        f"Add the first {n} terms of the sequence that begins with {first} and rises by {d}, says "
        f"a notice {c.at}.",
    )
    last = t.step("The last term is #.", first + (n - 1) * d)
    every = t.step("The sum is #.", n * (first + last) / 2)
    t.prove(every, sum(first.n + k * d.n for k in range(n.n)))
    asks = ("What is the sum of these terms?", "Find the sum of the terms.")
    return Outcome(Kind.NUMBER, every, asks, what="the sum of the terms")


@SEQUENCES.story(steps=3)
def _common_difference(t: Tale) -> Outcome:
    c, first, k = t.c, t.whole(5, 30), t.whole(4, 9)
    d, n = t.rng.randint(3, 12), t.whole(15, 40)
    known = t.given(first.n + (k.n - 1) * d)
    t.tell(
        f"The arithmetic sequence on a poster {c.at} starts with {first}, and term number {k} is "
        f"{known}. {t.third} looks for term number {n}.",
        f"The shelves {c.at} are numbered by a sequence with equal steps: shelf 1 shows {first}, "
        f"shelf {k} shows {known}. Think of shelf {n}.",
    )
    gaps = t.step("Between the known terms there are # steps.", k - 1)
    step = t.step("The common difference is #.", (known - first) / gaps)
    term = t.step("The term is #.", first + (n - 1) * step)
    t.prove(term, range(first.n, first.n + n.n * d, d)[-1])
    asks = ("What is this term?", "Which number stands there?")
    return Outcome(Kind.NUMBER, term, asks, what="this term")


FORMULAS = Topic(
    DOMAIN,
    "substituting into formulas",
    ("formula",),
    (
        "Put the given numbers in the place of the letters.",
        "Multiplication comes before addition and subtraction.",
        "Work out brackets first.",
        "A letter stands for the same number everywhere in a formula.",
    ),
)


@FORMULAS.story(steps=1)
def _linear_formula(t: Tale) -> Outcome:
    c, a, b, n = t.c, t.whole(3, 15), t.whole(10, 60), t.whole(4, 30)
    t.tell(
        f"{c.at} the fee in dollars follows the formula F = {a}*h + {b}. {t.who} stays for h = {n} "
        f"hours.",
        f"A technician {c.at} charges {a} dollars per hour h and {b} dollars for coming; the "
        f"formula is used for {n} hours.",
        f"{t.friend} hires a {c.vehicle} for {c.place}. Formula: {b} plus {a} times the number of "
        f"days. The hire lasts {n} days.",
    )
    fee = t.step("The formula gives # dollars.", a * n + b)
    t.prove(fee, sum((a.n,) * n.n, b.n))
    asks = ("How many dollars does the formula give?", "What is the fee in dollars?")
    return Outcome(Kind.COST, fee, asks, what="the fee")


@FORMULAS.story(steps=2)
def _bracket_formula(t: Tale) -> Outcome:
    c, a, n, m = t.c, t.whole(3, 12), t.whole(5, 30), t.whole(5, 30)
    t.tell(
        f"A formula {c.at} says y = {a}*(u + v), and today u = {n} and v = {m}.",
        f"{t.who} evaluates the formula {a}*(u + v) for {c.place}, with {n} in the place of u and "
        f"{m} in the place of v.",
        f"The formula for the number of labels {c.at} is y = {a}*(u + v); u counts {n} "
        f"{c.boxes}, v counts {m} {c.others}.",
    )
    bracket = t.step("The bracket is #.", n + m)
    y = t.step("The formula gives #.", a * bracket)
    t.prove(y, a.n * n.n + a.n * m.n)
    asks = ("What is y?", "Which value does the formula give?")
    return Outcome(Kind.NUMBER, y, asks, what="the value of the formula")


@FORMULAS.story(steps=3)
def _two_products(t: Tale) -> Outcome:
    c, a, n, b, m = t.c, t.whole(3, 12), t.whole(5, 25), t.whole(3, 12), t.whole(5, 25)
    t.tell(
        f"Points {c.at} are given by the formula P = {a}*s + {b}*r. {t.friend} reached s = {n} and "
        f"r = {m}.",
        f"The formula {a}*s + {b}*r describes the load of a {c.vehicle} that serves {c.place}. "
        f"Substitute {n} for s and {m} for r.",
    )
    first = t.step("The first product is #.", a * n)
    second = t.step("The second product is #.", b * m)
    points = t.step("The formula gives #.", total(first, second))
    t.prove(points, sum((a.n,) * n.n) + sum((b.n,) * m.n))
    asks = ("Which value does the formula give?", "What is the value of the formula?")
    return Outcome(Kind.NUMBER, points, asks, what="the value of the formula")


@FORMULAS.story(steps=2)
def _quotient_formula(t: Tale) -> Outcome:
    c, b, q, m = t.c, t.whole(3, 9), t.rng.randint(6, 30), t.whole(4, 25)
    n = t.given(b.n * q)
    t.tell(
        f"{c.at} the waiting time in minutes is estimated by the formula W = p/{b} + {m}, where p "
        f"is the number of people. Now p = {n}.",
        f"A recipe book {c.at} uses the formula g = k/{b} + {m} for the grams of salt, where k is "
        f"the weight; {t.who} has k = {n}.",
    )
    part = t.step("The quotient is #.", n / b)
    value = t.step("The formula gives #.", part + m)
    t.prove(n, (value.value - m.value) * b.value)
    asks = ("Which value does the formula give?", "What is the value of the formula?")
    return Outcome(Kind.NUMBER, value, asks, what="the value of the formula")


TOPICS = (EQUATIONS, SEQUENCES, FORMULAS)
