"""`tdsys examples`: what waits for a person, and the person's word."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain, person
from tdsys.cli.following import progress
from tdsys.cli.printing import note, say, show_table
from tdsys.core.browsing import Filter
from tdsys.core.example import Source
from tdsys.core.lifecycle import BY_PEOPLE, Move, State
from tdsys.errors import Conflict, InvalidInput, TdsysError
from tdsys.stages import clustering, curation, operating
from tdsys.store.browse_schema import Outcome
from tdsys.store.examples import Listed
from tdsys.store.neighbours import Neighbour
from tdsys.store.operations import Operation

ID = click.IntRange(1, 2**63 - 1)
LOOK_EVERY = 0.2
DONE = {
    Outcome.WAITING.value: "would move",
    Outcome.MOVED.value: "moved",
    Outcome.UNDONE.value: "moved back",
    Outcome.KEPT.value: "moved since by somebody",
}
TITLES = ("id", "domain", "topic", "difficulty", "reason", "problem")
NEAR_TITLES = ("id", "likeness", "embedding", "cluster", "numbers", "source", "state", "problem")
PROBLEM_SHOWN = 80


def _said(_: click.Context, __: click.Parameter, reason: str) -> str:
    if not reason.strip():
        raise InvalidInput("--reason is empty", remedy="say why, it is kept")
    return reason


of_examples = click.argument("ids", nargs=-1, required=True, type=ID, metavar="ID...")
for_reason = click.option("--reason", required=True, callback=_said, help="Why; kept with it.")


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
@of_examples
@click.option("--to", "move_", type=click.Choice([m.value for m in BY_PEOPLE]), required=True)
@for_reason
def move(ids: tuple[int, ...], move_: str, reason: str) -> None:
    """Move examples by hand; one that cannot be moved does not hold the others up."""
    _move_all(ids, Move(move_), reason)


@examples.command()
@of_examples
@for_reason
def restore(ids: tuple[int, ...], reason: str) -> None:
    """Bring retired examples back: they are judged and decided anew."""
    _move_all(ids, Move.RESTORE, reason)


@examples.command()
@of_examples
@for_reason
def pin(ids: tuple[int, ...], reason: str) -> None:
    """Keep examples: they are never too old, and limits take them last."""
    here = runtime.current()
    found = curation.pin(here.store, example_ids=ids, reason=reason, actor=person(), now=here.now())
    _tell_each(ids, found, "pinned", "there is no such example")


@examples.command()
@of_examples
def unpin(ids: tuple[int, ...]) -> None:
    """Treat pinned examples as all others again."""
    found = curation.unpin(runtime.current().store, example_ids=ids)
    _tell_each(ids, found, "not pinned any more", "was not pinned")


def _tell_each(ids: tuple[int, ...], found: set[int], done: str, otherwise: str) -> None:
    for one in ids:
        say(f"example {one}: {done}") if one in found else note(f"example {one}: {otherwise}")
    if not found.issuperset(ids):
        raise SystemExit(InvalidInput.exit_code)


def _move_all(ids: tuple[int, ...], move_: Move, reason: str) -> None:
    failed = [bad for one in ids if (bad := _moved(one, move_, reason))]
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


@examples.command()
@of_domain
@click.option("--state", type=click.Choice([s.value for s in State]))
@click.option("--source", type=click.Choice([s.value for s in Source]))
@click.option("--topic")
@click.option("--difficulty")
@click.option("--reason", "why", help="The reason they stand where they stand for.")
@click.option("--quality-from", metavar="0..1")
@click.option("--quality-to", metavar="0..1")
@click.option("--text", help="Words of the problem.")
@click.option("--captured-from", metavar="DAY")
@click.option("--captured-to", metavar="DAY")
@click.option("--move", "move_", type=click.Choice([m.value for m in BY_PEOPLE]), required=True)
@click.option("--because", required=True, help="Why; kept with each example's history.")
@click.option("--dry-run", is_flag=True, help="Say what it would come to, move nothing.")
@click.option("--yes", is_flag=True, help="Do it.")
@as_json
def bulk(  # each is an option
    *,
    move_: str,
    because: str,
    why: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Move all examples that a filter means; `examples undo` takes it back.

    An example whose state forbids the move is left alone and counted.
    """
    if dry_run is yes:
        raise InvalidInput("say whether to do it", remedy="use --yes, or --dry-run to see what")
    here = runtime.current()
    asked = Filter.read({name: value for name, value in {**given, "reason": why}.items() if value})
    operation_id = operating.begin(
        here.store,
        asked=asked,
        move=Move(move_),
        reason=because,
        actor=person(),
        domains=None,
        now=here.now(),
    )
    done = _followed(operation_id)
    if yes:
        operating.confirm(here.store, operation_id=operation_id, now=here.now())
        done = _followed(operation_id)
    else:
        operating.discard(here.store, operation_id=operation_id)
    _tell(done, as_json=as_json)


