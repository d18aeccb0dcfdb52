"""`tdsys effectiveness problems`, `recommend`, `apply`, `revert` and `impact`."""

from __future__ import annotations

import json
import time
from collections import Counter

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, person
from tdsys.cli.printing import note, say, show_table
from tdsys.core.advising import Kind, Predicted
from tdsys.stages import advising, impact
from tdsys.stages.advising import Applied
from tdsys.store.effect_schema import AttributionState, ProbeState
from tdsys.store.impacts import Known, Measurement
from tdsys.store.recommendations import Recommendation
from tdsys.wire import Task

PROBLEMS = ("example", "id", "split", "fault", "because")
ADVICE = ("id", "state", "what", "why", "effect")
LOOK_EVERY = 0.5
FAILED = 1
STAYS = "what is admitted already stays until `tdsys replay`"
number = click.argument("id_", type=click.IntRange(1), metavar="ID")


@click.command()
@for_domain
@as_json
def problems(domain: str, *, as_json: bool) -> None:
    """List the examples of the newest dataset version with something amiss, and the evidence."""
    here = runtime.current()
    seen = advising.survey(here.store, domain=domain, clock=here.now)
    unmeasured = advising.unmeasured(here.store, domain=domain)
    if as_json:
        rows = [
            {
                "example": one.known.example,
                "id": one.known.id,
                "split": one.known.split,
                "fault": one.fault,
                "detail": one.detail,
                "others": one.others,
            }
            for one in seen.suspects
        ]
        told = {"version": seen.version.number, "problems": rows, "unmeasured": unmeasured}
        say(json.dumps(told))
        return
    show_table(PROBLEMS, [
        (one.known.example[:16], str(one.known.id), one.known.split, one.fault, one.detail)
        for one in seen.suspects
    ])  # fmt: skip
    counts = Counter(one.fault for one in seen.suspects)
    say(", ".join(f"{n} {fault}" for fault, n in counts.items()) or "nothing is amiss")
    if unmeasured:
        note(unmeasured)


@click.command()
@for_domain
@click.option("--all", "all_", is_flag=True, help="With what became of earlier ones.")
@as_json
def recommend(domain: str, *, all_: bool, as_json: bool) -> None:
    """Say what to do about it: each with its reason, evidence and predicted effect."""
    here = runtime.current()
    found = advising.recommend(here.store, domain=domain, clock=here.now)
    if all_:
        found = advising.listed(here.store, domain=domain)
    measured = impact.of_domain(here.store, domain=domain, model=here.settings.lm)
    unmeasured = advising.unmeasured(here.store, domain=domain)
    if as_json:
        told = [document(one, measured.get(one.id)) for one in found]
        say(json.dumps({"recommendations": told, "unmeasured": unmeasured}))
        return
    if found:
        show_table(ADVICE, [
            (str(one.id), one.state, one.title, one.reason,
             f"predicted: {_shown(one.predicted)}\nmeasured: {_said(measured.get(one.id))}")
            for one in found
        ])  # fmt: skip
    else:
        say("there is nothing to recommend")
    if unmeasured:
        note(unmeasured)


@click.command()
@number
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--despite-impact", is_flag=True, help="Also what was measured to do harm.")
@as_json
def apply(id_: int, *, dry_run: bool, despite_impact: bool, as_json: bool) -> None:
    """Follow a recommendation: retirements make a new dataset version."""
    here = runtime.current()
    done = advising.apply(
        here.store,
        id=id_,
        supply=lambda: here.workshop,
        model=here.settings.lm,
        actor=person(),
        clock=here.now,
        dry_run=dry_run,
        despite_impact=despite_impact,
    )
    if not dry_run:
        for task in (Task.SCORE, Task.PLAN, Task.GENERATE):
            here.bells.ring(task)
    _tell_applied(done, as_json=as_json)


@click.command()
@number
@as_json
def revert(id_: int, *, as_json: bool) -> None:
    """Take back what applying a recommendation did."""
    here = runtime.current()
    one = advising.revert(here.store, id=id_, actor=person(), clock=here.now)
    for task in (Task.SCORE, Task.PLAN):
        here.bells.ring(task)
    found = impact.of_domain(here.store, domain=one.domain, model=here.settings.lm).get(id_)
    news = f"recommendation {id_} is reverted: {one.title}"
    say(json.dumps(document(one, found)) if as_json else news)


@click.command("impact")
@number
@click.option(
    "--seeds", type=click.IntRange(1, 20), default=impact.SEEDS, show_default=True,
    help="Pairs of runs.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only tell what it would take.")
