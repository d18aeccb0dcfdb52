"""Pages of examples under any filter, each in bounded time however many examples there are.

A page is found in one of two ways. Where one part of the filter leaves at most `GATHERED`
examples, all of them are gathered, counted and ordered. Otherwise the order's own index is walked
until the page is full, but no further than `WALKED` examples: then the page says how far it
looked, and the next one goes on there. An order starts in each domain's index by itself, because
what a person may see is a list of domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL

from tdsys.core.browsing import Filter, Order, Place
from tdsys.core.example import Source
from tdsys.core.lifecycle import State
from tdsys.store import counts, words
from tdsys.store.browse_schema import LONGEST_REASON, example_words
from tdsys.store.counts import Domains
from tdsys.store.engine import Tx
from tdsys.store.policies import domains as all_domains
from tdsys.store.schema import CANDIDATE, example_bodies, examples

GATHERED = 10_000
WALKED = 10_000
MOST_CELLS = 400
SHOWN = 300
CAPTURED = literal_column("'captured'", Text)
_STATES = {state: literal_column(f"'{state.value}'", Text) for state in State}


class Row(NamedTuple):
    """One example as a list shows it; `problem` is how its problem begins."""

    id: int
    domain: str
    topic: str
    difficulty: str
    source: str
    state: str
    reason: str | None
    quality: float | None
    simulated: bool
    captured_at: datetime
    problem: str


class Amount(NamedTuple):
    """How many there are; `n` is their number, or no more than that."""

    n: int
    is_exact: bool


class Page(NamedTuple):
    """Part of a list in its order, and the places where the parts before and after it start.

    `looked_at` is how many were looked at, where that and not a full page ended it.
    """

    rows: list[Row]
    amount: Amount
    previous: Place | None
    next: Place | None
    looked_at: int = 0


class _Asked(NamedTuple):
    """What a page is asked for, by somebody who may see these domains."""

    filter: Filter
    order: Order
    domains: list[str]
    place: Place | None
    forward: bool
    limit: int

    @property
    def key(self) -> ColumnElement[Any]:
        return examples.c.quality if self.order.is_by_quality else examples.c.captured_at

    @property
    def is_descending(self) -> bool:
        return self.order.is_descending is self.forward

    def ordered(self, key: ColumnElement[Any], id_: ColumnElement[Any]) -> list[Any]:
        return [key.desc(), id_.desc()] if self.is_descending else [key, id_]

    def behind(self, key: ColumnElement[Any], id_: ColumnElement[Any]) -> ColumnElement[bool]:
        """Behind the place where this part of the list starts."""
        if self.place is None:
            return true()
        at = tuple_(self._value(), literal(self.place.id))
        return tuple_(key, id_) < at if self.is_descending else tuple_(key, id_) > at

    def _value(self) -> ColumnElement[Any]:
        key = self.place.key if self.place else 0.0
        if self.order.is_by_quality:
            return cast(literal(key), REAL)
        return literal(datetime.fromtimestamp(key, UTC), DateTime(timezone=True))

    def reaches(self, one: Place, end: Place) -> bool:
        """Whether one lies no further than an end."""
        return one >= end if self.is_descending else one <= end


class _Walked(NamedTuple):
    """What was found, and where looking ended before the list did."""

    found: list[Place]
    end: Place | None


def page(
    tx: Tx,
    *,
    asked: Filter,
    order: Order,
    domains: Domains,
    size: int,
    after: Place | None = None,
    before: Place | None = None,
) -> Page:
    """The part of the list after a place, or the one that ends before it; its start without."""
    seen = seen_domains(tx, asked=asked, domains=domains)
    wanted = _Asked(asked, order, seen, after or before, before is None, size + 1)
    walked, amount = _found(tx, wanted, counts.total(tx, asked=asked, domains=seen))
    shown = walked.found[:size]
    more = len(walked.found) > size
    far = shown[-1] if more else walked.end
    near = _near(wanted, shown) if wanted.place else None
    shown = shown if wanted.forward else shown[::-1]
    return Page(
        rows=rows(tx, ids=[one.id for one in shown]),
        amount=amount,
        previous=near if wanted.forward else far,
        next=far if wanted.forward else near,
        looked_at=0 if more or walked.end is None else WALKED,
    )


def _near(asked: _Asked, shown: list[Place]) -> Place | None:
    """Where the list goes on in the other direction: an empty part must not swallow its place."""
    if shown or asked.place is None:
        return shown[0] if shown else None
    return asked.place._replace(id=asked.place.id + (-1 if asked.is_descending else 1))


def seen_domains(tx: Tx, *, asked: Filter, domains: Domains) -> list[str]:
    """The domains a filter means, of those that may be seen."""
    known = all_domains(tx) if domains is None else sorted(domains)
    return [one for one in known if asked.domain in {None, one}]


def matching(asked: Filter, *, domains: Sequence[str]) -> list[ColumnElement[bool]]:
    """A filter as conditions on examples; but for its words, which are in a table of their own."""
    return [examples.c.domain.in_(domains), *_on(examples, asked)]


def has_words(text: str, id_: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether one example answers a search, looked up by its id."""
    found = select(words.matches(text)).where(example_words.c.example_id == id_)
    return func.coalesce(found.scalar_subquery(), false())


