"""`tdsys bootstrap` and `tdsys synthesize`: examples for a domain that has too few."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_any_domain, person
from tdsys.cli.batch import budget_options, finish
from tdsys.cli.heatmap import show_heatmap
from tdsys.cli.printing import note, say, show_table
from tdsys.core.batch import Kind
from tdsys.core.filling import FillingPlan
from tdsys.runtime import Runtime
from tdsys.stages import filling
from tdsys.stages.filling import Drafted, Request
from tdsys.wire import Task

PLAN = ("topic", "difficulty", "strategy", "wanted", "expected calls")
MOST = 100_000
Command = TypeVar("Command", bound=Callable[..., Any])


def _listed(_: click.Context, __: click.Parameter, given: str | None) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(dict.fromkeys(one.strip() for one in (given or "").split(",") if one.strip()))


def _request(command: Command) -> Command:
    """The options of both commands."""
    for option in reversed(
        (
            for_any_domain,
            click.option("--count", type=click.IntRange(1, MOST), required=True, help="How many."),
            click.option("--topics", callback=_listed, metavar="A,B", help="Only these topics."),
            click.option("--difficulties", callback=_listed, metavar="A,B", help="Only these."),
            *budget_options,
            click.option("--dry-run", is_flag=True, help="Show the plan; begin nothing."),
            click.option("--detach", is_flag=True, help="Do not wait for the result."),
            as_json,
        )
    ):
        command = option(command)
    return command


@click.command()
@_request
@click.option("--generator", default="reference", show_default=True, help="An installed one.")
def bootstrap(**given: Any) -> None:
    """Fill a domain with problems of your generator, where it has the fewest.

    They are verified and judged like all others. Exit code 0: all are there, 4: some, 1: none.
    """
    _ask(Kind.BOOTSTRAP, given)


@click.command()
@_request
@click.option("--strategies", callback=_listed, metavar="A,B", help="Only these strategies.")
def synthesize(**given: Any) -> None:
    """Have a model make new examples by several strategies, where a domain has the fewest.

    They are solved again, verified and judged. Exit code 0: all are there, 4: some, 1: none.
    """
    _ask(Kind.SYNTHESIS, given)


def _ask(kind: Kind, given: dict[str, Any]) -> None:
    here = runtime.current()
    request = Request(
        kind=kind,
        model=here.settings.lm,
        price=here.program_price,
        dearest=_dearest(here),
        **{name: value for name, value in given.items() if name in Request.model_fields},
    )
    drafted = filling.draft(here.store, here.workshop, request)
    if given["dry_run"]:
        _show(drafted, as_json=given["as_json"])
        return
    batch_id = filling.begin(here.store, drafted, actor=person(), clock=here.now)
    here.bells.ring(Task.GENERATE)
    if drafted.is_new_domain:
        note(f"domain {request.domain} is new and has the default policy")
    if given["detach"]:
        say(json.dumps({"batch": str(batch_id)}) if given["as_json"] else f"batch {batch_id}")
        return
    if not given["as_json"]:
        note(f"batch {batch_id}: {_expected(drafted.plan)}; Ctrl-C here stops nothing")
    finish(batch_id, as_json=given["as_json"])


def _dearest(here: Runtime) -> float | None:
    """What a million tokens cost at the most, of whoever makes and whoever solves again."""
    known = [here.terms(name).prices for name in here.named()]
    return None if None in known else max(max(one) for one in known if one is not None)


def _show(drafted: Drafted, *, as_json: bool) -> None:
    planned = drafted.plan
    if as_json:
        say(json.dumps({**filling.document(planned), "max_calls": drafted.max_calls}))
        return
    note("--dry-run: nothing is begun")
    rows = [(*one[:3], str(one.wanted), str(one.calls)) for one in planned.cells]
    show_table(PLAN, rows)
    after = Counter(planned.before)
    for one in planned.cells:
        after[one.cell] += one.wanted
    show_heatmap(planned.before, {cell: after[cell] for cell in planned.before})
    say(f"{planned.wanted} examples: {_expected(planned)}; at most {drafted.max_calls} calls")


def _expected(planned: FillingPlan) -> str:
    cost = "cost unknown, see TDSYS_MODELS" if planned.cost is None else f"${planned.cost:.2f}"
    time = (
        "time unknown, nothing like it was made yet"
        if planned.seconds is None
        else f"{planned.seconds:.0f} s for one worker"
    )
    return f"about {planned.calls} calls, {planned.tokens:,} tokens, {cost}, {time}"
