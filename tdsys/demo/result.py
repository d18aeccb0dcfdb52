"""What a demo found, as data: the same numbers for people and for machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core.lifecycle import State
from tdsys.reference import HARD_FAULTS
from tdsys.stages.monitoring import Catch, Funnel, catches
from tdsys.store.examples import CellCount, Labelled


class DomainResult(BaseModel):
    """One domain's version, its program's test score before and after, and where that lies."""

    model_config = ConfigDict(frozen=True)

    name: str
    train: int = 0
    val: int = 0
    test: int = 0
    before: float | None = None
    after: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    active: bool = False
    program: str | None = None
    dataset: str | None = None
    why: str = ""


class Heat(NamedTuple):
    """Admitted examples of one domain by topic and difficulty."""

    domain: str
    cells: list[CellCount]


class Result(BaseModel):
    """Everything the demo reports; `faults_*` count the hard kinds, `soft_faults_*` the others.

    `caught` means not admitted. The interval `ci_*` is that of the score after. `simulated` says
    that the offline model played a part: program, judge or both, in `simulated_roles`.
    """

    model_config = ConfigDict(frozen=True)

    captured: int
    imported: int
    admitted: int
    rejected: int
    in_review: int
    parked: int
    faults_injected: int
    faults_caught: int
    soft_faults_injected: int
    soft_faults_caught: int
    clean: int
    clean_rejected: int
    clean_in_review: int
    faults: dict[str, dict[str, int]]
    reasons: dict[str, int]
    domains: list[DomainResult]
    simulated: bool
    simulated_roles: tuple[str, ...]
    model: str
    judge: str
    stages: dict[str, float]
    seconds: float

    def document(self) -> dict[str, JsonValue]:
        """The result as JSON."""
        return self.model_dump(mode="json")


def summary(
    funnel: Funnel,
    domains: Iterable[DomainResult],
    *,
    stages: dict[str, float],
    simulated: tuple[str, ...],
    model: str,
    judge: str,
    seconds: float,
) -> Result:
    """Put the counts of the store and the domains' results together."""
    caught = catches(funnel.labelled)
    hard = [c for c in caught if c.kind in HARD_FAULTS]
    soft = [c for c in caught if c.kind not in HARD_FAULTS]
    states = funnel.states
    return Result(
        captured=funnel.captured,
        imported=funnel.imported,
        admitted=states.get(State.ADMITTED, 0),
        rejected=states.get(State.REJECTED, 0),
        in_review=states.get(State.IN_REVIEW, 0),
        parked=states.get(State.PARKED, 0),
        faults_injected=_sum(hard, "injected"),
        faults_caught=_sum(hard, "caught"),
        soft_faults_injected=_sum(soft, "injected"),
        soft_faults_caught=_sum(soft, "caught"),
        clean=_clean(funnel.labelled),
        clean_rejected=_clean(funnel.labelled, State.REJECTED),
        clean_in_review=_clean(funnel.labelled, State.IN_REVIEW),
        faults={c.kind: {"injected": c.injected, "caught": c.caught} for c in caught},
        reasons=_reasons(funnel),
        domains=list(domains),
        simulated=bool(simulated),
        simulated_roles=simulated,
        model=model,
        judge=judge,
        stages=stages,
        seconds=seconds,
    )


def _sum(caught: list[Catch], field: str) -> int:
    return sum(getattr(c, field) for c in caught)


def _clean(labelled: list[Labelled], state: State | None = None) -> int:
    return sum(
        row.n
        for row in labelled
        if row.fault is None and state in {None, row.state} and row.state != "duplicate"
    )


def _reasons(funnel: Funnel) -> dict[str, int]:
    found: dict[str, int] = {"duplicate": funnel.duplicates} if funnel.duplicates else {}
    for row in funnel.reasons:
        if row.state != State.ADMITTED:
            reason = row.reason or "undecided"
            found[reason] = found.get(reason, 0) + row.n
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
