"""Moves in bulk: shown before they are done, and taken back."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tdsys.core.browsing import Filter
from tdsys.core.lifecycle import Move
from tdsys.core.pacing import Pace
from tdsys.core.people import Right
from tdsys.stages import operating
from tdsys.store.browse_schema import Outcome
from tdsys.store.operations import Operation
from tdsys.web.browse.address import number
from tdsys.web.browse.examples import row
from tdsys.web.pages import Action, Done, Page
from tdsys.web.visit import Visit, missing
from tdsys.wire import Task

LISTED = 50
# So long a page waits for what is quickly done; the rest is a worker's.
PATIENCE_SECONDS = 0.1
WORDS = {
    Outcome.WAITING: "to be moved",
    Outcome.MOVED: "moved",
    Outcome.ILLEGAL: "left alone: the lifecycle has no such move from",
    Outcome.UNSCORED: "left alone: without a score",
    Outcome.CHANGED: "left alone: moved by somebody meanwhile",
    Outcome.GONE: "gone meanwhile",
    Outcome.UNDONE: "moved back",
    Outcome.KEPT: "left as they are: touched since",
}


def listed(visit: Visit) -> dict[str, Any]:
    """The newest bulk actions."""
    found = operating.newest(visit.store, limit=LISTED)
    mine = [one for one in found if _is_seen(one, visit.domains)]
    return {"operations": [_told(one) for one in mine]}


def begin(visit: Visit) -> Done:
    """List what a filter means, to look at before anything is moved."""
    move = visit.field_choice("move", Move)
    wanted = Filter.read({name: visit.field(name) for name in Filter.model_fields})
    operation_id = operating.begin(
        visit.store,
        asked=wanted,
        move=move,
        reason=visit.field("because"),
        actor=visit.person.name,
        domains=visit.domains,
        now=visit.now,
    )
    return _gone_on(visit, operation_id)


def shown(visit: Visit) -> dict[str, Any]:
    """One bulk action: what it means, how far it is, what it came to."""
    one = _found(visit)
    outcome = Outcome.WAITING if one.count(Outcome.WAITING) else Outcome.MOVED
    examples = operating.sample(visit.store, operation_id=one.id, outcome=outcome)
    seen = visit.domains
    sample = [row(each) for each in examples if seen is None or each.domain in seen]
    return {"operation": _told(one), "sample": sample, "may": _is_within(one, visit)}


def confirm(visit: Visit) -> Done:
    """Do it."""
    one = _found(visit)
    operating.confirm(visit.store, operation_id=one.id, now=visit.now)
    return _gone_on(visit, one.id)


def discard(visit: Visit) -> Done:
    """Forget it."""
    one = _found(visit)
    operating.discard(visit.store, operation_id=one.id)
    return Done(f"/examples?{urlencode(one.filter.written())}", "Nothing was moved.")


def undo(visit: Visit) -> Done:
    """Take it back."""
    one = _found(visit)
    operating.undo(visit.store, operation_id=one.id, actor=visit.person.name, now=visit.now)
    return _gone_on(visit, one.id)


def _gone_on(visit: Visit, operation_id: int) -> Done:
    found = operating.go_on(
        visit.store, operation_id=operation_id, clock=visit.runtime.now, seconds=PATIENCE_SECONDS
    )
    if found.is_open:
        visit.runtime.bells.ring(Task.OPERATE)
    else:
        visit.runtime.bells.ring(Task.SCORE)
        visit.runtime.bells.ring(Task.PLAN)
    return Done(f"/operations/{operation_id}", content={"id": operation_id})


def _found(visit: Visit) -> Operation:
    one = operating.operation(visit.store, operation_id=number(visit, "operation"))
    if not _is_seen(one, visit.domains):
        raise missing("operation")
    return one


def _is_seen(one: Operation, domains: frozenset[str] | None) -> bool:
    """Whether all it may have touched is in these domains."""
    if domains is None:
        return True
    touched = [one.filter.domain] if one.filter.domain else one.domains
    return touched is not None and domains.issuperset(touched)


def _is_within(one: Operation, visit: Visit) -> bool:
    return visit.person.may(Right.CURATE) and _is_seen(one, visit.domains)


def _told(one: Operation) -> dict[str, Any]:
    done, total = one.progress
    results = []
    for name, n in sorted(one.counts.items()):
        outcome, _, state = name.partition(" ")
        said = f"{WORDS[Outcome(outcome)]} {state}".rstrip()
        results.append({"outcome": outcome, "says": said, "n": n})
    return {
        **one.model_dump(mode="json", exclude={"filter", "place", "until", "domains"}),
        "filter": one.filter.written(),
        "asked": urlencode(one.filter.written()),
        "to": one.to.value,
        "is_open": one.is_open,
        "done": done,
        "total": total,
        "results": results,
        "waiting": one.count(Outcome.WAITING),
        "moved": one.count(Outcome.MOVED),
    }


LIST = Page("/operations", Right.LOOK, listed, "browse/operations.html")
ONE = Page("/operations/{id:int}", Right.LOOK, shown, "browse/operation.html")
ROUTES = (
    LIST,
    ONE,
    Action("/operations", Right.CURATE, begin, again=LIST, pace=Pace.COSTLY),
    Action("/operations/{id:int}/confirm", Right.CURATE, confirm, again=ONE),
    Action("/operations/{id:int}/discard", Right.CURATE, discard, again=ONE),
    Action("/operations/{id:int}/undo", Right.CURATE, undo, again=ONE),
)