@click.option("--detach", is_flag=True, help="Leave it to the workers.")
@as_json
def impact_(id_: int, seeds: int, *, dry_run: bool, detach: bool, as_json: bool) -> None:
    """Measure what a recommendation changes: runs with and without, alike in all else.

    This process works along with the workers. What was measured already is only shown.
    """
    here = runtime.current()
    model = here.settings.lm
    plan = impact.planned(here.store, id=id_, model=model, seeds=seeds)
    if dry_run:
        _tell_plan(plan, as_json=as_json)
        return
    begun = impact.begin(here.store, plan, clock=here.now)
    here.bells.ring(Task.ATTRIBUTE)
    if detach:
        news = "queued" if begun else "it is open, or was measured with these seeds already"
        told = {"recommendation": id_, "calls": plan.calls, "begun": begun}
        say(json.dumps(told) if as_json else news)
        return
    again = not begun and plan.measured
    found = (
        impact.shown(here.store, id=id_, model=model, measured=again) if again else _followed(id_)
    )
    _tell_impact(found, as_json=as_json)


def _tell_plan(plan: impact.Planned, *, as_json: bool) -> None:
    told = {
        "recommendation": plan.recommendation.id,
        "seeds": plan.seeds,
        "model": plan.model,
        "calls": plan.calls,
        "measured": _measured(plan.measured),
    }
    if as_json:
        say(json.dumps(told))
    elif plan.measured:
        say(f"measured with these seeds already, no calls: {plan.measured.told}")
    else:
        say(f"{2 * len(plan.seeds)} runs, at most {plan.calls} calls of {plan.model}")


def _followed(id_: int) -> impact.Shown:
    here, told = runtime.current(), -1
    while True:
        found = impact.shown(here.store, id=id_, model=here.settings.lm)
        if found.measurement.state is not AttributionState.OPEN:
            return found
        done = sum(one.state is ProbeState.DONE for one in found.runs)
        if done != told:
            note(f"{done} of {len(found.runs)} runs")
            told = done
        if not impact.work_due(
            here.store,
            optimizer=here.optimizer,
            verifier=here.verifier,
            clock=here.now,
            lease=here.lease,
            only=id_,
        ):
            time.sleep(LOOK_EVERY)


def document(one: Recommendation, measured: Known | None) -> dict[str, object]:
    """A recommendation with its measured impact as machines read it."""
    return {
        **one.model_dump(mode="json"),
        "impact": _measured(measured and measured.shown),
        "is_measured_now": measured is not None and measured.is_open,
    }


def _measured(one: Measurement | None) -> dict[str, object] | None:
    return None if one is None else one.model_dump(mode="json")


def _said(measured: Known | None) -> str:
    if measured is None:
        return "not yet"
    again = "; being measured again" if measured.is_open and measured.verdict else ""
    return f"{measured.shown.told}{again}"


def _tell_applied(done: Applied, *, as_json: bool) -> None:
    one, version = done.recommendation, done.version
    if as_json:
        say(
            json.dumps(
                {
                    **document(one, done.impact),
                    "dry_run": done.dry_run,
                    "moved": done.moved,
                    "version": version and {"id": version.id, "number": version.number},
                    "policy_version": done.policy_version,
                    "batches": done.batches,
                }
            )
        )
        return
    if done.dry_run:
        say(f"would {one.title}: {_foreseen(done)}")
        _tell_measured(done)
        return
    news = [f"{len(done.moved)} examples moved"] if done.moved else []
    news += [f"dataset version {version.number} is frozen"] if version else []
    news += [f"policy version {done.policy_version}"] if done.policy_version else []
    news += [STAYS] if one.kind is Kind.CHANGE_THRESHOLD else []
    news += [f"batch {batch}" for batch in done.batches]
    say(f"recommendation {one.id} is applied: {', '.join(news) or 'nothing was left to do'}")
    if done.impact:
        say(f"measured impact: {done.impact.shown.told}")


def _tell_measured(done: Applied) -> None:
    if done.impact is None:
        return
    say(f"measured impact: {done.impact.shown.told}")
    if done.impact.verdict and done.impact.verdict.is_worse:
        say(f"so following it takes `{advising.despite(done.recommendation)}`")


def _foreseen(done: Applied) -> str:
    one = done.recommendation
    if one.kind is Kind.COLLECT:
        cells = "; ".join(f"{topic}, {difficulty}" for topic, difficulty in one.cells)
        return f"a batch for each of {cells}"
    if one.kind is Kind.CHANGE_THRESHOLD:
        return f"a new version of the policy; {STAYS}"
    return f"{len(done.moved)} of them are admitted now"


def _tell_impact(found: impact.Shown, *, as_json: bool) -> None:
    measured = found.measurement
    if as_json:
        say(
            json.dumps(
                {
                    "recommendation": found.recommendation.id,
                    "state": measured.state,
                    "reason": measured.reason,
                    "impact": measured.outcome,
                    "calls": sum(one.calls for one in found.runs),
                    "predicted": found.recommendation.model_dump(mode="json")["predicted"],
                }
            )
        )
    else:
        simulated = bool(measured.outcome and measured.outcome.get("simulated"))
        say(f"{measured.reason or measured.state}{' (simulated)' if simulated else ''}")
        if found.recommendation.predicted:
            say(f"predicted: {_shown(found.recommendation.predicted)}")
    if measured.state is AttributionState.FAILED:
        raise SystemExit(FAILED)


def _shown(found: Predicted | None) -> str:
    if found is None:
        return "not known"
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f}), {found.meaning}"
