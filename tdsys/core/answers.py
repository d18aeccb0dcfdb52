"""What a stated answer is, and whether two of them say the same.

One rule: EQUAL and UNEQUAL are proofs; whatever rounding, a missing unit or an unreadable form
could explain is UNKNOWN. Symbols are left to the engine that the caller hands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

from tdsys.core.arithmetic import NotArithmetic, evaluate
from tdsys.core.example import level
from tdsys.core.remembering import Remembered
from tdsys.core.units import BARE, PERCENT, Unit, sizes, unit

MAX_CHARS = 400
MAX_ITEMS = 12
MAX_NESTING = 3
HALF_DAY = 12 * 3600


class Equality(StrEnum):
    """Whether two answers say the same."""

    EQUAL = "equal"
    UNEQUAL = "unequal"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """What sort of thing an answer is."""

    QUANTITY = "quantity"
    TIME = "time"
    RATIO = "ratio"
    BASED = "based"
    CHOICE = "choice"
    WORD = "word"
    COLLECTION = "collection"
    EXPRESSION = "expression"


class Answer(NamedTuple):
    """An answer as it was read; `places` are written decimals, None where it is exact."""

    kind: Kind
    text: str
    value: Fraction = Fraction(0)
    unit: Unit = BARE
    places: int | None = None
    mark: str = ""
    items: tuple[str, ...] = ()


Symbolic = Callable[[str, str], Equality]

_BOXED = re.compile(r"\\(?:boxed|fbox)\s{0,9}\{")
_FINAL = re.compile(r"^####(.*)$", re.MULTILINE)
_WRAPPERS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\s{0,9}\{([^{}]*)\}")
_SPELLINGS = (
    ("\\$", "$"),
    ("\\%", "%"),
    ("{,}", ","),
    ("^\\circ", "°"),
    ("^{\\circ}", "°"),
    ("\\left", ""),
    ("\\right", ""),
    ("\\!", ""),
    ("\\,", " "),
    ("~", " "),
    ("−", "-"),
    ("–", "-"),
)
_SPOKEN = re.compile(
    r"(?:(?:so|thus|therefore|hence),? )?(?:the |final |my ){0,3}answer"
    r"(?: is|:| =){1,2}:? |\\?[a-z] ?= ?(?=[-+$\\(0-9])",
    re.IGNORECASE,
)
_FRACTION = re.compile(
    r"(?P<whole>(?<![0-9.,])[0-9]{1,9})? ?\\[dt]?frac ?"
    r"(?:\{(?P<a>[0-9]{1,20})\} ?\{(?P<b>[0-9]{1,20})\}"
    r"|(?P<c>[0-9]) ?(?P<d>[0-9]))"
)
_QUANTITY = re.compile(
    r"(?P<sign>[-+]?) ?(?P<currency>[$€£¥₹]?) ?(?P<signed>-?)"
    r"(?:(?P<whole>[0-9]{1,20}) )?(?P<number>[0-9][0-9,]{0,60}(?:\.[0-9]{1,60})?|\.[0-9]{1,60})"
    r"(?: ?/ ?(?P<over>[0-9]{1,40}))?(?P<power>e[-+]?[0-9]{1,2}(?![0-9a-z]))?"
    r"(?P<unit> ?[^\W\d_][^\W_^/]*(?:[-/ .^][^\W_]{1,20}\.?){0,5}[²³]?| ?[%¢°€£$])?"
)
_NOT_UNITS = frozenset({"pi", "sqrt", "sin", "cos", "tan", "log", "ln", "exp", "mod", "and", "or"})
_TIME = re.compile(
    r"(?P<h>[0-9]{1,2})(?:[:.](?P<m>[0-5][0-9]))?(?::(?P<s>[0-5][0-9]))? ?"
    r"(?P<half>[ap])\.?m\.?"
    r"|(?P<h24>[0-9]{1,2}):(?P<m24>[0-5][0-9])(?::(?P<s24>[0-5][0-9]))?"
)
_RATIO = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?: ?([0-9]{1,9}(?:\.[0-9]{1,9})?)")
_BASED = re.compile(r"([0-9a-z]{1,64})_\{?([0-9]{1,2})\}?")
_CHOICE = re.compile(r"\(?([a-h])[).]?|(?:option|choice) \(?([a-h])\)?")
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '’-][^\W\d_]+)*")
_BETWEEN = re.compile(r" ?[,;] ?(?:and |or )?| (?:and|or) ")
_ALGEBRA_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_FUNCTIONS = frozenset({"sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp"})
_OPEN, _CLOSE = "([{", ")]}"

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBER_WORDS = (
    {word: n for n, word in enumerate(_ONES)}
    | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
    | {
        f"{ten}-{one}": 20 + 10 * n + m + 1
        for n, ten in enumerate(_TENS)
        for m, one in enumerate(_ONES[1:10])
    }
    | {"one hundred": 100, "a hundred": 100, "one thousand": 1000}
)
# Two words of one group with different meanings exclude each other; others may be synonyms.
_MEANINGS = (
    {"yes": "yes", "true": "yes", "correct": "yes", "no": "no", "false": "no", "incorrect": "no"},
    {
        day: day
        for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    },
    {
        month: month
        for month in (
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        )
    },
)


def undecided(_left: str, _right: str) -> Equality:
    """The engine of a caller that has none."""
    return Equality.UNKNOWN


def compare(left: str, right: str, symbolic: Symbolic = undecided) -> Equality:
    """Whether two answers say the same; `symbolic` decides what needs algebra."""
    if max(len(left), len(right)) > MAX_CHARS:
        return Equality.EQUAL if level(left) == level(right) != "" else Equality.UNKNOWN
    a, b = read(left), read(right)
    if a.text == b.text:
        return Equality.EQUAL if a.text else Equality.UNKNOWN
    if a.kind is b.kind is Kind.COLLECTION:
        return _collections(a, b, symbolic)
    if a.kind is b.kind and a.kind in _SAME:
        return _SAME[a.kind](a, b)
    if {a.kind, b.kind} <= {Kind.EXPRESSION, Kind.QUANTITY} and _is_algebra(a, b):
        return symbolic(a.text, b.text)
    return Equality.UNKNOWN


def final_answer(text: str) -> str | None:
    """The answer a text marks as final: the last `#### 18` line, else the last box."""
    return marked(text)[0]


def marked(text: str) -> tuple[str | None, str]:
    """The answer a text marks as final, and the working: the text without that `#### 18` line."""
    found = None
    if "####" in text:
        for found in _FINAL.finditer(text):  # noqa: B007  # the last one is wanted
            pass
    if found and (answer := found[1].strip()):
        return answer, (text[: found.start()] + text[found.end() :]).rstrip()
    boxes = list(_BOXED.finditer(text)) if "box" in text else []
    return (_balanced(text, boxes[-1].end()) if boxes else None), text


def read(text: str) -> Answer:
    """What an answer is, freed of its wrapping: dollars, a box, "the answer is", a full stop."""
    return _READ[text]


def _read(text: str) -> Answer:
    plain = _unwrapped(text)
    low = plain.casefold()
    for reader in (_time, _based, _quantity, _collection, _ratio, _choice, _word):
        if answer := reader(low):
            return answer
    return Answer(Kind.EXPRESSION, plain)


_READ = Remembered(_read)


def _unwrapped(text: str) -> str:
    plain = text
    for old, new in _SPELLINGS:
        plain = plain.replace(old, new)
    plain = " ".join(_WRAPPERS.sub(r"\1", plain).split())
    for _ in range(3):
        plain = _peeled(
            _SPOKEN.sub("", plain.strip(), count=1)
            if _SPOKEN.match(plain.strip())
            else plain.strip()
        )
    return plain


def _peeled(text: str) -> str:
    """One layer of wrapping less."""
    if box := _BOXED.match(text):
        return _balanced(text, box.end()) or text
    for opening, closing in (("**", "**"), ("\\(", "\\)"), ("\\[", "\\]"), ("$", "$")):
        inner = text[len(opening) : -len(closing)]
        if text == f"{opening}{inner}{closing}" and inner.strip() and opening not in inner:
            return inner.strip()
    return text.removesuffix(".") if not text.endswith("..") else text


def _balanced(text: str, start: int) -> str | None:
    """From after an opening brace to the brace that closes it."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return text[start:position].strip()
    return None


