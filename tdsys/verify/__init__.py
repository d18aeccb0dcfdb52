"""What can be proved about an example without a model: the verifier.

One rule: only a contradiction fails; what cannot be decided in bounded time stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

from tdsys.core.answers import Equality
from tdsys.core.example import Document
from tdsys.core.rubric import Verdict
from tdsys.core.screening import NEEDED, screen, text_of
from tdsys.verify.engine import SymbolicEngine
from tdsys.verify.evidence import answer_check, equations_check, grounded_check, steps_check

__all__ = ["EvidenceVerifier", "SymbolicEngine"]


class EvidenceVerifier:
    """Checks examples by structure, step arithmetic and algebra; `close` ends its child."""

    def __init__(self, *, needed: Sequence[str] = NEEDED,
                 engine: SymbolicEngine | None = None) -> None:
        self._needed = tuple(needed)
        self._engine = engine or SymbolicEngine()

    def verify(self, domain: str, inputs: Document, outputs: Document) -> Verdict:  # noqa: ARG002
        """Every check of one example, hard evidence first; the same for all domains."""
        problem, solution, answer = (text_of(outputs.get(name)) for name in NEEDED)
        surface = screen(inputs, outputs, needed=self._needed)
        evidence = (
            steps_check(solution),
            answer_check(solution, answer, self._compare),
            equations_check(solution),
            grounded_check(problem, solution),
        )
        return Verdict(checks=(*surface[:2], *evidence, *surface[2:]))

    def close(self) -> None:
        """End the symbolic engine's child process."""
        self._engine.close()

    def _compare(self, left: str, right: str) -> Equality:
        return self._engine.compare(left, right).equality
