"""How the program that is served fares, by what runs and attributions measured; reads only."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from pydantic import JsonValue

from tdsys.core.attribution import Contribution, Effect
from tdsys.core.comparison import Comparison
from tdsys.core.regressing import BEFORE_IT, ITSELF, Regression, regression
from tdsys.store import activations, attributions, programs, runs
from tdsys.store.effect_schema import AttributionState
from tdsys.store.engine import Tx
from tdsys.store.programs import StoredProgram

LOOKED_AT = 20


def regressed(tx: Tx, *, domain: str) -> Regression | None:
    """What was measured of the active program last, against the one before or itself; or None."""
    live = programs.incumbent(tx, domain=domain)
    if live is None:
        return None
    found = [one for one in (_against_former(tx, live), _against_itself(tx, live)) if one]
    return next((one for one in found if one.is_certain), found[-1] if found else None)


def harmful(tx: Tx, *, domain: str) -> list[Contribution]:
    """Examples shown in the active program's prompt that do harm, by a fresh attribution.

    Only whole examples: a bootstrapped demo has an example's inputs, but outputs of a program.
    None of an installed program: attribution tries one plain prompt, and its demos are elsewhere.
    """
    live = programs.incumbent(tx, domain=domain)
    shown = _shown(live) if live and not live.envelope.get("program") else set()
    fresh = next(
        (
            one
            for one in attributions.listed(tx, domain=domain, limit=LOOKED_AT)
            if one.state is AttributionState.FINISHED
        ),
        None,
    )
    if not shown or fresh is None or fresh.stale:
        return []
    return [
        one
        for one in attributions.contributions(tx, id=fresh.id)
        if one.verdict is Effect.HARMFUL and one.example in shown
    ]


def _against_former(tx: Tx, live: StoredProgram) -> Regression | None:
    """By the run of either that compared it with the other."""
    put = activations.listed(tx, domain=live.domain)
    former = next((one.program_id for one in put if one.program_id != live.id), None)
    before = None if former is None else programs.program(tx, program_id=former)
    if before is None:
        return None
    if _rival(_outcome(tx, live.run_id)) == before.id:
        return regression(BEFORE_IT, live.comparison)
    if _rival(_outcome(tx, before.run_id)) == live.id:
        return regression(BEFORE_IT, before.comparison, turned=True)
    return None


def _against_itself(tx: Tx, live: StoredProgram) -> Regression | None:
    """By the newest run that measured it again."""
    for run in runs.runs(tx, domain=live.domain, limit=LOOKED_AT):
        if run.outcome and _rival(run.outcome) == live.id:
            since = run.outcome.get("since")
            return regression(ITSELF, Comparison.model_validate(since)) if since else None
    return None


def _outcome(tx: Tx, run_id: UUID) -> Mapping[str, JsonValue]:
    found = runs.run(tx, run_id=run_id)
    return (found and found.outcome) or {}


def _rival(outcome: Mapping[str, JsonValue]) -> JsonValue:
    return outcome.get("rival")


def _shown(program: StoredProgram) -> set[str]:
    demos = program.envelope.get("demos")
    return {
        str(demo["uid"])
        for demo in (demos if isinstance(demos, list) else [])
        if isinstance(demo, dict) and demo.get("uid") and demo.get("role") == "labeled"
    }
