"""`tdsys optimize activate`, `rollback` and `history`: which program is served, and since when."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, person
from tdsys.cli.printing import say, show_records, show_table
from tdsys.stages import activating
from tdsys.stages.activating import Told
from tdsys.store.activations import Activation
from tdsys.store.measurements import Slice
from tdsys.store.program_schema import Activated
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run
from tdsys.wire import Task

BARS = "▁▂▃▄▅▆▇█"
TITLES = (
    "queued", "run", "data", "before", "after", "gain", "calls", "cost", "active", "captured of it",
)  # fmt: skip
SLICES = ("topic", "difficulty", "test examples", "before", "after")
why = click.option("--reason", default="", help="Why, for those who read the history.")


@click.command()
@for_domain
@click.option("--program", "program_id", type=int, help="Its number; the newest without it.")
@why
@as_json
def activate(domain: str, program_id: int | None, reason: str, *, as_json: bool) -> None:
    """Make a program the active one, on your word."""
    here = runtime.current()
    _tell(
        activating.activate(
            here.store,
            domain=domain,
            program_id=program_id,
            actor=person(),
            reason=reason,
            now=here.now(),
        ),
        as_json=as_json,
    )


@click.command()
@for_domain
@why
@as_json
def rollback(domain: str, reason: str, *, as_json: bool) -> None:
    """Make the program active again that was so before."""
    here = runtime.current()
    done = activating.rollback(
        here.store, domain=domain, actor=person(), reason=reason, now=here.now()
    )
    _tell(done, as_json=as_json)


@click.command()
@for_domain
@as_json
def history(domain: str, *, as_json: bool) -> None:
    """Show each run: its data, its metric, its cost, and when its program was active."""
    here = runtime.current()
    found = activating.history(here.store, domain=domain)
    if as_json:
        say(json.dumps({"domain": domain, "runs": [_document(one) for one in found]}))
        return
    show_records(TITLES, map(_row, found), head=3)
    scores = [one.program.comparison.after for one in reversed(found) if one.program]
    if scores:
        newest = next(one for one in found if one.program)
        said = _simulated(newest.program)
        say(f"its newest program{said}, by topic and difficulty of the test split:")
        show_table(SLICES, map(_slice, newest.slices))
        say(f"on the test split, from the first to the newest: {spark(scores)}")


def _simulated(made: StoredProgram | None) -> str:
    return " (simulated)" if made and made.envelope.get("simulated") else ""


def _since_then(made: StoredProgram) -> str:
    """That a score is of a prompt that has lost something since."""
    if not made.lost:
        return ""
    demos = sum(one.demos for one in made.lost)
    return f", before {demos} demos were forgotten" if demos else ", before text was forgotten"


def _slice(one: Slice) -> tuple[str, ...]:
    """A cell of the test split; what has no score says so."""
    return (one.topic, one.difficulty, f"{one.items}",
            _mean(one.before, one.before_scored, one.items),
            _mean(one.after, one.after_scored, one.items))  # fmt: skip


def _mean(value: float | None, scored: int, items: int) -> str:
    if value is None:
        return "unscored"
    return f"{value:.3f}" + (f", {items - scored} unscored" if scored < items else "")


def spark(values: list[float]) -> str:
    """Numbers from 0 to 1 as one bar each."""
    return "".join(BARS[min(len(BARS) - 1, int(one * len(BARS)))] for one in values)


def _tell(done: Activation, *, as_json: bool) -> None:
    runtime.current().bells.ring(Task.PUBLISH)
    if as_json:
        say(done.model_dump_json())
        return
    say(f"program {done.program_id} of {done.domain} is active, by {done.actor}; {_before(done)}")


def _before(done: Activation) -> str:
    if done.how is not Activated.BY_ROLLBACK:
        return "none was before" if done.former_id is None else f"program {done.former_id} before"
    if done.former_id is None:
        return "there is none to go back to from it"
    return f"another rollback makes program {done.former_id} active"


def _document(one: Told) -> dict[str, object]:
    run, made = one.run, one.program
    return {
        "run": str(run.id),
        "state": run.state,
        "reason": run.reason,
        "because": one.because,
        "created_at": run.created_at.isoformat(),
        "finished_at": run.finished_at and run.finished_at.isoformat(),
        "model": run.model,
        "dataset": {"id": one.version.id, "number": one.version.number,
                    "fingerprint": one.version.fingerprint, "size": one.version.size},
        "planned_calls": run.plan.calls_at_most,
        "program": made and {
            "id": made.id,
            "active": made.active,
            "stale": made.stale,
            "metric": made.envelope.get("metric"),
            "simulated": made.envelope.get("simulated"),
            "as_measured": not made.lost,
            "forgotten_demos": sum(lost.demos for lost in made.lost),
            "calls": made.envelope.get("calls"),
            "tokens": made.envelope.get("tokens"),
            "cost": _cost(one),
            **made.comparison.model_dump(),
        },
        "slices": [each._asdict() for each in one.slices],
        "served": one.served and one.served._asdict(),
        "activations": [said.model_dump(mode="json") for said in one.activations],
    }  # fmt: skip


def _cost(one: Told) -> float | None:
    """What a run cost in US dollars, where it ran on the model whose price is known now."""
    here, tokens = runtime.current(), one.program and one.program.envelope.get("tokens")
    if here.program_price is None or not isinstance(tokens, int) or not _is_priced(one.run):
        return None
    return tokens * here.program_price / 1e6


def _is_priced(run: Run) -> bool:
    return run.model == runtime.current().settings.lm


def _row(one: Told) -> tuple[str, ...]:
    made, cost = one.program, _cost(one)
    scores = ("", "", "")
    if made:
        found = made.comparison
        reach = f"{found.gain:+.3f} [{found.gain_low:+.3f}, {found.gain_high:+.3f}]"
        scores = (
            f"{found.before:.3f}",
            f"{found.after:.3f}{_simulated(made)}{_since_then(made)}",
            reach,
        )
    return (
        f"{one.run.created_at:%Y-%m-%d %H:%M}",
        one.run.state,
        f"version {one.version.number}, {one.version.size}",
        *scores,
        f"{made.envelope.get('calls', '')}" if made else "",
        "" if cost is None else f"${cost:.2f}",
        _since(one),
        _captured(one),
    )


def _captured(one: Told) -> str:
    found = one.served
    if found is None:
        return ""
    quality = "" if found.quality is None else f", quality {found.quality:.2f}"
    return f"{found.captured}, {found.admitted} admitted, {found.rejected} rejected{quality}"


def _since(one: Told) -> str:
    """Whether its program is active, and who put it in force."""
    if one.program is None:
        return ""
    told = [f"{said.at:%Y-%m-%d %H:%M} by {said.actor}" for said in reversed(one.activations)]
    state = "active" if one.program.active else "not active"
    return f"program {one.program.id}, {state}" + "".join(f"; {each}" for each in told)
