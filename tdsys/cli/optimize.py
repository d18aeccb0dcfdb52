"""`tdsys optimize`: see runs, stop one, ask for another."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, of_domain, person
from tdsys.cli.late import LateGroup
from tdsys.cli.printing import say, show_table
from tdsys.core.budget import evaluations
from tdsys.core.trigger import Ruling
from tdsys.errors import NotReady
from tdsys.stages import planning
from tdsys.stages.planning import DomainStatus
from tdsys.wire import Task

ELSEWHERE = {
    "activate": "activation.activate",
    "rollback": "activation.rollback",
    "history": "activation.history",
    "watch": "watching.watch",
    "extensions": "watching.extensions",
}


@click.group(cls=LateGroup, late=ELSEWHERE)
def optimize() -> None:
    """Optimization runs."""


@optimize.command()
@of_domain
@as_json
def status(domain: str | None, *, as_json: bool) -> None:
    """Show each domain: its runs, or why there is none yet."""
    here = runtime.current()
    found = planning.status(here.store, domain=domain, clock=here.now)
    if as_json:
        say(json.dumps([_document(one) for one in found]))
    else:
        show_table(("domain", "run", "trials", "before", "after", "why"), map(_row, found))


@optimize.command()
@for_domain
@as_json
def plan(domain: str, *, as_json: bool) -> None:
    """Say whether a run would be queued now, with every reason for and against, and its cost."""
    here = runtime.current()
    ruling = planning.weigh(
        here.store,
        domain=domain,
        model=here.settings.lm,
        clock=here.now,
        price=here.program_price,
    )
    if as_json:
        say(json.dumps({"domain": domain, **_ruling(ruling)}))
        return
    say(f"{domain}: {'a run would be queued now' if ruling.would_run else 'no run now'}")
    for one in ruling.reasons:
        say(f"  {'for' if one.speaks_for else 'against':8} {one.says}")
    say(f"  it may take {_takes(ruling)}")


@optimize.command()
@for_domain
@as_json
def cancel(domain: str, *, as_json: bool) -> None:
    """Stop the domain's open run; its trials stay."""
    if not planning.cancel(runtime.current().store, domain=domain):
        raise NotReady(f"{domain} has no open run", remedy="see `tdsys optimize status`")
    told = {"domain": domain, "asked_to_stop": True}
    say(json.dumps(told) if as_json else f"the run of {domain} is asked to stop")


@optimize.command()
@for_domain
@as_json
def retry(domain: str, *, as_json: bool) -> None:
    """Queue another run on the newest version, also where nothing has grown since the last."""
    here = runtime.current()
    found = planning.retry(
        here.store, domain=domain, model=here.settings.lm, clock=here.now, actor=person()
    )
    here.bells.ring(Task.OPTIMIZE)
    if as_json:
        told = {"domain": domain, "run": str(found.run_id), "because": found.because}
        say(json.dumps(told))
        return
    say(f"run {found.run_id} of {domain} is queued: {'; '.join(found.because)}")


def _ruling(ruling: Ruling) -> dict[str, object]:
    return {
        "would_run": ruling.would_run,
        "because": [one.says for one in ruling.reasons],
        "reasons": [
            {"code": one.code, "speaks": "for" if one.speaks_for else "against", "says": one.says}
            for one in ruling.reasons
        ],
        "calls": ruling.calls,
        "cost": ruling.cost,
    }


def _takes(ruling: Ruling) -> str:
    dollars = "not known what that costs: see TDSYS_MODELS"
    if ruling.cost is not None:
        dollars = f"about ${ruling.cost:.2f}"
    return f"{ruling.calls:,} calls, {dollars}" if ruling.calls is not None else dollars


def _document(one: DomainStatus) -> dict[str, object]:
    run, kept = one.run, one.program
    return {
        "domain": one.domain,
        "because": one.because,
        "run": run
        and {
            "id": str(run.id),
            "state": run.state,
            "reason": run.reason,
            "progress": run.progress,
            "attempts": run.attempts,
            "model": run.model,
            "planned_calls": run.plan.calls_at_most,
        },
        "program": kept
        and {
            **kept.comparison.model_dump(),
            "stale": kept.stale,
            "simulated": kept.envelope["simulated"],
        },
    }


def _row(one: DomainStatus) -> tuple[str, ...]:
    run, kept = one.run, one.program
    trials = f"{run.progress.get('trials', 0)} of {evaluations(run.plan)}" if run else ""
    scores = ("", "")
    if kept:
        simulated = " (simulated)" if kept.envelope["simulated"] else ""
        scores = (f"{kept.comparison.before:.3f}", f"{kept.comparison.after:.3f}{simulated}")
    why = run.reason if run and run.reason else "; ".join(one.because)
    return (one.domain, run.state if run else "none", trials, *scores, why)
