"""What can be proved about an example without a model: the verifier.

One rule: only a contradiction fails; what cannot be decided in bounded time stays unknown.
"""

from __future__ import annotations

import time

from tdsys.core.answers import Equality, Symbolic
from tdsys.core.example import Document
from tdsys.core.rubric import Verdict
from tdsys.core.screening import NEEDED, screen, text_of
from tdsys.verify.engine import SymbolicEngine
from tdsys.verify.evidence import (
    answer_check,
    equations_check,
    grounded_check,
    plausible_check,
    steps_check,
)

__all__ = ["EvidenceVerifier", "SymbolicEngine"]

PATIENCE = 10.0  # seconds of algebra for one example


class EvidenceVerifier:
    """Checks examples by structure, step arithmetic and algebra; `close` ends its child."""

    def __init__(self, *, engine: SymbolicEngine | None = None) -> None:
        self._engine = engine or SymbolicEngine()

    def verify(self, domain: str, inputs: Document, outputs: Document) -> Verdict:  # noqa: ARG002
        """Every check of one example, hard evidence first; the same for all domains."""
        problem, solution, answer = (text_of(outputs.get(name)) for name in NEEDED)
        surface = screen(inputs, outputs)
        evidence = (
            steps_check(solution),
            answer_check(solution, answer, self._patiently()),
            equations_check(solution),
            grounded_check(problem, solution),
            plausible_check(problem, solution, answer),
        )
        return Verdict(checks=(*surface[:2], *evidence, *surface[2:]))

    def close(self) -> None:
        """End the symbolic engine's child process."""
        self._engine.close()

    def _patiently(self) -> Symbolic:
        """The engine, until one example has taken its share of time."""
        deadline = time.monotonic() + PATIENCE

        def compare(left: str, right: str) -> Equality:
            if time.monotonic() > deadline:
                return Equality.UNKNOWN
            return self._engine.compare(left, right).equality

        return compare
