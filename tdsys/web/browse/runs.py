"""Optimization runs: their trials, what they compare to, their demos; and their programs."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any

from tdsys.core.budget import evaluations
from tdsys.core.following import Progress
from tdsys.core.people import Right
from tdsys.core.program import Trial
from tdsys.stages import activating, archive
from tdsys.stages.activating import Told
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run
from tdsys.store.schema import RunState
from tdsys.web.browse.address import before, number
from tdsys.web.charts import Dot, Reach, dots, reaches, trend
from tdsys.web.pages import Action, Done, Download, File, Page
from tdsys.web.visit import Visit

LISTED = 50
OFFLINE = "offline"
OPEN = (RunState.DUE, RunState.RUNNING)


def listed(visit: Visit) -> dict[str, Any]:
    """The newest runs."""
    found = archive.listed_runs(
        visit.store, domains=visit.domains, limit=LISTED + 1, before=before(visit)
    )
    shown_ = found[:LISTED]
    older = f"/runs?before={shown_[-1].created_at.timestamp()!r}" if len(found) > LISTED else None
    return {"runs": [_told(one) for one in shown_], "older": older}


def shown(visit: Visit) -> dict[str, Any]:
    """One run."""
    found = archive.run(visit.store, run_id=visit.path["id"], domains=visit.domains)
    told = activating.history(visit.store, domain=found.run.domain, domains=visit.domains)
    return {
        "run": _told(found.run),
        "version": {"id": found.version.id, "name": found.version.name},
        "trials": [_trial(one) for one in found.trials],
        "chart": str(_chart(found.trials)) if found.trials else None,
        "program": found.program and _program(found.program),
        **_over_time(told, found.run),
        "may_cancel": _told(found.run)["is_open"]
        and visit.person.may(Right.OPERATE, domain=found.run.domain),
    }


def _told(one: Run) -> dict[str, Any]:
    planned = evaluations(one.plan)
    known = Progress.read(one.progress)
    return {
        **one.model_dump(mode="json", exclude={"due_at", "outcome"}),
        "is_open": one.state in OPEN,
        "planned": planned,
        "done": known.trials,
        "known": known.model_dump(mode="json"),
        "calls_at_most": one.plan.calls_at_most,
        "simulated": one.model == OFFLINE,
    }


def _trial(one: Trial) -> dict[str, Any]:
    told: dict[str, Any] = one.model_dump(mode="json", exclude={"items"})
    failed = sum(item.value is None for item in one.items)
    return {**told, "items": len(one.items), "failed": failed}


def _chart(trials: list[Trial]) -> object:
    last = max(one.number for one in trials) or 1
    points = [
        Dot(one.number / last, one.score, one.kind,
            f"trial {one.number}, {one.kind}: {one.score:.3f}")
        for one in trials
    ]  # fmt: skip
    full = [one for one in trials if one.kind == "full"]
    told = f"Scores of {len(trials)} trials from 0 to 1"
    if not full:
        return dots(points, title=f"{told}, none on all of val")
    tops = accumulate((one.score for one in full), max)
    best = [(one.number / last, top) for one, top in zip(full, tops, strict=True)]
    return dots(points, title=f"{told}, the best on all of val {best[-1][1]:.3f}", best=best)


def _program(one: StoredProgram) -> dict[str, Any]:
    found = one.comparison
    chart = reaches(
        [Reach("the new program", found.after_low, found.after, found.after_high)],
        title=f"On the test split: before {found.before:.3f}, after {found.after:.3f}",
    )
    demos = one.envelope.get("demos")
    return {
        "id": one.id,
        "active": one.active,
        "stale": one.stale,
        "simulated": one.envelope.get("simulated"),
        "as_measured": not one.lost,
        "comparison": found.model_dump(mode="json"),
        "chart": str(chart),
        "demos": demos if isinstance(demos, list) else [],
    }


def _over_time(told: list[Told], run: Run) -> dict[str, Any]:
    """Why this run began, and how the programs of all runs did."""
    made = [(one, one.program) for one in reversed(told) if one.program]
    values = [Reach(f"{one.run.created_at:%Y-%m-%d}", *_on_test(program)) for one, program in made]
    title = f"Scores on the test split of {len(made)} programs, from the first to the newest"
    return {
        "because": next((one.because for one in told if one.run.id == run.id), ()),
        "trend": str(trend(values, title=title)) if values else None,
        "slices": next((_slices(one) for one in told if one.run.id == run.id), []),
        "history": [
            {
                "run": str(one.run.id),
                "created_at": one.run.created_at.isoformat(),
                "version": one.version.number,
                "active": program.active,
                "calls": program.envelope.get("calls"),
                "simulated": program.envelope.get("simulated"),
                "as_measured": not program.lost,
                "comparison": program.comparison.model_dump(mode="json"),
                "activations": [said.model_dump(mode="json") for said in one.activations],
            }
            for one, program in reversed(made)
        ],
    }


def _slices(one: Told) -> list[dict[str, Any]]:
    """How both programs did on the test split, by topic and difficulty."""
    return [each._asdict() for each in one.slices]


def _on_test(program: StoredProgram) -> tuple[float, float, float]:
    found = program.comparison
    return found.after_low, found.after, found.after_high


def cancel(visit: Visit) -> Done:
    """Ask a run to stop."""
    run_id = visit.path["id"]
    archive.cancel(visit.store, run_id=run_id, domains=visit.domains)
    return Done(f"/runs/{run_id}", "The run is asked to stop; its trials stay.")


def program(visit: Visit) -> File:
    """A program as JSON that plain dspy loads."""
    one = archive.program(visit.store, program_id=number(visit, "program"), domains=visit.domains)
    return _document(f"program-{one.id}.json", one.state)


def envelope(visit: Visit) -> File:
    """Where a program came from."""
    one = archive.program(visit.store, program_id=number(visit, "program"), domains=visit.domains)
    return _document(f"program-{one.id}.envelope.json", one.envelope)


def _document(name: str, value: object) -> File:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    return File(name, "application/json", [text.encode()])


ONE = Page("/runs/{id:uuid}", Right.LOOK, shown, "browse/run.html")
ROUTES = (
    Page("/runs", Right.LOOK, listed, "browse/runs.html"),
    ONE,
    Action("/runs/{id:uuid}/cancel", Right.OPERATE, cancel, again=ONE),
    Download("/programs/{id:int}/download", Right.LOOK, program),
    Download("/programs/{id:int}/envelope", Right.LOOK, envelope),
)
