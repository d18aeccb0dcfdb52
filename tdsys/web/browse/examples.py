"""Lists of examples, one example with its history, and the moves a curator may make from there."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tdsys.core.browsing import Filter, Order, place
from tdsys.core.example import Source
from tdsys.core.lifecycle import BY_PEOPLE, Move, State
from tdsys.core.pacing import Pace
from tdsys.core.people import Right
from tdsys.errors import InvalidInput
from tdsys.stages import browsing, curation
from tdsys.store.browsing import Amount, Row
from tdsys.store.histories import Scored, Whole
from tdsys.web.browse.address import number
from tdsys.web.pages import Action, Done, Page
from tdsys.web.visit import Visit
from tdsys.wire import Task

SIZE = 50
NOT_FILTER = ("order", "after", "before")


def filter_of(query: dict[str, str]) -> Filter:
    """The filter an address asks for."""
    return Filter.read({name: value for name, value in query.items() if name not in NOT_FILTER})


def order_of(query: dict[str, str]) -> Order:
    """The order an address asks for."""
    try:
        return Order(query.get("order") or Order.NEWEST)
    except ValueError:
        raise InvalidInput("there is no such order", remedy="newest, best or worst") from None


def listed(visit: Visit) -> dict[str, Any]:
    """Examples under a filter."""
    query = dict(visit.query)
    wanted, order = filter_of(query), order_of(query)
    places = {name: place(query[name]) for name in ("after", "before") if query.get(name)}
    if len(places) > 1:
        raise InvalidInput("a list goes on after one place or before it", remedy="leave one out")
    found = browsing.page(
        visit.store, asked=wanted, order=order, domains=visit.domains, size=SIZE, **places
    )
    address = {**wanted.written(), **({} if order is Order.NEWEST else {"order": order.value})}

    def link(**more: Any) -> str:
        told = {**address, **{name: str(value) for name, value in more.items()}}
        return f"/examples?{urlencode(told)}" if told else "/examples"

    return {
        "filter": wanted.written(),
        "order": order.value,
        "orders": [one.value for one in Order],
        "choices": browsing.choices(visit.store, asked=wanted, domains=visit.domains),
        "states": [one.value for one in State],
        "sources": [one.value for one in Source],
        "rows": [row(one) for one in found.rows],
        "amount": amount(found.amount),
        "looked_at": found.looked_at,
        "next": link(after=found.next) if found.next else None,
        "previous": link(before=found.previous) if found.previous else None,
        "first": link(),
        "asked": urlencode(wanted.written()),
        "not_searchable": browsing.not_searchable(visit.store) if wanted.text else 0,
        "may_move": visit.person.may(Right.CURATE),
        "moves": [one.value for one in BY_PEOPLE],
    }


def row(one: Row) -> dict[str, Any]:
    """One line of a list."""
    return {**one._asdict(), "captured_at": one.captured_at.isoformat()}


def amount(found: Amount) -> dict[str, Any]:
    """How many a filter means, and whether that is exact."""
    return {"n": found.n, "is_exact": found.is_exact}


def shown(visit: Visit) -> dict[str, Any]:
    """One example with all that is known of it."""
    told = browsing.example(visit.store, example_id=number(visit), domains=visit.domains)
    one = told.example
    may = visit.person.may(Right.CURATE, domain=one.domain)
    return {
        "example": _whole(one),
        "scores": [_scored(score) for score in one.scores],
        "history": [{**step._asdict(), "at": step.at.isoformat()} for step in one.steps],
        "used": [used._asdict() for used in one.used],
        "near": [near._asdict() for near in told.near],
        "moves": [move.value for move in one.moves] if may else [],
    }


def _whole(one: Whole) -> dict[str, Any]:
    kept = ("id", "domain", "topic", "difficulty", "source", "simulated", "quality", "reason",
            "attempts", "fingerprint", "inputs", "outputs", "metadata", "repeated")  # fmt: skip
    times = {
        name: getattr(one, name).isoformat()
        for name in ("captured_at", "created_at", "moved_at", "due_at")
        if getattr(one, name) is not None
    }
    return {
        **{name: getattr(one, name) for name in kept},
        **times,
        "state": one.state.value,
        "capture_id": one.capture_id and str(one.capture_id),
        "import": one.imported and {"id": str(one.imported[0]), "filename": one.imported[1]},
    }


def _scored(one: Scored) -> dict[str, Any]:
    checks = [] if one.verdict is None else one.verdict.model_dump(mode="json")["checks"]
    told = {**one._asdict(), "created_at": one.created_at.isoformat(), "checks": checks}
    del told["verdict"]
    return told


def move(visit: Visit) -> Done:
    """Move one example by hand."""
    example_id = number(visit)
    told = browsing.example(visit.store, example_id=example_id, domains=visit.domains)
    reason = visit.field("reason").strip()
    if not reason:
        raise InvalidInput("a move needs a reason", remedy="say why, it is kept")
    wanted = visit.field_choice("move", Move)
    if wanted not in told.example.moves:
        raise InvalidInput(
            f"an example that is {told.example.state} cannot {wanted}", remedy="look at it again"
        )
    state = curation.move(
        visit.store,
        example_id=example_id,
        move=wanted,
        reason=reason,
        actor=visit.person.name,
        now=visit.now,
    )
    visit.runtime.bells.ring(Task.SCORE if state is State.CANDIDATE else Task.PLAN)
    return Done(f"/examples/{example_id}", f"It is {state} now.")


LIST = Page("/examples", Right.LOOK, listed, "browse/examples.html", pace=Pace.SEARCH)
ONE = Page("/examples/{id:int}", Right.LOOK, shown, "browse/example.html")
ROUTES = (LIST, ONE, Action("/examples/{id:int}/move", Right.CURATE, move, again=ONE))
