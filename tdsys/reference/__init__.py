"""A generator of mathematics problems that is unreliable on purpose.

It stands for the customer's generator in the demo and the tests: parametrised stories, every
answer proved by a second computation, and labelled faults at a chosen rate.
The one rule: everything is a function of (seed, domain, topic, difficulty, index).
"""

from __future__ import annotations

from tdsys.reference.faults import HARD_FAULTS, SOFT_FAULTS, Fault
from tdsys.reference.generator import DOMAINS, ReferenceGenerator
from tdsys.reference.problem import DIFFICULTIES, STEPS, Disagreement, Inputs, Outputs, Problem

__all__ = [
    "DIFFICULTIES",
    "DOMAINS",
    "HARD_FAULTS",
    "SOFT_FAULTS",
    "STEPS",
    "Disagreement",
    "Fault",
    "Inputs",
    "Outputs",
    "Problem",
    "ReferenceGenerator",
]