def _quantity(low: str) -> Answer | None:
    """A number with or without a unit, in any of its spellings."""
    if low in _NUMBER_WORDS:
        return Answer(Kind.QUANTITY, low, Fraction(_NUMBER_WORDS[low]))
    written = _FRACTION.sub(_flat_fraction, low)
    found = _QUANTITY.fullmatch(written)
    if found is None:
        return _computed(low, written)
    named = (found["unit"] or "").strip()
    if not _is_unit(named) or (named and found["currency"]):
        return None
    value = _number(found)
    if value is None:
        return None
    places = len(found["number"].partition(".")[2])
    exact = bool(found["over"] or found["power"])
    return Answer(
        Kind.QUANTITY, low, value, unit(named or found["currency"]), None if exact else places
    )


def _number(found: re.Match[str]) -> Fraction | None:
    if found["whole"] and not found["over"]:
        return None
    try:
        value = evaluate(found["number"]) / evaluate(found["over"] or "1")
    except (NotArithmetic, ZeroDivisionError):
        return None
    value += int(found["whole"] or 0)
    value *= Fraction(10) ** int((found["power"] or "e0")[1:])
    return -value if "-" in (found["sign"], found["signed"]) else value


def _flat_fraction(found: re.Match[str]) -> str:
    whole = f"{found['whole']} " if found["whole"] else ""
    return f"{whole}{found['a'] or found['c']}/{found['b'] or found['d']}"