@examples.command()
@click.argument("operation_id", type=ID, metavar="OPERATION")
@as_json
def undo(operation_id: int, *, as_json: bool) -> None:
    """Take a bulk action back, but for what somebody has moved since."""
    here = runtime.current()
    operating.undo(here.store, operation_id=operation_id, actor=person(), now=here.now())
    _tell(_followed(operation_id), as_json=as_json)


@examples.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@as_json
def operations(*, limit: int, as_json: bool) -> None:
    """Show the bulk actions, the newest first."""
    found = operating.newest(runtime.current().store, limit=limit)
    if as_json:
        say(json.dumps([one.model_dump(mode="json") for one in found]))
    else:
        show_table(("operation", "state", "who", "move", "filter", "result"), map(_action, found))


def _followed(operation_id: int) -> Operation:
    """Go on with it here until it waits for a word, showing how far it is."""
    here = runtime.current()
    with progress() as bars:
        bar = bars.add_task("examples", total=None)

        def tell(one: Operation) -> None:
            done, total = one.progress
            bars.update(bar, description=one.state.value, completed=done, total=total)

        found = operating.go_on(here.store, operation_id=operation_id, clock=here.now, tell=tell)
        while found.is_open:  # a worker has it in hand
            time.sleep(LOOK_EVERY)
            found = operating.go_on(
                here.store, operation_id=operation_id, clock=here.now, tell=tell
            )
    return found


def _tell(done: Operation, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(done.model_dump(mode="json")))
    else:
        say(f"operation {done.id} is {done.state}: {_result(done)}")


def _action(one: Operation) -> tuple[str, ...]:
    asked = " ".join(f"{name}={value}" for name, value in one.filter.written().items())
    return str(one.id), one.state, one.actor, one.move, asked, _result(one)


def _result(one: Operation) -> str:
    left = {name: n for name, n in one.counts.items() if name not in DONE}
    parts = [f"{one.counts[name]} {said}" for name, said in DONE.items() if name in one.counts]
    skipped = [f"{n} left alone ({name})" for name, n in sorted(left.items())]
    return ", ".join([*parts, *skipped]) or "no example is meant"


def _row(one: Listed) -> tuple[str, ...]:
    problem = one.problem or ""
    short = problem if len(problem) <= PROBLEM_SHOWN else problem[:PROBLEM_SHOWN] + "…"
    return (str(one.id), one.domain, one.topic, one.difficulty, one.reason or "", short)


def _neighbour(one: Neighbour) -> tuple[str, ...]:
    return (
        str(one.example_id),
        f"{one.likeness:.2f}",
        "" if one.embedded is None else f"{one.embedded:.2f}",
        "same" if one.same_cluster else "",
        "same" if one.same_numbers else "",
        one.source,
        one.state,
        one.problem[:PROBLEM_SHOWN],
    )