def _found(tx: Tx, asked: _Asked, total: int) -> tuple[_Walked, Amount]:
    if not total:
        return _Walked([], None), Amount(0, is_exact=True)
    if not _needs_a_look(asked):
        return _walk(tx, asked, budget=None), _amount(tx, asked, total)
    narrow = _narrow(tx, asked)
    if narrow is not None:
        return _gather(tx, asked, narrow)
    budget = max(asked.limit, WALKED // len(asked.domains))
    return _walk(tx, asked, budget=budget), Amount(total, is_exact=False)


def _needs_a_look(asked: _Asked) -> bool:
    """Whether the order's index alone does not tell which examples are meant."""
    one = asked.filter
    named = (one.source, one.topic, one.difficulty, one.reason, one.text)
    if asked.order.is_by_quality:
        return any(x is not None for x in (*named, one.state, one.captured_from, one.captured_to))
    if one.state is State.CANDIDATE:
        return True
    return any(x is not None for x in (*named, one.quality_from, one.quality_to))


def _in_order(asked: _Asked, domain: ColumnElement[str]) -> Select[Any]:
    """The examples of a domain in the order of an index, with what that index tells."""
    one, kept = asked.filter, examples.c
    conditions = [kept.domain == domain, asked.behind(asked.key, kept.id)]
    if asked.order.is_by_quality:
        conditions += [kept.quality.is_not(None), *_quality(examples, one)]
    else:
        # Without it being written down, the index of decided examples would not be taken.
        decided = one.state not in {None, State.CANDIDATE}
        conditions += [*_dates(examples, one), *(_state(examples, one) if decided else [])]
        conditions += [kept.state != CANDIDATE] if decided else []
    return (
        select(examples, asked.key.label("key"))
        .where(*conditions)
        .order_by(*asked.ordered(asked.key, kept.id))
    )


def _walk(tx: Tx, asked: _Asked, *, budget: int | None) -> _Walked:
    """Walk the index of each domain; with a budget, past at most so many examples of each."""
    listed = func.unnest(literal(asked.domains, ARRAY(Text))).table_valued(column("name", Text))
    names = listed.render_derived("names")
    in_order = _in_order(asked, names.c.name)
    if budget:
        part = _passing(asked, in_order.limit(budget).correlate(names).lateral("walked"))
    else:
        part = in_order.with_only_columns(examples.c.id, asked.key.label("key")).limit(asked.limit)
    found = _merged(tx, asked, names, part)
    if not budget:
        return _Walked(found, None)
    ends = [
        one
        for name in asked.domains
        for one in tx.execute(
            _in_order(asked, literal(name))
            .with_only_columns(examples.c.id, asked.key.label("key"))
            .offset(budget - 1)
            .limit(1)
        )
    ]
    if not ends:
        return _Walked(found, None)
    last = [_place(row) for row in ends]
    end = max(last) if asked.is_descending else min(last)
    return _Walked([one for one in found if asked.reaches(one, end)], end)


def _merged(tx: Tx, asked: _Asked, names: FromClause, part: Select[Any]) -> list[Place]:
    each = part.lateral("part")
    merged = (
        select(each.c.id, each.c.key)
        .select_from(names.join(each, true()))
        .order_by(*asked.ordered(each.c.key, each.c.id))
        .limit(asked.limit)
    )
    return [_place(row) for row in tx.execute(merged)]


def _passing(asked: _Asked, walked: FromClause) -> Select[Any]:
    """Those of the walked that the whole filter means; looked at one by one, in order."""
    conditions = _on(walked, asked.filter)
    if asked.filter.text is not None:
        conditions.append(has_words(asked.filter.text, walked.c.id))
    return (
        select(walked.c.id, walked.c.key)
        .where(*conditions)
        .order_by(*asked.ordered(walked.c.key, walked.c.id))
        .limit(asked.limit)
    )


class _Narrow(NamedTuple):
    """A condition that leaves few examples, and whether it is the filter's words."""

    condition: ColumnElement[bool]
    is_words: bool = False


def _gather(tx: Tx, asked: _Asked, narrow: _Narrow) -> tuple[_Walked, Amount]:
    """All that the filter means, counted; then the part that is asked for."""
    kept, text = examples.c, asked.filter.text
    by_quality = [kept.quality.is_not(None)] if asked.order.is_by_quality else []
    searched = [] if text is None or narrow.is_words else [has_words(text, kept.id)]
    meant = select(kept.id, asked.key.label("key")).where(
        narrow.condition, *matching(asked.filter, domains=asked.domains), *by_quality, *searched
    )
    all_ = meant.cte("gathered").prefix_with("MATERIALIZED")
    part = (
        select(all_.c.id, all_.c.key)
        .where(asked.behind(all_.c.key, all_.c.id))
        .order_by(*asked.ordered(all_.c.key, all_.c.id))
        .limit(asked.limit)
        .subquery("part")
    )
    total = select(func.count()).select_from(all_).scalar_subquery()
    once = select(literal(1).label("one")).subquery("once")
    rows = tx.execute(
        select(part.c.id, part.c.key, total.label("n"))
        .select_from(once.outerjoin(part, true()))
        .order_by(*asked.ordered(part.c.key, part.c.id))
    ).all()
    places = [_place(row) for row in rows if row.id is not None]
    return _Walked(places, None), Amount(rows[0].n, is_exact=True)


def _narrow(tx: Tx, asked: _Asked) -> _Narrow | None:
    """The part of the filter that leaves few examples; None: no part does."""
    one, kept, seen = asked.filter, examples.c, asked.domains

    def few(**part: Any) -> bool:
        return counts.total(tx, asked=Filter(**part), domains=seen) <= GATHERED

    if one.reason is not None and few(reason=one.reason):
        return _Narrow(and_(*_reason(examples, one), kept.domain.in_(seen)))
    if one.source not in {None, Source.CAPTURED} and few(source=one.source):
        imported = kept.source == one.source, kept.source != CAPTURED
        return _Narrow(and_(*imported, kept.domain.in_(seen)))
    cell = {name: getattr(one, name) for name in ("state", "topic", "difficulty")}
    if any(cell.values()) and few(**cell):
        cells = _cells(tx, Filter(**cell), seen)
        return None if cells is None else _Narrow(cells)
    for part in (_dates(examples, one), _quality(examples, one)):
        if part and _are_few(tx, select(kept.id).where(kept.domain.in_(seen), *part)):
            return _Narrow(and_(*part))
    return None if one.text is None else _answers(tx, one.text)


def _answers(tx: Tx, text: str) -> _Narrow | None:
    """The examples that hold these words; None when they are many."""
    found = select(example_words.c.example_id).where(words.matches(text)).limit(GATHERED + 1)
    ids = list(tx.scalars(found))
    if len(ids) > GATHERED:
        return None
    listed = literal(ids, ARRAY(BigInteger))
    return _Narrow(examples.c.id == func.any(listed), is_words=True)


def _cells(tx: Tx, cell: Filter, domains: Sequence[str]) -> ColumnElement[bool] | None:
    """The cells that are meant, each by its name; None when those are many."""
    kept = examples.c
    if cell.topic is None and cell.difficulty is None:
        return and_(kept.domain.in_(domains), *_state(examples, cell))
    found = counts.cells(tx, asked=cell, domains=domains, limit=MOST_CELLS + 1)
    if len(found) > MOST_CELLS:
        return None
    named = tuple_(kept.domain, kept.state, kept.topic, kept.difficulty)
    return named.in_([one[:4] for one in found])


def _are_few(tx: Tx, ids: Select[Any]) -> bool:
    capped = ids.limit(GATHERED + 1).subquery("capped")
    return (tx.scalar(select(func.count()).select_from(capped)) or 0) <= GATHERED


def _amount(tx: Tx, asked: _Asked, total: int) -> Amount:
    """How many a list holds that is only cut by its order's index."""
    one, kept = asked.filter, examples.c
    cut = [*_dates(examples, one), *_quality(examples, one)]
    if not cut and not asked.order.is_by_quality:
        return Amount(total, is_exact=True)
    scored = [kept.quality.is_not(None)] if asked.order.is_by_quality else []
    ids = select(kept.id).where(*matching(one, domains=asked.domains), *cut, *scored)
    capped = ids.limit(GATHERED + 1).subquery("capped")
    n = tx.scalar(select(func.count()).select_from(capped)) or 0
    return Amount(n, is_exact=True) if n <= GATHERED else Amount(total, is_exact=False)


def _on(kept: FromClause, asked: Filter) -> list[ColumnElement[bool]]:
    """All of a filter but its domain and its words."""
    equal = [
        kept.c[name] == getattr(asked, name)
        for name in ("source", "topic", "difficulty")
        if getattr(asked, name) is not None
    ]
    each = (_state, _reason, _quality, _dates)
    return [*equal, *(condition for part in each for condition in part(kept, asked))]


def _state(kept: FromClause, asked: Filter) -> list[ColumnElement[bool]]:
    # Written out: a plan for any state could not take an index of some.
    return [] if asked.state is None else [kept.c.state == _STATES[asked.state]]


def _reason(kept: FromClause, asked: Filter) -> list[ColumnElement[bool]]:
    if asked.reason is None:
        return []
    begins = func.left(kept.c.reason, literal_column(str(LONGEST_REASON)))
    return [
        kept.c.reason.is_not(None),
        begins == asked.reason[:LONGEST_REASON],
        *(
            []
            if len(asked.reason) < LONGEST_REASON
            else [kept.c.reason.startswith(asked.reason, autoescape=True)]
        ),
    ]


def _quality(kept: FromClause, asked: Filter) -> list[ColumnElement[bool]]:
    # As it is stored: 0.7 in seven digits is not 0.7 in sixteen.
    bounds = []
    if asked.quality_from is not None:
        bounds.append(kept.c.quality >= cast(literal(asked.quality_from), REAL))
    if asked.quality_to is not None:
        bounds.append(kept.c.quality <= cast(literal(asked.quality_to), REAL))
    return [kept.c.quality.is_not(None), *bounds] if bounds else []


def _dates(kept: FromClause, asked: Filter) -> list[ColumnElement[bool]]:
    bounds = []
    if asked.captured_since is not None:
        bounds.append(kept.c.captured_at >= asked.captured_since)
    if asked.captured_before is not None:
        bounds.append(kept.c.captured_at < asked.captured_before)
    return bounds


def _place(row: Any) -> Place:
    key = row.key.timestamp() if isinstance(row.key, datetime) else float(row.key)
    return Place(key, row.id)


def rows(tx: Tx, *, ids: Sequence[int]) -> list[Row]:
    """These examples as a list shows them, in this order; those that are gone are left out."""
    kept = examples.c
    whole = func.coalesce(example_bodies.c.payload["outputs"]["problem"].as_string(), "")
    begins = func.left(whole, SHOWN).concat("\N{HORIZONTAL ELLIPSIS}")
    problem = case((func.length(whole) > SHOWN, begins), else_=whole)
    columns = [kept[name] for name in Row._fields if name != "problem"]
    found = tx.execute(
        select(*columns, problem)
        .join(example_bodies, example_bodies.c.example_id == kept.id)
        .where(kept.id.in_(ids))
    )
    by_id = {row.id: Row(*row) for row in found}
    return [by_id[one] for one in ids if one in by_id]
