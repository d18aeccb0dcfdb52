"""Lists of examples: any filter, any order, forwards and backwards, nothing missed or doubled."""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from tdsys.core.browsing import Filter, Order, Place
from tdsys.core.lifecycle import Move
from tdsys.errors import InvalidInput
from tdsys.stages import browsing, curation
from tdsys.store import Store, counts, invariants, words
from tdsys.store import browsing as stored
from tdsys.store.browsing import Page
from tests.factories import NOW, PROBLEM, make_capture, make_captures
from tests.many import fill
from tests.stored import admit, freeze, ingest, keep

FILTERS: list[dict[str, Any]] = [
    {},
    {"domain": "domain 1"},
    {"state": "parked"},
    {"state": "candidate", "source": "imported"},
    {"domain": "domain 0", "state": "in_review", "difficulty": "hard"},
    {"topic": "topic 3"},
    {"reason": "low_1"},
    {"reason": "a rare one"},
    {"quality_from": 0.3, "quality_to": 0.31},
    {"quality_from": 0.5, "topic": "topic 5", "state": "rejected"},
    {"text": "marmalade"},
    {"text": "bakery regat", "source": "manual"},
    {"captured_from": date(2026, 11, 21), "captured_to": date(2026, 11, 21), "topic": "topic 7"},
    {"topic": "no such topic"},
]


def page(store: Store, order: Order = Order.NEWEST, size: int = 50, **given: Any) -> Page:
    where = {name: given.pop(name) for name in ("after", "before", "domains") if name in given}
    where.setdefault("domains", None)
    return browsing.page(store, asked=Filter(**given), order=order, size=size, **where)


def forwards(store: Store, order: Order, size: int = 50, **asked: Any) -> list[int]:
    found, after = [], None
    while True:
        one = page(store, order, size, after=after, **asked)
        found += [row.id for row in one.rows]
        if (after := one.next) is None:
            return found


def backwards(store: Store, order: Order, start: Place, size: int = 50, **asked: Any) -> list[int]:
    found: list[int] = []
    before: Place | None = start
    while before is not None:
        one = page(store, order, size, before=before, **asked)
        found = [row.id for row in one.rows] + found
        before = one.previous
    return found


