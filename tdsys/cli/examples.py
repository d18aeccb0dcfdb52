"""`tdsys examples`: what waits for a person, and the person's word."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain, person
from tdsys.cli.printing import note, say, show_table
from tdsys.core.lifecycle import Move, State
from tdsys.errors import Conflict, InvalidInput, TdsysError
from tdsys.stages import clustering, curation
from tdsys.store.clusters import Neighbour
from tdsys.store.examples import Listed

# What a person may do; the other moves are the pipeline's.
MOVES = (
    Move.APPROVE,
    Move.REJECT,
    Move.UNPARK,
    Move.RETIRE,
    Move.RESTORE,
    Move.FLAG,
    Move.REPLAY,
)
ID = click.IntRange(1, 2**63 - 1)
TITLES = ("id", "domain", "topic", "difficulty", "reason", "problem")
NEAR_TITLES = ("id", "likeness", "cluster", "numbers", "source", "state", "problem")
PROBLEM_SHOWN = 80


@click.group()
def examples() -> None:
    """Single examples."""


@examples.command("list")
@click.option("--state", type=click.Choice([s.value for s in State]), required=True)
@of_domain
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@as_json
def list_(state: str, domain: str | None, limit: int, *, as_json: bool) -> None:
    """Show the examples in one state."""
    store = runtime.current().store
    found = curation.listed(store, state=State(state), domain=domain, limit=limit)
    if as_json:
        say(json.dumps([one._asdict() for one in found]))
        return
    show_table(TITLES, map(_row, found))
    if len(found) == limit:
        note(f"these are {limit}; --limit shows more")


@examples.command()
@click.argument("id_", type=ID, metavar="ID")
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@as_json
def near(id_: int, limit: int, *, as_json: bool) -> None:
    """Show the examples that are most like one, with their likeness from 0 to 1."""
    found = clustering.nearest(runtime.current().store, example_id=id_, limit=limit)
    if as_json:
        say(json.dumps([one._asdict() for one in found]))
        return
    show_table(NEAR_TITLES, map(_neighbour, found))


@examples.command()
@click.argument("ids", nargs=-1, required=True, type=ID, metavar="ID...")
@click.option("--to", "move_", type=click.Choice([m.value for m in MOVES]), required=True)
@click.option("--reason", required=True, help="Why; kept with the example's history.")
def move(ids: tuple[int, ...], move_: str, reason: str) -> None:
    """Move examples by hand; one that cannot be moved does not hold the others up."""
    if not reason.strip():
        raise InvalidInput("--reason is empty", remedy="say why, it is kept")
    failed = [bad for one in ids if (bad := _moved(one, Move(move_), reason))]
    if failed:
        raise SystemExit(failed[0].exit_code)


def _moved(example_id: int, move_: Move, reason: str) -> TdsysError | None:
    """Move one example and say what became of it; the error when it cannot be moved."""
    here = runtime.current()
    try:
        state = curation.move(
            here.store,
            example_id=example_id,
            move=move_,
            reason=reason,
            actor=person(),
            now=here.now(),
        )
    except (Conflict, InvalidInput) as bad:
        note(f"example {example_id}: {bad}")
        return bad
    say(f"example {example_id}: {state}")
    return None


def _row(one: Listed) -> tuple[str, ...]:
    problem = one.problem or ""
    short = problem if len(problem) <= PROBLEM_SHOWN else problem[:PROBLEM_SHOWN] + "…"
    return (str(one.id), one.domain, one.topic, one.difficulty, one.reason or "", short)


def _neighbour(one: Neighbour) -> tuple[str, ...]:
    return (
        str(one.example_id),
        f"{one.likeness:.2f}",
        "same" if one.same_cluster else "",
        "same" if one.same_numbers else "",
        one.source,
        one.state,
        one.problem[:PROBLEM_SHOWN],
    )
