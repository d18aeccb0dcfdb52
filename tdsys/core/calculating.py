"""A calculation: the few lines of program by which a model says how its answer comes about.

One rule: a calculation is data. Whoever works it out reads it with a reader of their own, in a
place that can be killed; what it comes to is a number, or a reason why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple, Protocol

from tdsys.core.answers import Equality, compare
from tdsys.core.arithmetic import format_number
from tdsys.core.rubric import Check, Outcome

NAME = "calculation"
SHOWN = 300
_FENCED = re.compile(r"```[a-z]*\n(.*?)\n?```", re.DOTALL)


class Calculated(NamedTuple):
    """The number in `answer` and the last number of every name; or why it was `refused`."""

    value: Fraction | None
    names: Mapping[str, Fraction]
    refused: str = ""


class Calculator(Protocol):
    """Works calculations out."""

    def calculate(self, text: str) -> Calculated:
        """What it comes to; it never raises and never takes longer than seconds."""
        ...


def bare(text: str) -> str:
    """A calculation without the fence that models put around programs."""
    fenced = _FENCED.fullmatch(text.strip())
    return fenced[1] if fenced else text.strip()


def check(found: Calculated, stated: str) -> Check:
    """Whether a calculation could be worked out, and comes to what the model stated itself."""
    if found.value is None:
        return Check(name=NAME, outcome=Outcome.FAILED, evidence=found.refused[:SHOWN])
    value = format_number(found.value)
    if compare(stated, value) is Equality.UNEQUAL:
        told = f"it comes to {value[:60]}, the stated answer is {stated.strip()[:60]}"
        return Check(name=NAME, outcome=Outcome.FAILED, evidence=told)
    steps = ", ".join(f"{name} = {format_number(one)}" for name, one in found.names.items())
    return Check(name=NAME, outcome=Outcome.PASSED, evidence=f"worked out: {steps}"[:SHOWN])