def meant(store: Store, order: Order, asked: Filter) -> list[int]:
    """What a filter means, asked plainly of all rows."""
    conditions, given = ["true"], dict[str, Any]()
    for name in ("domain", "state", "source", "topic", "difficulty", "reason"):
        if (value := getattr(asked, name)) is not None:
            conditions.append(f"e.{name} = :{name}")
            given[name] = value
    for name, sign, value in (
        ("quality", ">= :a::real", asked.quality_from),
        ("quality", "<= :b::real", asked.quality_to),
        ("captured_at", ">= :c", asked.captured_since),
        ("captured_at", "< :d", asked.captured_before),
    ):
        if value is not None:
            conditions.append(f"{name} {sign.replace('::', chr(92) + ':' + chr(92) + ':')}")
            given[sign.split(":")[1]] = value
    for n, word in enumerate((asked.text or "").split()):
        conditions.append(f"b.payload -> 'outputs' ->> 'problem' ~* :w{n}")
        given[f"w{n}"] = r"\m" + word
    if order.is_by_quality:
        conditions.append("quality IS NOT NULL")
    ranked = {"newest": "captured_at DESC, id DESC", "best": "quality DESC, id DESC",
              "worst": "quality, id"}[order]  # fmt: skip
    query = f"""SELECT id FROM examples e JOIN example_bodies b ON b.example_id = e.id
                WHERE {" AND ".join(conditions)} ORDER BY {ranked}"""  # noqa: S608  # a test's
    with store.begin() as tx:
        return list(tx.scalars(text(query), given))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few may be gathered or walked that both ways are gone."""
    monkeypatch.setattr(stored, "GATHERED", 60)
    monkeypatch.setattr(stored, "WALKED", 900)


@pytest.mark.parametrize("is_narrow", [False, True])
def test_every_filter_in_every_order_shows_what_it_means_both_ways(
    store: Store,
    is_narrow: bool,  # noqa: FBT001
    request: pytest.FixtureRequest,
) -> None:
    if is_narrow:
        request.getfixturevalue("narrow")
    fill(store, 4000, domains=4)
    end = {Order.NEWEST: Place(0, 0), Order.BEST: Place(-1, 0), Order.WORST: Place(9, 0)}
    for asked, order in itertools.product(FILTERS, Order):
        expected = meant(store, order, Filter(**asked))
        size = 50 if len(expected) < 500 else 700
        assert forwards(store, order, size, **asked) == expected, (asked, order)
        assert backwards(store, order, end[order], size, **asked) == expected, (asked, order)


@pytest.mark.usefixtures("narrow")
def test_counts_are_exact_where_that_is_cheap_and_say_so_where_not(store: Store) -> None:
    fill(store, 2000, domains=2)
    assert page(store).amount == (2000, True)
    assert page(store, state="in_review", domain="domain 1").amount.is_exact
    assert page(store, text="marmalade").amount == (0, True)
    assert page(store, text="bakery", source="captured").amount == (1700, False)
    assert page(store, reason="a rare one").amount == (1, True)
    assert page(store, topic="none").amount == (0, True)


@pytest.mark.parametrize("order", Order)
def test_what_arrives_meanwhile_moves_nothing(store: Store, order: Order) -> None:
    fill(store, 300, domains=2)
    first = page(store, order, 20)
    fill(store, 100, domains=2)
    assert first.next
    second = page(store, order, 20, after=first.next)
    assert second.previous
    again = page(store, order, 20, before=second.previous)
    with store.begin() as tx:
        old = set(tx.scalars(text("SELECT id FROM examples ORDER BY id LIMIT 300")))
    shown = [row.id for row in (*first.rows, *second.rows)]
    assert len(set(shown)) == 40
    assert again.rows[-1].id == first.rows[-1].id
    assert {row.id for row in first.rows} <= old


def test_an_end_that_was_left_behind_leads_back(store: Store) -> None:
    fill(store, 30, domains=1)
    last = page(store, size=30)
    assert last.next is None
    beyond = page(store, after=Place(0, 0))
    assert (beyond.rows, beyond.next) == ([], None)
    assert beyond.previous
    assert len(page(store, before=beyond.previous).rows) == 30


def test_nobody_sees_a_domain_that_is_not_his(store: Store) -> None:
    with store.begin() as tx:
        (own,) = admit(tx, make_captures(1, domain="mine"))
        (other,) = admit(tx, make_captures(1, domain="theirs"))
    with store.begin() as tx:
        words.index(tx, limit=10, now=NOW)
    asks: list[dict[str, Any]] = [
        {},
        {"domain": "theirs"},
        {"text": "bakery"},
        {"topic": "multiplication"},
    ]
    for asked in asks:
        for order in Order:
            found = page(store, order, domains=["mine"], **asked)
            assert {row.domain for row in found.rows} <= {"mine"}
            assert found.amount.n == len(found.rows)
    assert page(store, domains=[]).rows == []
    assert browsing.choices(store, asked=Filter(), domains=["mine"])["domain"] == ["mine"]
    assert browsing.example(store, example_id=own, domains=["mine"]).example.domain == "mine"
    with pytest.raises(InvalidInput, match=f"no example {other}"):
        browsing.example(store, example_id=other, domains=["mine"])


def test_words_follow_what_is_stored(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(3))
    assert browsing.not_searchable(store) == 3
    assert page(store, text="bakery").rows == []
    assert browsing.catch_up(store, clock=lambda: NOW).indexed == 3
    assert browsing.not_searchable(store) == 0
    assert len(page(store, text="BAKERY 12 bun").rows) == 3
    assert page(store, text="bakery 1").rows == []
    assert browsing.catch_up(store, clock=lambda: NOW).indexed == 0


def test_what_was_committed_late_is_found_all_the_same(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1, domain="first"))
    with store.begin() as slow:
        ingest(slow, make_captures(1, domain="slow"))
        with store.begin() as tx:
            ingest(tx, make_captures(1, domain="quick"))
        assert browsing.catch_up(store, clock=lambda: NOW).indexed == 2
    assert browsing.catch_up(store, clock=lambda: NOW).indexed == 1
    browsing.catch_up(store, clock=lambda: NOW + timedelta(hours=1))
    with store.begin() as tx:
        assert tx.scalar(text("SELECT indexed_to FROM word_progress")) == 3


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.text(min_size=1, max_size=40).filter(lambda t: "\x00" not in t))
def test_no_search_is_an_error_of_the_database(store: Store, searched: str) -> None:
    try:
        asked = Filter.read({"text": searched})
    except InvalidInput:
        return
    browsing.page(store, asked=asked, order=Order.NEWEST, domains=None, size=5)


@pytest.mark.parametrize(
    "given",
    [{"state": "gone"}, {"quality_from": "much"}, {"domain": "a\x00"}, {"what": "x"},
     {"captured_from": "soon"}, {"text": "..."}, {"text": "a " * 13}, {"quality_to": "nan"}],
)  # fmt: skip
def test_a_filter_that_is_not_understood_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        Filter.read(given)


def test_a_filter_reads_what_it_wrote() -> None:
    asked = Filter.read({"text": "two words", "quality_from": "0.25", "state": "parked",
                         "captured_to": "2026-11-02", "topic": ""})  # fmt: skip
    assert Filter.read(asked.written()) == asked
    assert "topic" not in asked.written()


def test_an_example_is_told_with_all_that_happened_to_it(store: Store) -> None:
    with store.begin() as tx:
        one, *_ = admit(tx, make_captures(9))
        other = {**PROBLEM, "problem": PROBLEM["problem"].replace("12", "15")}
        ingest(tx, [make_capture(outputs=other)])
        version = freeze(tx)
        uid = tx.scalars(text("SELECT encode(fingerprint, 'hex') FROM examples WHERE id = :id"),
                         {"id": one}).one()  # fmt: skip
        program = keep(tx, version, envelope={"demos": [{"uid": uid, "role": "labeled"}]})
    browsing.catch_up(store, clock=lambda: NOW)
    curation.move(store, example_id=one, move=Move.FLAG, reason="odd", actor="bo", now=NOW)
    told = browsing.example(store, example_id=one, domains=None)
    whole = told.example
    assert [(s.kind, s.outcome) for s in whole.scores] == [
        ("verifier", "scored"), ("judge", "scored")]  # fmt: skip
    assert whole.scores[1].values["accuracy"] == pytest.approx(0.9)
    assert whole.scores[1].rationales["accuracy"] == "because"
    assert [(s.move, s.actor) for s in whole.steps] == [("admit", "test"), ("flag", "bo")]
    assert [(u.name, u.programs, u.demo_in) for u in whole.used] == [("1.0", [program], [program])]
    assert whole.moves == [Move.APPROVE, Move.REJECT, Move.REPLAY]
    assert len(told.near) == 9
    assert whole.outputs["problem"] == PROBLEM["problem"]


def test_counts_are_what_is_there_whatever_was_done(store: Store) -> None:
    fill(store, 500, domains=3)
    with store.begin() as tx:
        admit(tx, make_captures(20, domain="sums"))
        tx.execute(
            text("UPDATE examples SET reason = 'other' WHERE id % 5 = 0 AND state = 'parked'")
        )
        tx.execute(text("DELETE FROM examples WHERE id % 7 = 0"))
        counts.fold(tx)
        ingest(tx, make_captures(30, domain="sums"))
    with store.begin() as tx:
        kept = tx.execute(text(
            "SELECT domain, topic, difficulty, source, state, coalesce(reason, ''), count(*)"
            " FROM examples GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"))  # fmt: skip
        told = tx.execute(text(
            "SELECT domain, topic, difficulty, source, state, reason, sum(n) FROM example_counts"
            " GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(n) <> 0 ORDER BY 1, 2, 3, 4, 5, 6"))  # fmt: skip
        assert [tuple(r) for r in kept] == [tuple(r) for r in told]
        scored = tx.scalar(text("SELECT count(DISTINCT example_id) FROM scores"
                                " WHERE kind = 'judge' AND outcome = 'scored'"))  # fmt: skip
        spread = tx.scalar(text("SELECT sum(n) FROM score_counts WHERE dimension = 'coherence'"))
        assert scored == spread


def test_no_page_reads_all_rows(store: Store) -> None:
    fill(store, 20_000, domains=8)
    plans: list[str] = []

    def explained(conn: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        if not statement.startswith("EXPLAIN"):
            plans.append(_plan(conn, statement, given))

    engine = store._engine()
    event.listen(engine, "before_cursor_execute", explained)
    for asked, order in itertools.product(FILTERS, Order):
        page(store, order, 50, **asked)
    event.remove(engine, "before_cursor_execute", explained)
    scans = [plan for plan in plans if "Seq Scan on examples" in plan
             or "Seq Scan on example_words" in plan]  # fmt: skip
    assert len(plans) > len(FILTERS)
    assert not scans, scans[0]


def _plan(conn: Any, statement: str, given: Any) -> str:
    import psycopg  # noqa: PLC0415

    cursor = psycopg.ClientCursor(conn.connection.dbapi_connection)
    cursor.execute("EXPLAIN " + statement, given)
    return "\n".join(row[0] for row in cursor.fetchall())


def test_counts_that_went_astray_are_found(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3, domain="sums"))
        assert not invariants.check(tx, *invariants.COUNTS, overdue=NOW, farthest=NOW).broken
        tx.execute(text("UPDATE example_counts SET n = n + 1 WHERE state = 'admitted'"))
        found = invariants.check(tx, *invariants.COUNTS, overdue=NOW, farthest=NOW)
    assert found.samples == ("sums",)


def test_a_person_chooses_from_what_there_is_the_commonest_first(store: Store) -> None:
    fill(store, 400, domains=2)
    found = browsing.choices(store, asked=Filter(), domains=None)
    assert found["domain"] == ["domain 0", "domain 1"]
    assert sorted(found["difficulty"]) == ["easy", "hard", "medium"]
    assert found["reason"][0] == "meets_policy"
    assert len(found["topic"]) == 24
    within = browsing.choices(store, asked=Filter(domain="domain 1"), domains=["domain 1"])
    assert within["domain"] == ["domain 1"]
    assert set(within["topic"]) <= set(found["topic"])