def _computed(low: str, written: str) -> Answer | None:
    """`7 × 10^5` is a number too."""
    try:
        return Answer(Kind.QUANTITY, low, evaluate(written))
    except NotArithmetic:
        return None


def _is_unit(named: str) -> bool:
    """A known unit, or a word long enough not to be a variable."""
    first = re.split(r"[ -/^]", named, maxsplit=1)[0]
    known = unit(named).size > 0 or unit(first).size > 0
    return known or (len(first) > len("xy") and first not in _NOT_UNITS)


def _time(low: str) -> Answer | None:
    found = _TIME.fullmatch(low)
    if found is None:
        return None
    hours = int(found["h"] or found["h24"])
    rest = 60 * int(found["m"] or found["m24"] or 0) + int(found["s"] or found["s24"] or 0)
    if found["half"]:
        hours = hours % 12 + (12 if found["half"] == "p" else 0)
    return Answer(Kind.TIME, low, Fraction(3600 * hours + rest), mark=found["half"] or "")


def _based(low: str) -> Answer | None:
    found = _BASED.fullmatch(low)
    try:
        value = int(found[1], int(found[2])) if found and found[2] != "0" else None
    except ValueError:
        return None
    return None if value is None else Answer(Kind.BASED, low, Fraction(value))


def _ratio(low: str) -> Answer | None:
    found = _RATIO.fullmatch(low)
    if found is None or not Fraction(found[2]):
        return None
    return Answer(Kind.RATIO, low, Fraction(found[1]) / Fraction(found[2]))


def _choice(low: str) -> Answer | None:
    found = _CHOICE.fullmatch(low)
    return Answer(Kind.CHOICE, found[1] or found[2]) if found else None


def _word(low: str) -> Answer | None:
    return Answer(Kind.WORD, level(low)) if _WORDS.fullmatch(low) else None


def _collection(low: str) -> Answer | None:
    text = low.replace("\\{", "{").replace("\\}", "}")
    bracketed = text[:1] in _OPEN and text[-1:] in _CLOSE and _closes_at_end(text)
    inner = text[1:-1].strip() if bracketed else text
    items = _items(inner)
    mark = text[0] + text[-1] if bracketed else ""
    several = len(items) > 1 or mark == "{}"
    if not several or not all(items) or _depth(text) > MAX_NESTING:
        return None
    return Answer(Kind.COLLECTION, low, mark=mark, items=items)


def _closes_at_end(text: str) -> bool:
    depth = 0
    for position, sign in enumerate(text):
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if not depth:
            return position == len(text) - 1
    return False


def _depth(text: str) -> int:
    depths = accumulate((sign in _OPEN) - (sign in _CLOSE) for sign in text)
    return max(depths, default=0)


def _items(inner: str) -> tuple[str, ...]:
    """Split at commas, semicolons, `and`, `or` outside brackets."""
    pieces, start, depth, position = [], 0, 0, 0
    while position < len(inner):
        depth += (inner[position] in _OPEN) - (inner[position] in _CLOSE)
        found = None if depth else _BETWEEN.match(inner, position)
        if found:
            pieces.append(inner[start:position].strip())
            start = position = found.end()
        else:
            position += 1
    return (*pieces, inner[start:].strip())


def _collections(a: Answer, b: Answer, symbolic: Symbolic) -> Equality:
    if max(len(a.items), len(b.items)) > MAX_ITEMS:
        return Equality.UNKNOWN
    if "{}" in (a.mark, b.mark):
        return _in_any_order(a.items, b.items, symbolic)
    if a.mark == b.mark != "":
        return _in_order(a.items, b.items, symbolic)
    if a.mark and b.mark:  # `(1,2)` is a pair, a point or an open interval: nobody can tell
        both_half_open = {a.mark, b.mark} == {"[)", "(]"}
        return Equality.UNEQUAL if both_half_open else Equality.UNKNOWN
    if _in_order(a.items, b.items, symbolic) is Equality.EQUAL:
        return Equality.EQUAL
    loose = _in_any_order(a.items, b.items, symbolic)
    return Equality.UNKNOWN if loose is Equality.EQUAL else loose


