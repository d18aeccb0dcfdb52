"""Pruning on a real database: reasons on record, floors kept, also by many at once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import Decision, decide
from tdsys.core.sections import Cells, Lifecycle
from tdsys.stages import auditing, curation, policies, pruning
from tdsys.stages.pruning import Pruned
from tdsys.store import Store, Tx, examples, programs
from tests.commanding import Shell, one_line
from tests.factories import NOW, PROBLEM, make_assessment, make_capture, make_verdict
from tests.stored import LEASE, claim, count, enqueue, freeze, ingest, keep
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


def prune(store: Store, *, now: datetime = LATER) -> Pruned:
    return pruning.prune(store, domain="sums", actor="lifecycle", clock=lambda: now)


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
    assert prune(store).reasons == {}
    assert pruning.prune_due(store, clock=lambda: LATER) == []


@pytest.mark.criterion("6.3")
def test_above_the_cap_the_worst_go_and_of_those_the_oldest(store: Store) -> None:
    with store.begin() as tx:
        ids = admitted(tx, *[0.9] * 30, 0.75, 0.8, 0.75, 0.95)
    put(store, lifecycle=Lifecycle(max_admitted=31))
    assert prune(store).reasons == {"over_cap": 3}
    assert retired(store) == [ids[30], ids[31], ids[32]]
    why = "quality 0.75, of the lowest among 34 admitted, lifecycle.max_admitted is 31"
    assert transitions(store)[0] == (ids[30], "retire", "over_cap", why, "lifecycle", 2)
    assert prune(store).reasons == {}
    assert all(one.holds for one in auditing.audit(store, lease=LEASE, now=NOW))


def test_what_is_older_than_the_policy_says_goes_down_to_what_a_version_needs(
    store: Store,
) -> None:
    with store.begin() as tx:
        ids = admitted(tx, *[0.9] * 35)
    put(store, lifecycle=Lifecycle(retire_after_days=30))
    assert prune(store, now=NOW + timedelta(days=29)).reasons == {}
    assert prune(store).reasons == {"too_old": 5}
    assert retired(store) == ids[:5]
    assert {row[3] for row in transitions(store)} == {f"stored 2026-11-22, {OLD}"}


@pytest.mark.criterion("6.2")
def test_a_cell_keeps_its_minimum_however_bad_its_examples_are(store: Store) -> None:
    with store.begin() as tx:
        bad = admitted(tx, *[0.75] * 4, difficulty="hard")
        odd = admitted(tx, *[0.8] * 3, topic="angles")
        admitted(tx, *[0.9] * 40)
    put(store, topics=["sums"], difficulties=["easy", "hard"], cells=Cells(min=3),
        lifecycle=Lifecycle(max_admitted=33))  # fmt: skip
    assert prune(store).reasons == {"over_cap": 14}
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
    assert prune(store).reasons == {}
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
    assert done.reasons == would.reasons == {"too_old": 10, "over_cap": 3}
    assert 11 in retired(store)


def test_pruning_waits_while_a_run_learns(store: Store) -> None:
    with store.begin() as tx:
        admitted(tx, *[0.9] * 40)
        version = freeze(tx, domain="sums")
        enqueue(tx, version)
    put(store, lifecycle=Lifecycle(max_admitted=35))
    assert (prune(store).reasons, prune(store).waits_for is None) == ({}, False)
    with store.begin() as tx:
        tx.exec_driver_sql("UPDATE runs SET state = 'failed', due_at = NULL, finished_at = now()")
        keep(tx, version)
    assert prune(store).reasons == {"over_cap": 5}
    with store.begin() as tx:
        program = programs.incumbent(tx, domain="sums")
        assert program
        assert program.stale


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
    assert sum(sum(one.reasons.values()) for one in done) == left["retired"] == 80


@pytest.mark.criterion("6.3")
def test_pruning_is_shown_and_done_by_command(store: Store, tdsys: Shell) -> None:
    with store.begin() as tx:
        admitted(tx, *[0.9] * 33)
    put(store, lifecycle=Lifecycle(max_admitted=31))
    said = tdsys("lifecycle", "prune")
    assert (said.code, "--dry-run" in one_line(said)) == (2, True)
    shown = tdsys("lifecycle", "prune", "--dry-run").out
    assert shown == "sums, policy version 2: would retire 2 over_cap\n"
    assert retired(store) == []
    (told,) = tdsys("lifecycle", "prune", "--domain", "sums", "--yes", "--json").document
    assert (told["reasons"], told["applied"]) == ({"over_cap": 2}, True)
    assert len(retired(store)) == 2
    assert tdsys("lifecycle", "prune", "--yes").out.endswith("retired nothing\n")
    assert tdsys("lifecycle", "prune", "--domain", "none", "--yes").code == 2
