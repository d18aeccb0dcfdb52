"""Dataset versions on a real database: who stays, who comes, who left, and what they are called."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from sqlalchemy import text

from tdsys.core.dataset import Split
from tdsys.core.lifecycle import Move
from tdsys.core.versions import Leaving
from tdsys.errors import Conflict
from tdsys.stages import auditing, drafting, forgetting, planning
from tdsys.store import Store, datasets, examples, programs
from tdsys.store.datasets import DatasetVersion
from tests.commanding import Shell, one_line
from tests.factories import NOW, PROBLEM
from tests.scripted import Clock, ScriptedOptimizer
from tests.stepping import (
    LEASE,
    captured,
    program_of,
    put,
    ready,
    record,
    run,
    score,
)


def unlike(n: int) -> dict[str, Any]:
    """A record that is like no other."""
    words = [hashlib.sha256(f"{n} {place}".encode()).hexdigest()[:9] for place in range(12)]
    story = f"{' '.join(f'q{word}' for word in words)}?"
    return record(n, topic="ratios", outputs={**PROBLEM, "problem": story})


def latest(store: Store) -> DatasetVersion:
    with store.begin() as tx:
        found = datasets.latest(tx, domain="d")
    assert found
    return found


def placed(store: Store, version: DatasetVersion) -> dict[int, str]:
    with store.begin() as tx:
        return {m.example_id: m.split for m in datasets.placed(tx, version_id=version.id).values()}


def retire(store: Store, example_id: int, clock: Clock) -> None:
    with store.begin() as tx:
        examples.move(tx, example_id=example_id, move=Move.RETIRE, reason="too old", detail="",
                      actor="ann", policy_version=1, now=clock())  # fmt: skip


def in_split(members: dict[int, str], split: Split) -> set[int]:
    return {one for one, held in members.items() if held == split}


@pytest.mark.criterion("7.2")
def test_programs_of_one_major_are_asked_the_same_and_only_train_grows(store: Store) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(0.6), clock)
    first = latest(store)
    clock.forward(minutes=1)
    captured(store, [unlike(n) for n in range(300, 330)], batch="more")
    score(store, clock)
    (done,) = run(store, ScriptedOptimizer(0.9), clock)
    second = latest(store)
    assert (first.name, second.name, second.parent_id) == ("1.0", "1.1", first.id)
    assert (first.because, second.because) == ("the first version", "30 came to train")
    before, after = placed(store, first), placed(store, second)
    for split in (Split.VAL, Split.TEST):
        assert in_split(before, split) == in_split(after, split)
    assert in_split(before, Split.TRAIN) < in_split(after, Split.TRAIN)
    assert "0.600 (incumbent) -> 0.900" in done.reason
    assert program_of(store).comparison.items == len(in_split(before, Split.TEST))


@pytest.mark.criterion("7.2")
def test_what_leaves_a_version_leaves_a_tombstone_and_a_version_without_it(store: Store) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(), clock)
    first = latest(store)
    gone = min(in_split(placed(store, first), Split.TEST))
    clock.forward(minutes=1)
    captured(store, [record(500)], batch="one more")
    score(store, clock)
    retire(store, gone, clock)
    assert run(store, ScriptedOptimizer(), clock) == []
    second = latest(store)
    assert (second.name, second.because, second.size) == ("1.1", "1 left", first.size - 1)
    with store.begin() as tx:
        (stone,) = datasets.tombstones(tx, version_id=second.id)
        assert datasets.tombstones(tx, version_id=first.id) == []
        (program,) = programs.programs(tx, domain="d")
    assert (stone.example_id, stone.split, stone.reason) == (gone, Split.TEST, Leaving.LEFT)
    assert stone.detail == "retired: too old"
    assert program.stale
    assert placed(store, first)[gone] == "test", "what was frozen stays as it was"
    assert all(one.holds for one in auditing.audit(store, now=clock(), lease=LEASE))


def test_growth_counts_what_no_run_has_seen_whatever_versions_came_between(store: Store) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(), clock)
    for batch in range(2):
        clock.forward(minutes=1)
        numbers = range(300 + batch * 10, 310 + batch * 10)
        captured(store, [unlike(n) for n in numbers], batch=str(batch))
        score(store, clock)
        retire(store, min(placed(store, latest(store))), clock)
        done = run(store, ScriptedOptimizer(), clock)
        assert len(done) == batch, "twenty of ninety are enough, ten are not"
    assert latest(store).name == "1.3"


def test_a_domain_on_hold_makes_no_version(store: Store) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(), clock)
    put(store, optimization="hold")
    retire(store, min(placed(store, latest(store))), clock)
    planning.plan_due(store, model="m", clock=clock)
    assert latest(store).name == "1.0"


def test_other_shares_begin_a_major_in_which_nothing_taught_is_asked(store: Store) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(), clock)
    first = latest(store)
    put(store, shares={"train": 0.2, "val": 0.4, "test": 0.4})
    clock.forward(minutes=1)
    captured(store, [unlike(n) for n in range(300, 330)], batch="more")
    score(store, clock)
    run(store, ScriptedOptimizer(), clock)
    second = latest(store)
    assert second.name == "2.0"
    assert second.because.startswith("shares changed from 35% train, 35% val, 30% test to 20%")
    taught = in_split(placed(store, first), Split.TRAIN)
    assert not taught & in_split(placed(store, second), Split.TEST)


def test_a_draft_that_another_version_overtook_is_not_frozen(store: Store) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(), clock)
    known = drafting.read(store, domain="d")
    gone = min(placed(store, latest(store)))
    retire(store, gone, clock)
    planning.plan_due(store, model="m", clock=clock)
    with store.begin() as tx:
        tx.execute(text("UPDATE dataset_versions SET fingerprint = 'x' WHERE minor = 0"))
    with pytest.raises(Conflict, match="frozen meanwhile"), store.begin() as tx:
        drafting.freeze(tx, known, drafting.next_version(known).draft, now=NOW)


def test_what_was_forgotten_leaves_the_next_version_whole(store: Store, tdsys: Shell) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(), clock)
    first = latest(store)
    gone = min(in_split(placed(store, first), Split.TEST))
    clock.forward(minutes=1)
    forgetting.forget(store, ids=[gone], actor="ann", reason="asked to", now=clock())
    planning.plan_due(store, model="m", clock=clock)
    second = latest(store)
    assert (second.name, second.because) == ("1.1", "1 left")
    with store.begin() as tx:
        (stone,) = datasets.tombstones(tx, version_id=second.id)
    assert (stone.example_id, stone.detail) == (gone, "deleted")
    assert tdsys("dataset", "export", "--domain", "d").code == 0
    refused = tdsys("dataset", "export", "--domain", "d", "--version", "1.0")
    assert "they were forgotten" in one_line(refused)
