"""Pruning on a real database: reasons on record, floors kept, also by many at once."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from tdsys.core.example import Cell, Source
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.pruning import Leaving, Limit
from tdsys.core.rubric import Decision, decide
from tdsys.core.sections import CellException, Cells, Lifecycle, Purges
from tdsys.stages import auditing, clustering, curation, policies, pruning
from tdsys.store import Store, Tx, burials, examples, pins, programs, prunings, retirements
from tests.commanding import Shell, one_line
from tests.factories import (
    NOW,
    PROBLEM,
    make_assessment,
    make_capture,
    make_captures,
    make_verdict,
)
from tests.stored import LEASE, admit, claim, count, enqueue, freeze, ingest, keep
from tests.stored import decide as recorded

LATER = NOW + timedelta(days=40)
OLD = "lifecycle.retire_after_days is 30"


def admitted(
    tx: Tx, *values: float, topic: str = "sums", difficulty: str = "easy", by: str = ""
) -> list[int]:
    """Examples with these qualities, admitted by the default policy; their ids."""
    first = count(tx, "examples")
    inputs = {"topic": topic, "difficulty": difficulty}
    ingest(tx, [make_capture(domain="sums", inputs=inputs, outputs={**PROBLEM, "answer": str(n)})
                for n in range(first, first + len(values))])  # fmt: skip
    claimed = claim(tx)
    for candidate, value in zip(claimed, values, strict=True):
        answer = make_assessment(value)
        decision = decide(make_verdict(), answer, Policy(admit_quality=0))
        if by:
            decision = Decision(move=Move.REVIEW, reason="unsure", quality=value)
        assert recorded(tx, candidate, decision, answer=answer)
        if by:
            examples.move(tx, example_id=candidate.id, move=Move.APPROVE, reason="fine", detail="",
                          actor=by, policy_version=1, now=NOW)  # fmt: skip
    return [candidate.id for candidate in claimed]


def put(store: Store, **policy: Any) -> None:
    policies.put(store, domain="sums", author="ann", now=NOW,
                 policy=Policy.model_validate({"min_examples": 30, **policy}))  # fmt: skip


def prune(store: Store, *, now: datetime = LATER, **more: Any) -> dict[str, int]:
    done = pruning.prune(store, domain="sums", actor="lifecycle", clock=lambda: now, **more)
    return pruning.reasons(done.cuts)


def states(store: Store) -> dict[int, str]:
    with store.begin() as tx:
        rows = tx.exec_driver_sql("SELECT id, state FROM examples ORDER BY id").all()
    return {row.id: row.state for row in rows}


def retired(store: Store) -> list[int]:
    return [one for one, state in states(store).items() if state == "retired"]


def transitions(store: Store) -> list[tuple[object, ...]]:
    query = """SELECT example_id, move, reason, detail, actor, policy_version FROM transitions
               WHERE to_state = 'retired' ORDER BY id"""
    with store.begin() as tx:
        return [tuple(row) for row in tx.exec_driver_sql(query)]


def test_nothing_is_retired_unless_the_policy_says_so(store: Store) -> None:
    with store.begin() as tx:
        admitted(tx, *[0.8] * 40)
    assert prune(store) == {}
    assert pruning.prune_due(store, clock=lambda: LATER) == []


@pytest.mark.criterion("6.3")
def test_above_the_cap_the_worst_go_and_of_those_the_oldest(store: Store) -> None:
    with store.begin() as tx:
        ids = admitted(tx, *[0.9] * 30, 0.75, 0.8, 0.75, 0.95)
    put(store, lifecycle=Lifecycle(max_admitted=31))
    assert prune(store) == {"over_cap": 3}
    assert retired(store) == [ids[30], ids[31], ids[32]]
    why = ("quality 0.75, the lowest of 34 in sums, easy, of 34 admitted; "
           "lifecycle.max_admitted is 31")  # fmt: skip
    assert transitions(store)[0] == (ids[30], "retire", "over_cap", why, "lifecycle", 2)
    assert prune(store) == {}
    assert all(one.holds for one in auditing.audit(store, lease=LEASE, now=NOW))


def test_what_is_older_than_the_policy_says_goes_down_to_what_a_version_needs(
    store: Store,
) -> None:
    with store.begin() as tx:
        ids = admitted(tx, *[0.9] * 35)
    put(store, lifecycle=Lifecycle(retire_after_days=30))
    assert prune(store, now=NOW + timedelta(days=29)) == {}
    assert prune(store) == {"too_old": 5}
    assert retired(store) == ids[:5]
    assert {row[3] for row in transitions(store)} == {f"stored 2026-11-22, {OLD}"}


@pytest.mark.criterion("6.2")
def test_a_cell_keeps_its_minimum_however_bad_its_examples_are(store: Store) -> None:
    with store.begin() as tx:
        bad = admitted(tx, *[0.75] * 4, difficulty="hard")
        odd = admitted(tx, *[0.8] * 3, topic="angles")
        admitted(tx, *[0.9] * 40)
    most = CellException(topic="sums", difficulty="easy", min=31)
    put(store, topics=["sums"], difficulties=["easy", "hard"],
        cells=Cells(min=3, exceptions=(most,)), lifecycle=Lifecycle(max_admitted=33))  # fmt: skip
    (stays,) = pruning.foreseen(store, domain="sums", clock=lambda: LATER).stays
    assert stays.startswith("lifecycle.max_admitted is 33; 34 stay: minima")
    assert prune(store) == {"over_cap": 13}
    assert set(bad) & set(retired(store)) == {bad[0]}
    assert set(odd) <= set(retired(store))


@pytest.mark.criterion("6.3")
def test_what_a_person_approved_goes_after_what_nobody_did(store: Store) -> None:
    with store.begin() as tx:
        approved = admitted(tx, *[0.71] * 3, by="bo")
        others = admitted(tx, *[0.9] * 32)
    put(store, lifecycle=Lifecycle(max_admitted=30))
    prune(store)
    assert retired(store) == others[:5]
    for example_id in others[5:]:
        curation.move(store, example_id=example_id, move=Move.RETIRE, reason="no", actor="bo",
                      now=NOW)  # fmt: skip
    assert prune(store) == {}
    with store.begin() as tx:
        more = admitted(tx, *[0.9] * 30, by="bo")
    prune(store)
    assert set(retired(store)) & {*approved, *more} == set(approved)


def test_both_rules_together_take_what_each_would(store: Store) -> None:
    with store.begin() as tx:
        admitted(tx, *[0.9] * 10)
    with store.begin() as tx:
        tx.exec_driver_sql("UPDATE examples SET created_at = created_at - interval '60 days'")
        admitted(tx, 0.72, *[0.9] * 40)
    put(store, lifecycle=Lifecycle(retire_after_days=30, max_admitted=38))
    would = pruning.foreseen(store, domain="sums", clock=lambda: NOW)
    assert retired(store) == []
    done = prune(store, now=NOW)
    assert done == pruning.reasons(would.cuts) == {"too_old": 10, "over_cap": 3}
    assert 11 in retired(store)


def test_what_a_run_or_the_active_program_learns_from_stays_until_it_is_superseded(
    store: Store,
) -> None:
    with store.begin() as tx:
        learned = admitted(tx, *[0.7] * 36)
        version = freeze(tx, domain="sums")
        enqueue(tx, version)
        more = admitted(tx, *[0.9] * 4)
    put(store, lifecycle=Lifecycle(max_admitted=31))
    said = "lifecycle.max_admitted is 31; 36 stay: minima, what the active program or a run learns"
    assert pruning.foreseen(store, domain="sums", clock=lambda: NOW).stays[0].startswith(said)
    assert (prune(store), retired(store)) == ({"over_cap": 4}, more)
    with store.begin() as tx:
        tx.exec_driver_sql("UPDATE runs SET state = 'failed', due_at = NULL, finished_at = now()")
        first = keep(tx, version)
    assert prune(store) == {}
    with store.begin() as tx:
        tx.exec_driver_sql("UPDATE programs SET active = false")
    assert prune(store) == {"over_cap": 5}
    assert retired(store) == sorted([*more, *learned[:5]])
    with store.begin() as tx:
        (program,) = programs.programs(tx, domain="sums")
    assert (program.id, program.stale) == (first, True)


def test_many_who_prune_at_once_break_no_floor(store: Store) -> None:
    with store.begin() as tx:
        admitted(tx, *[0.9] * 60)
        admitted(tx, *[0.75] * 60, difficulty="hard")
    put(store, topics=["sums"], difficulties=["easy", "hard"], cells=Cells(min=20),
        lifecycle=Lifecycle(retire_after_days=30, max_admitted=50))  # fmt: skip
    with ThreadPoolExecutor(6) as threads:
        done = list(threads.map(lambda _: prune(store), range(12)))
    left = Counter(states(store).values())
    assert left["admitted"] == 40
    assert sum(sum(one.values()) for one in done) == left["retired"] == 80


@pytest.mark.criterion("6.3")
def test_pruning_is_shown_and_done_by_command(store: Store, tdsys: Shell) -> None:
    assert tdsys("prune", "--dry-run").out.startswith("there is no domain yet")
    with store.begin() as tx:
        admitted(tx, *[0.9] * 33)
        freeze(tx, domain="sums")
    put(store, lifecycle=Lifecycle(max_admitted=31))
    said = tdsys("prune")
    assert (said.code, "--dry-run" in one_line(said)) == (2, True)
    shown = tdsys("prune", "--dry-run").out
    assert shown.startswith("sums, policy version 2: would retire 2 over_cap\n")
    assert re.search(r"sums +│ easy +│ 33 +│ over_cap +│ 2 +│ 0.00 │ quality 0.90, the low", shown)
    (told,) = tdsys("prune", "--dry-run", "--json").document
    assert sum(told["losses"].values()) == 2
    assert "the dataset version in force holds " in shown
    assert retired(store) == []
    (told,) = tdsys("prune", "--domain", "sums", "--yes", "--json").document
    assert told["cuts"][0]["because"].endswith("of 33 admitted; lifecycle.max_admitted is 31")
    assert (told["reasons"], told["applied"]) == ({"over_cap": 2}, True)
    assert len(retired(store)) == 2
    put(store, lifecycle=Lifecycle(purge_after_days=Purges(retired=1)))
    with store.begin() as tx:
        tx.exec_driver_sql("UPDATE examples SET moved_at = moved_at - interval '9 days'")
    shown = tdsys("prune", "--dry-run").out
    assert shown.endswith("would retire nothing\n  would delete for good: 2 retired\n")
    (told,) = tdsys("prune", "--yes", "--json").document
    assert (told["purged"], retired(store)) == ({"retired": 2}, [])
    assert tdsys("prune", "--yes").out.endswith("retired nothing\n")
    assert tdsys("prune", "--domain", "none", "--yes").code == 2


def test_what_is_pinned_is_never_too_old_and_goes_last(store: Store, tdsys: Shell) -> None:
    with store.begin() as tx:
        ids = admitted(tx, 0.71, 0.72, *[0.9] * 33)
    said = tdsys("examples", "pin", str(ids[0]), str(ids[1]), "9999", "--reason", "the best joke")
    assert (said.code, said.out.count("pinned")) == (2, 2)
    put(store, lifecycle=Lifecycle(retire_after_days=30))
    assert prune(store) == {"too_old": 5}
    with store.begin() as tx:
        admitted(tx, *[0.9] * 3)
    assert tdsys("examples", "unpin", str(ids[1])).code == 0
    put(store, lifecycle=Lifecycle(max_admitted=31))
    assert prune(store) == {"over_cap": 2}
    assert ids[0] not in retired(store)
    assert ids[1] in retired(store)
    back = tdsys("examples", "restore", str(ids[1]), "--reason", "it is good")
    assert back.out == f"example {ids[1]}: candidate\n"


@pytest.mark.criterion("6.1")
def test_each_source_has_an_age_of_its_own(store: Store) -> None:
    with store.begin() as tx:
        ids = admitted(tx, *[0.9] * 40)
        tx.exec_driver_sql("UPDATE examples SET source = 'synthetic' WHERE id <= 5")
    put(store, lifecycle=Lifecycle(retire_sources={Source.SYNTHETIC: 7}))
    assert prune(store, now=NOW + timedelta(days=6)) == {}
    assert prune(store) == {"too_old": 5}
    assert retired(store) == ids[:5]
    said = "stored 2026-11-22, lifecycle.retire_sources.synthetic is 7"
    assert {row[3] for row in transitions(store)} == {said}


@pytest.mark.criterion("6.3")
def test_what_examples_hold_is_limited_like_their_number(store: Store) -> None:
    with store.begin() as tx:
        ids = admitted(tx, 0.7, 0.7, *[0.9] * 38)
        sizes = tx.exec_driver_sql(
            "SELECT sum(size), sum(octet_length(payload::text)) FROM examples "
            "JOIN example_bodies ON example_id = id"
        ).one()
    assert sizes[0] == sizes[1]
    put(store, lifecycle=Lifecycle(max_megabytes=(sizes[0] - 300) / 1_000_000))
    assert prune(store) == {"over_bytes": 2 if sizes[0] / 40 < 300 else 1}
    assert set(retired(store)) <= set(ids[:2])
    (why, *_) = [row[3] for row in transitions(store)]
    assert re.fullmatch(r"quality 0.70, the lowest of 40 in sums, easy, of 0.0 MB admitted; "
                        r"lifecycle.max_megabytes is [\d.]+", str(why))  # fmt: skip


def test_of_near_duplicates_only_so_many_stay(store: Store) -> None:
    with store.begin() as tx:
        ids = admitted(tx, *[0.75] * 3, *[0.9] * 40)
    with store.begin() as tx:
        found = examples.admitted(tx, domain="sums")
    clustering.place(store, domain="sums", examples=found)
    put(store, lifecycle=Lifecycle(max_alike=41))
    assert prune(store) == {"too_alike": 2}
    assert retired(store) == ids[:2]


@pytest.mark.criterion("6.3")
def test_a_limit_on_all_domains_is_shared_so_that_all_their_cells_are_level(store: Store) -> None:
    with store.begin() as tx:
        admitted(tx, *[0.9] * 60)
        admit(tx, make_captures(100, domain="ratios"))
        admit(tx, make_captures(35, domain="few"))
    put(store)
    all_of_them = [Limit("TDSYS_MAX_ADMITTED", number=140)]
    done = pruning.prune_due(store, clock=lambda: NOW, total=all_of_them)
    assert {one.domain: pruning.reasons(one.cuts) for one in done} == {
        "few": {}, "ratios": {"over_cap": 47}, "sums": {"over_cap": 8}}  # fmt: skip
    said = "of 60 admitted; the share of TDSYS_MAX_ADMITTED is 52"
    assert {row[3] for row in transitions(store) if "in sums" in str(row[3])} >= {
        f"quality 0.90, the lowest of 60 in sums, easy, {said}"}  # fmt: skip


def test_whoever_prunes_later_goes_on_instead(store: Store) -> None:
    with store.begin() as tx:
        admitted(tx, *[0.9] * 40)
    put(store, lifecycle=Lifecycle(max_admitted=35))
    with store.begin() as tx:
        token = prunings.begin(tx, domain="sums", actor="bo", now=NOW)
        assert prunings.is_ours(tx, domain="sums", token=token)
    assert prune(store) == {"over_cap": 5}
    with store.begin() as tx:
        assert not prunings.is_ours(tx, domain="sums", token=token)


def test_what_changes_while_it_goes_on_is_respected(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    with store.begin() as tx:
        all_ = admitted(tx, *[0.9] * 40)

    def a_run_begins(done: int, _: int) -> None:
        if done == 2:
            with store.begin() as tx:
                enqueue(tx, freeze(tx, domain="sums"))

    def another_policy_is_put(done: int, _: int) -> None:
        if done == 2:
            put(store)

    put(store, lifecycle=Lifecycle(max_admitted=30))
    assert prune(store, tell=another_policy_is_put) == {"over_cap": 2}
    put(store, lifecycle=Lifecycle(max_admitted=30))
    assert prune(store, tell=a_run_begins) == {"over_cap": 2}
    assert len(retired(store)) == 4
    assert set(retired(store)) < set(all_)


def test_what_is_pinned_while_it_waits_to_be_deleted_stays(store: Store) -> None:
    with store.begin() as tx:
        one, other = admitted(tx, 0.9, 0.9)
        gone = [Leaving(n, Cell("sums", "easy"), 1, "too_old", "d") for n in (one, other)]
        retirements.retire(tx, leaving=gone, actor="ann", policy_version=1, now=NOW)
        pins.put(tx, example_ids=[one], actor="bo", reason="the only one of its kind", now=NOW)
        assert burials.purge(tx, ids=[one, other], actor="ann", reason="r", now=NOW) == 1
    assert list(states(store)) == [one]
