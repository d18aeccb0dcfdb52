"""Batches: what was asked for, how far it is, and asking for more."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tdsys.core.batch import IMPORT, RESUME, REVIEW, BatchState, Fallback, Kind
from tdsys.core.browsing import Filter
from tdsys.core.example import LONGEST_NAME, Cell
from tdsys.core.filling import FillingPlan
from tdsys.core.pacing import Pace
from tdsys.core.people import Right
from tdsys.errors import InvalidInput, NotFound, NotReady
from tdsys.llm import generators
from tdsys.llm.naming import OFFLINE
from tdsys.llm.prompting import strategies
from tdsys.stages import browsing, filling
from tdsys.stages.filling import CellReport, Drafted, Report, Request
from tdsys.store.batches import Batch, Budget
from tdsys.web.browse.address import before, hardness
from tdsys.web.pages import Action, Done, Page
from tdsys.web.visit import Visit, missing
from tdsys.wire import Task

LISTED = 50
USUAL_COUNT = 30
MOST = 10_000
MOST_CALLS = 2**31 - 1
HEATS = 9
ASKED = (
    "kind",
    "domain",
    "count",
    "topics",
    "difficulties",
    "generator",
    "strategies",
    "max_calls",
)


class Square(NamedTuple):
    """One cell of the map: `level` is how full, from 0 to 9; None: nothing is wanted there."""

    level: int | None
    has: int = 0
    wanted: int = 0
    made: int = 0


def listed(visit: Visit) -> dict[str, Any]:
    """What was asked for, the newest first."""
    found = filling.within(
        visit.store, domains=visit.domains, limit=LISTED + 1, before=before(visit)
    )
    shown_ = found[:LISTED]
    older = shown_[-1].created_at.timestamp() if len(found) > LISTED else None
    return {
        "batches": [_told(one) for one in shown_],
        "older": f"/batches?before={older!r}" if older else None,
        "may_ask": visit.person.may(Right.OPERATE),
    }


def shown(visit: Visit) -> dict[str, Any]:
    """One batch: cell by cell, what was not admitted and why, what was tried instead."""
    found = _report(visit)
    batch = found.batch
    is_open = batch.state is BatchState.OPEN
    left = filling.seconds_left(visit.store, found, now=visit.now) if is_open else None
    price = visit.runtime.program_price
    return {
        "batch": _told(batch),
        "whole": found.whole.model_dump(),
        "cells": [one._asdict() for one in found.cells],
        "strategies": found.by_strategy,
        "plan": {name: batch.plan.get(name) for name in ("calls", "tokens", "cost", "seconds")},
        "cost": None if price is None else batch.tokens * price / 1e6,
        "seconds_left": left,
        "heat": _heat(found.cells),
        "details": found.details,
        "fallbacks": [{**one.model_dump(), "resort": _resort(one)} for one in found.fallbacks],
        "mixture": {**found.mixture._asdict(), "says": found.mixture.in_words()},
        "may": visit.person.may(Right.OPERATE, domain=batch.domain),
    }


def new(visit: Visit) -> dict[str, Any]:
    """The form to ask for examples; once it says how many, the plan, begun by nobody yet."""
    asked = {name: visit.text(name) for name in ASKED}
    content = {
        "asked": asked,
        "kinds": list(Kind),
        "domains": browsing.choices(visit.store, asked=Filter(), domains=visit.domains)["domain"],
        "generators": generators.names(),
        "strategies": [
            {"name": one.name, "idea": one.idea, "off": one.off, "parents": one.parents}
            for one in strategies().values()
        ],
        "chosen": _words(asked["strategies"]),
        "usual": USUAL_COUNT,
        "plan": None,
        "mistake": None,
    }
    if not asked["domain"]:
        return content
    visit.require(Right.OPERATE, domain=asked["domain"])
    try:
        drafted = _draft(visit, asked)
    except (InvalidInput, NotReady) as wrong:
        return {**content, "mistake": {"message": wrong.message, "remedy": wrong.remedy}}
    return {**content, "plan": _plan(drafted), "key": str(uuid.uuid4())}


def begin(visit: Visit) -> Done:
    """Begin what was planned; no more calls are made than the plan that was shown allows.

    The form has a key, so that a form that is sent twice begins one batch.
    """
    asked = {name: visit.field(name) for name in ASKED}
    visit.require(Right.OPERATE, domain=asked["domain"])
    drafted = _draft(visit, asked)
    try:
        key = uuid.UUID(visit.field("key")) if visit.field("key") else None
    except ValueError:
        raise InvalidInput("the key of this form is none", remedy="load the form anew") from None
    batch_id = filling.begin(
        visit.store, drafted, actor=visit.person.name, clock=visit.runtime.now, key=key
    )
    visit.runtime.bells.ring(Task.GENERATE)
    return Done(f"/batches/{batch_id}", "The batch is begun.", {"batch": str(batch_id)})


def cancel(visit: Visit) -> Done:
    """Stop a batch."""
    batch = _mine(visit)
    filling.cancel(visit.store, batch_id=batch.id, clock=visit.runtime.now)
    return Done(f"/batches/{batch.id}", "It is stopped; what was made stays.")


def resume(visit: Visit) -> Done:
    """Go on where a batch fell short."""
    batch = _mine(visit)
    text = visit.field("max_calls")
    most = visit.field_number("max_calls", most=MOST_CALLS - batch.max_calls) if text else None
    more = Budget(calls=most)
    again = filling.resume(visit.store, batch_id=batch.id, more=more, clock=visit.runtime.now)
    visit.runtime.bells.ring(Task.GENERATE)
    return Done(f"/batches/{batch.id}", f"{again} portions are due again.")


def _report(visit: Visit) -> Report:
    try:
        found = filling.report(visit.store, batch_id=visit.path["id"])
    except NotFound:
        raise missing("batch") from None
    if not visit.person.sees(found.batch.domain):
        raise missing("batch")
    return found


def _mine(visit: Visit) -> Batch:
    """The batch, if this person may act on it."""
    batch = _report(visit).batch
    visit.require(Right.OPERATE, domain=batch.domain)
    return batch


def _draft(visit: Visit, asked: Mapping[str, str]) -> Drafted:
    kind = _kind(asked["kind"])
    count = _number("how many", asked["count"] or str(USUAL_COUNT), most=MOST, least=1)
    calls = asked["max_calls"]
    request = Request(
        kind=kind,
        domain=asked["domain"].strip()[:LONGEST_NAME],
        count=count,
        topics=_words(asked["topics"]),
        difficulties=_words(asked["difficulties"]),
        generator=asked["generator"] if kind is Kind.BOOTSTRAP else "",
        strategies=_words(asked["strategies"]) if kind is Kind.SYNTHESIS else (),
        max_calls=_number("calls at most", calls, most=MOST_CALLS) if calls else None,
        model=visit.runtime.settings.lm,
        price=visit.runtime.program_price,
    )
    return filling.draft(visit.store, visit.runtime.workshop, request)


def _kind(text: str) -> Kind:
    try:
        return Kind(text or Kind.SYNTHESIS)
    except ValueError:
        raise InvalidInput(
            "there is no such kind of batch", remedy=f"use {', '.join(Kind)}"
        ) from None


def _number(what: str, text: str, *, most: int, least: int = 0) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if is_number and least <= int(text) <= most:
        return int(text)
    raise InvalidInput(
        f"{what}: {text[:20]!r} is not usable", remedy=f"use a whole number from {least} to {most}"
    )


def _words(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))


def _told(one: Batch) -> dict[str, Any]:
    told: dict[str, Any] = one.model_dump(mode="json", exclude={"plan", "reserved"})
    return {
        **told,
        "is_open": one.state is BatchState.OPEN,
        "may_resume": one.state in {BatchState.PARTIAL, BatchState.CANCELLED},
        "simulated": one.model == OFFLINE,
    }


def _plan(drafted: Drafted) -> dict[str, Any]:
    planned = drafted.plan
    return {
        **filling.document(planned),
        "max_calls": drafted.max_calls,
        "is_new_domain": drafted.is_new_domain,
        "simulated": drafted.request.model == OFFLINE,
        "heat": _planned_heat(planned),
    }


def _planned_heat(planned: FillingPlan) -> dict[str, Any]:
    """What each cell has, and what it will have; the darker the more."""
    more: Counter[Cell] = Counter()
    for one in planned.cells:
        more[one.cell] += one.wanted
    most = max((has + more[cell] for cell, has in planned.before.items()), default=0) or 1
    return _squares(
        ((*cell, Square(HEATS * (has + more[cell]) // most, has, more[cell]))
         for cell, has in planned.before.items())
    )  # fmt: skip


def _heat(cells: Iterable[CellReport]) -> dict[str, Any]:
    """Each topic and difficulty: how much of what was wanted is admitted."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in cells:
        counts = {"wanted": one.wanted, "made": one.made, "admitted": one.admitted}
        found[one.topic, one.difficulty].update(counts)
    return _squares(
        ((*cell, Square(min(HEATS, HEATS * held["admitted"] // (held["wanted"] or 1)),
                        held["admitted"], held["wanted"], held["made"]))
         for cell, held in found.items())
    )  # fmt: skip


def _squares(squares: Iterable[tuple[str, str, Square]]) -> dict[str, Any]:
    rows: dict[str, dict[str, Square]] = defaultdict(dict)
    for topic, difficulty, square in squares:
        rows[topic][difficulty] = square
    columns = sorted({name for row in rows.values() for name in row}, key=hardness)
    return {
        "difficulties": columns,
        "rows": [
            {"topic": topic, "squares": [row.get(name, Square(None))._asdict() for name in columns]}
            for topic, row in sorted(rows.items())
        ],
    }


def _resort(one: Fallback) -> str:
    """What a person can do where nothing else is left."""
    return one.next if one.next in {IMPORT, REVIEW, RESUME} else ""


LIST = Page("/batches", Right.LOOK, listed, "browse/batches.html")
NEW = Page("/batches/new", Right.OPERATE, new, "browse/batch_new.html", pace=Pace.SEARCH)
ONE = Page("/batches/{id:uuid}", Right.LOOK, shown, "browse/batch.html")
ROUTES = (
    LIST,
    NEW,
    ONE,
    Action("/batches", Right.OPERATE, begin, again=NEW, pace=Pace.COSTLY),
    Action("/batches/{id:uuid}/cancel", Right.OPERATE, cancel, again=ONE),
    Action("/batches/{id:uuid}/resume", Right.OPERATE, resume, again=ONE),
)