def _in_order(left: Sequence[str], right: Sequence[str], symbolic: Symbolic) -> Equality:
    if len(left) != len(right):
        return Equality.UNEQUAL
    return _all_of([compare(a, b, symbolic) for a, b in zip(left, right, strict=True)])


def _in_any_order(left: Sequence[str], right: Sequence[str], symbolic: Symbolic) -> Equality:
    mine, theirs = list(dict.fromkeys(left)), list(dict.fromkeys(right))
    table = [[compare(a, b, symbolic) for b in theirs] for a in mine]
    lines = [*table, *(list(column) for column in zip(*table, strict=True))]
    return _all_of([_any_of(line) for line in lines])


def _all_of(parts: Sequence[Equality]) -> Equality:
    if Equality.UNEQUAL in parts:
        return Equality.UNEQUAL
    return Equality.UNKNOWN if Equality.UNKNOWN in parts else Equality.EQUAL


def _any_of(parts: Sequence[Equality]) -> Equality:
    if Equality.EQUAL in parts:
        return Equality.EQUAL
    return Equality.UNKNOWN if Equality.UNKNOWN in parts else Equality.UNEQUAL


def _quantities(a: Answer, b: Answer) -> Equality:
    if a.unit == b.unit:
        return _values(a.value, b.value, a.places, b.places)
    if a.unit.measures == b.unit.measures:
        return _values(a.value * a.unit.size, b.value * b.unit.size, None, None)
    if BARE in {a.unit, b.unit}:
        measured, bare = (a, b) if b.unit == BARE else (b, a)
        return _with_bare(measured, bare)
    return Equality.UNEQUAL if a.unit.size and b.unit.size else Equality.UNKNOWN


def _with_bare(measured: Answer, bare: Answer) -> Equality:
    """A bare number agrees with a measured one, unless another unit could have been meant."""
    if measured.unit == PERCENT:
        if measured.value == bare.value:
            return Equality.UNKNOWN
        return _values(measured.value / 100, bare.value, None, bare.places)
    worth = measured.value * measured.unit.size
    if (
        worth
        and measured.value != bare.value
        and any(worth == bare.value * size for size in sizes(measured.unit.measures))
    ):
        return Equality.UNKNOWN
    return _values(measured.value, bare.value, measured.places, bare.places)


def _values(a: Fraction, b: Fraction, a_places: int | None, b_places: int | None) -> Equality:
    if a == b:
        return Equality.EQUAL
    whole = 0 in (a_places, b_places) and None in (a_places, b_places)  # 1 is no rounding of 7/9
    rounded = not whole and (_rounds_to(a, b, b_places) or _rounds_to(b, a, a_places))
    return Equality.UNKNOWN if rounded else Equality.UNEQUAL


def _rounds_to(exact: Fraction, written: Fraction, places: int | None) -> bool:
    if places is None:
        return False
    unit_place = Fraction(1, 10**places)
    finer = (exact / unit_place).denominator != 1
    return finer and 2 * abs(exact - written) <= unit_place


def _times(a: Answer, b: Answer) -> Equality:
    if a.value == b.value:
        return Equality.EQUAL
    if (a.value - b.value) % HALF_DAY or (a.mark and b.mark):
        return Equality.UNEQUAL
    return Equality.EQUAL if a.mark or b.mark else Equality.UNKNOWN


def _exact(a: Answer, b: Answer) -> Equality:
    return Equality.EQUAL if (a.value, a.text) == (b.value, b.text) else Equality.UNEQUAL


def _same_value(a: Answer, b: Answer) -> Equality:
    return Equality.EQUAL if a.value == b.value else Equality.UNEQUAL


def _words(a: Answer, b: Answer) -> Equality:
    for group in _MEANINGS:
        if a.text in group and b.text in group:
            same = group[a.text] == group[b.text]
            return Equality.EQUAL if same else Equality.UNEQUAL
    return Equality.EQUAL if a.text == b.text else Equality.UNKNOWN


def _is_algebra(*answers: Answer) -> bool:
    """Whether algebra decides it: no prose, an equation only against an equation.

    No subscripts or factorials: math-verify ignores bases and rounds to six places.
    """
    texts = [answer.text for answer in answers]
    prose = any(word not in _FUNCTIONS for text in texts for word in _ALGEBRA_WORD.findall(text))
    equations = {"=" in text for text in texts}
    return not prose and len(equations) == 1 and not any(c in t for t in texts for c in "!_")


_SAME: dict[Kind, Callable[[Answer, Answer], Equality]] = {
    Kind.QUANTITY: _quantities,
    Kind.TIME: _times,
    Kind.RATIO: _same_value,
    Kind.BASED: _same_value,
    Kind.CHOICE: _exact,
    Kind.WORD: _words,
}
