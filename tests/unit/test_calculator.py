"""Calculations: what is worked out, and how everything else ends."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsys.core.calculating import Calculated, bare, check
from tdsys.core.rubric import Outcome
from tdsys.llm.prompting import named
from tdsys.verify.calculator import FUNCTIONS, worked_out

HUGE = "big = (2**1000)**4\n"
FOR_EVER = "for i in range(10**9):\n    "


def answer(text: str) -> str:
    return str(worked_out(text).get("answer"))


def refused(text: str) -> str:
    return str(worked_out(text).get("refused"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("answer = 3 * 12 + 4", "40"),
        ("answer = 0.1 + 0.2", "3/10"),
        ("answer = 7 // 2 + 7 % 4 - -2**3", "14"),
        ("answer = 1_0.5 + 1e3 + 1. + .5 + 0x10", "1028"),
        ("a, b = 3, 4\nanswer = sqrt(a*a + b*b)", "5"),
        ("answer = (9/4)**0.5", "3/2"),
        ("x = 1\nx += 2\nx *= 5\nanswer = x", "15"),
        (("answer = 0\nfor day in range(1, 8):\n    if day % 2 == 0:\n        continue\n"
         "    answer += day"), "16"),
        (("n = 100\nanswer = 0\nwhile n > 1:\n    n /= 3\n    answer += 1\n    "
         "if answer > 50:\n        break\nelse:\n    answer += 10"), "15"),
        (("for n in range(90, 200):\n    for d in range(2, n):\n        if n % d == 0:\n"
         "            break\n    else:\n        answer = n\n        break"), "97"),
        ("answer = max([3, 8, 5]) - min(4, 2) + sum([1, 2]) + len([7]) + sorted([9, 6])[0]", "16"),
        ("answer = gcd(12, 18) + lcm(4, 6) + factorial(4) + comb(5, 2) + perm(4, 2)", "64"),
        ("answer = round(2.675, 2) + floor(2.7) + ceil(2.1) + int(-2.5) + abs(-1)", "167/25"),
        ("answer = 1 if 2 < 3 <= 3 and not (1 == 2 or False) else 0", "1"),
        ("# a remark: \u00e9\nanswer = 2 # \u20ac\n", "2"),
        ("answer = Fraction(3, 4) + Fraction(1)", "7/4"),
    ],
)  # fmt: skip
def test_a_calculation_is_exact(text: str, expected: str) -> None:
    assert answer(text) == expected


HOSTILE = {
    "answer = 10**10**10": "the exponent is not a whole number up to 1000",
    "x = 9\nwhile True:\n    x = x * x": "a number has more than 4096 bits",
    "x = 7**999\nanswer = x**999": "a power has more than 4096 bits",
    "while True:\n    pass": "it takes more than 20000 operations",
    FOR_EVER + "answer = 1": "it takes more than 20000 operations",
    "s = 0\nfor i in range(1, 10**9):\n    s += 1 / i": "it takes more than 20000 operations",
    HUGE + FOR_EVER + "x = (1 / (big - 1)) % 1": "it takes more than 20000 operations",
    HUGE + FOR_EVER + "x = gcd(big - 1, big - 3)": "it takes more than 20000 operations",
    FOR_EVER + "x = factorial(300)": "it takes more than 20000 operations",
    f"{HUGE}answer = lcm({', '.join(f'big + {n}' for n in range(99))})": "20000 operations",
    f"{HUGE}answer = sum([{', '.join(f'1 / (big + {n})' for n in range(99))}])": "operations",
    f"answer = {'(' * 1500}1{')' * 1500}": "too many nested parentheses",
    f"answer = {'-' * 3900}1": "nested deeper than 40 levels",
    f"answer = {'1+' * 1900}1": "nested deeper than 40 levels",
    f"answer = {'[' * 190}1{']' * 190}": "nested deeper than 40 levels",
    "x = 1\n" * 900: "more than 2000 parts",
    "\n".join(f"a{n} = 1" for n in range(60)): "line 51: more than 50 names",
    f"answer = {'9' * 3900}": "line 1: the number is too long",
    "answer = 1e999999999": "line 1: the number is too long",
    "answer = factorial(10**9)": "line 1: no factorial above 300",
    "answer = comb(10**9, 5 * 10**8)": "line 1: no choice of more than 300",
    "answer = round(1/3, 10**9)": "line 1: no rounding to more than 30 places",
    "answer = [1] * 10**9": "line 1: a number is wanted here",
    "answer = 'a' * 10**9": "line 1: only numbers are known, no text",
    "answer = f'{1}'": "line 1: text is not part of a calculation",
    "answer = 1 << 10**9": "line 1: LShift is not part of a calculation",
    "answer = ().__class__.__bases__[0].__subclasses__()": "line 1: an attribute is not part",
    "answer = (1).__class__": "line 1: an attribute is not part of a calculation",
    "__builtins__ = 1": "line 1: a name may not begin with _",
    "answer = __import__('os')": "line 1: the function __import__ is not known",
    "answer = eval('1')": "line 1: the function eval is not known",
    "answer = open('/etc/passwd')": "line 1: the function open is not known",
    "import os": "line 1: an import is not part of a calculation",
    "from math import gcd": "line 1: an import is not part of a calculation",
    "answer = sum([1 for a in range(9**9) for b in range(9**9)])": "line 1: a comprehension is not",
    "answer = sum(1 for a in range(9**9))": "line 1: a comprehension is not part",
    "f = lambda: f()": "line 1: a lambda is not part of a calculation",
    "def f():\n    return f()": "line 1: a function of one's own is not part of a calculation",
    "answer = (x := 3)": "line 1: an assignment in brackets is not part of a calculation",
    "answer = max(*[1, 2])": "line 1: a star is not part of a calculation",
    "answer = round(2, ndigits=1)": "line 1: round takes plain values only",
    "answer = x": "line 1: x is not known",
    "answer = sqrt(2)": "line 1: the root is no fraction",
    "answer = 1 / (2 - 2)": "line 1: division by zero",
    "answer = 0**-1": "line 1: division by zero",
    "answer = gcd(1/2, 2)": "line 1: a whole number is wanted",
    "answer = abs([1])": "line 1: abs cannot be taken of these values",
    "answer = [1, 2][5]": "line 1: there is no item 5 in a list of 2",
    "answer = = 3": "line 1 cannot be read",
    "answer = 1\0": "cannot be read",
    "answer = '\ud800'": "it cannot be worked out",
    "answer = 3**999": "the answer has more than 60 digits",
    "answer = 2 > 1": "no number is given the name answer",
    "x = 3": "no number is given the name answer",
}


@pytest.mark.criterion("10.1")
@pytest.mark.parametrize("text", HOSTILE, ids=[*map(str, range(len(HOSTILE)))])
def test_whatever_else_is_written_ends_soon_with_a_reason(text: str) -> None:
    began = time.process_time()
    assert HOSTILE[text] in refused(text)
    assert time.process_time() - began < 1


PIECES = st.sampled_from(
    ["answer", "x", "=", "+", "**", "9", "1/3", "(", ")", "[", "]", "if", "for", "in", "range",
     "while", ":", "\n", "\n    ", "True", "not", "sqrt", "sum", ",", "%", "//", "<", "break"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(PIECES, max_size=30))
def test_any_text_is_a_number_or_a_reason(pieces: list[str]) -> None:
    found = worked_out(" ".join(pieces))
    assert ("answer" in found) != bool(found.get("refused"))


def test_the_prompt_names_the_functions_that_there_are() -> None:
    told = named("code-first").prompt.replace(",", " ").replace(".", " ").split()
    assert set(FUNCTIONS) - {"Fraction"} <= set(told)


def test_a_fence_around_a_calculation_is_taken_off() -> None:
    assert bare("```python\nanswer = 1\n```") == "answer = 1"
    assert bare(" answer = 1 ") == "answer = 1"


def test_a_calculation_is_compared_with_what_was_stated() -> None:
    found = Calculated(Fraction(36), {"buns": Fraction(36)})
    assert check(found, "36 buns").outcome is Outcome.PASSED
    assert check(found, "about a dozen").outcome is Outcome.PASSED
    assert check(found, "35").outcome is Outcome.FAILED
    assert check(Calculated(None, {}, "why"), "35").evidence == "why"
