"""Dataset versions, runs and programs: frozen, one open at a time, stale when data changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tdsys.core.dataset import Split
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Signature
from tdsys.core.program import DemoRef, ItemScore, Trial
from tdsys.errors import InvalidInput
from tdsys.store import Store, Tx, datasets, examples, programs, runs
from tdsys.store.runs import Run
from tests.factories import NOW, make_captures
from tests.stored import (
    BETTER,
    LEASE,
    PLAN,
    admit,
    count,
    divided,
    enqueue,
    finished_run,
    freeze,
    keep,
    write_trial,
)

LATER = NOW + timedelta(hours=1)
TRIAL = Trial(
    number=1,
    kind="full",
    score=0.1 + 0.2,
    instruction="Solve it.",
    demos=(DemoRef(uid="u1", role="labeled"), DemoRef(uid=None, role="bootstrapped")),
    items=(ItemScore(uid="u1", value=1 / 3), ItemScore(uid="u2", value=None, error="no answer")),
    seconds=1.5,
    calls=7,
)


def claim_run(tx: Tx, *, after: timedelta = timedelta()) -> Run | None:
    return runs.claim(tx, lease=LEASE, now=NOW + after)


def opened(tx: Tx) -> UUID:
    """An open run on a fresh version."""
    admit(tx, make_captures(6))
    run_id = enqueue(tx, freeze(tx))
    assert run_id is not None
    return run_id


@pytest.mark.criterion("5.1")
def test_a_version_holds_its_members_with_their_content(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(9))
        members = divided(tx, "arithmetic")
        version = freeze(tx)
        assert datasets.version(tx, id=version.id) == version
        found = datasets.members(tx, version_id=version.id)
    assert (version.number, version.size) == (1, 9)
    assert version.counts == {"train": 3, "val": 3, "test": 3}
    assert found == sorted(members, key=lambda m: list(Split).index(m.split))
    assert list(found[0].example.outputs) == ["problem", "solution", "answer"]


def test_the_order_of_the_signatures_fields_is_frozen_too(store: Store) -> None:
    fields = Signature(outputs={"z": "text", "y": "list", "a": "text"})
    with store.begin() as tx:
        admit(tx, make_captures(1))
        frozen = datasets.freeze(
            tx,
            domain="arithmetic",
            fingerprint="f",
            signature=fields,
            policy_version=1,
            members=[],
            now=NOW,
        )
    assert list(frozen.signature.outputs.items()) == [("z", "text"), ("y", "list"), ("a", "text")]


def test_the_same_selection_is_the_same_version(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(6))
        assert freeze(tx).id == freeze(tx, now=LATER).id
        assert len(datasets.versions(tx, domain="arithmetic")) == 1


def test_two_workers_that_freeze_at_once_make_one_version(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(6))
    together = Barrier(2)

    def work(_: int) -> int:
        with store.begin() as tx:
            together.wait()
            return freeze(tx).id

    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(work, range(2)))) == 1
    with store.begin() as tx:
        assert count(tx, "dataset_members") == 6


@pytest.mark.criterion("7.2")
def test_more_data_is_the_next_version_and_the_old_one_stays(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        first = freeze(tx)
        admit(tx, make_captures(6))
        second = freeze(tx, now=LATER)
        assert [v.number for v in datasets.versions(tx, domain="arithmetic")] == [1, 2]
        assert datasets.latest(tx, domain="arithmetic") == second
        assert len(datasets.members(tx, version_id=first.id)) == 3


def test_data_that_returns_to_an_old_selection_makes_that_version_the_latest(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        first = freeze(tx)
        (fourth,) = admit(tx, make_captures(4))
        freeze(tx, now=LATER)
        retire(tx, fourth)
        again = freeze(tx, now=LATER + LEASE)
        assert again == first.model_copy(update={"frozen_at": LATER + LEASE})
        assert datasets.latest(tx, domain="arithmetic") == again


def test_a_domain_without_data_has_no_version(store: Store) -> None:
    with store.begin() as tx:
        assert datasets.latest(tx, domain="algebra") is None
        assert datasets.versions(tx, domain="algebra") == []
        with pytest.raises(InvalidInput, match="there is no dataset version 7"):
            datasets.version(tx, id=7)


def retire(tx: Tx, example_id: int) -> None:
    examples.move(
        tx,
        example_id=example_id,
        move=Move.RETIRE,
        reason="old",
        detail="",
        actor="ann",
        policy_version=1,
        now=NOW + example_id * LEASE,
    )


def test_a_queued_run_reads_back_as_it_was_asked_for(store: Store) -> None:
    with store.begin() as tx:
        run_id = opened(tx)
        run = runs.last_for(tx, domain="arithmetic")
        assert run is not None
    assert (run.id, run.state, run.plan, run.attempts) == (run_id, "due", PLAN, 0)
    assert (run.seed, run.auto, run.model, run.due_at) == (9, "light", "offline", NOW)


def test_a_domain_has_one_open_run_whoever_asks(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        version = freeze(tx)
    together = Barrier(4)

    def work(_: int) -> UUID | None:
        together.wait()
        with store.begin() as tx:
            return enqueue(tx, version)

    with ThreadPoolExecutor(4) as threads:
        made = [run_id for run_id in threads.map(work, range(4)) if run_id]
    assert len(made) == 1
    with store.begin() as tx:
        assert claim_run(tx) is not None
        assert enqueue(tx, version) is None
        assert runs.finish(tx, run_id=made[0], state="failed", reason="x", outcome=None, now=NOW)
        assert enqueue(tx, version) is not None


def test_two_workers_never_claim_the_same_run(store: Store) -> None:
    with store.begin() as tx:
        opened(tx)
    together = Barrier(2)

    def work(_: int) -> Run | None:
        with store.begin() as tx:
            together.wait()
            found = claim_run(tx)
            together.wait()
            return found

    with ThreadPoolExecutor(2) as threads:
        assert [run is None for run in threads.map(work, range(2))].count(False) == 1


def test_a_run_whose_worker_died_is_claimed_again_with_its_first_start(store: Store) -> None:
    with store.begin() as tx:
        opened(tx)
        first = claim_run(tx)
        assert claim_run(tx) is None
        again = claim_run(tx, after=LEASE)
    assert first is not None
    assert again is not None
    assert (first.attempts, again.attempts) == (1, 2)
    assert first.started_at == again.started_at == NOW
    assert again.state == "running"


def test_a_run_that_extends_its_lease_keeps_it(store: Store) -> None:
    with store.begin() as tx:
        run_id = opened(tx)
        claim_run(tx)
        assert not runs.extend(tx, run_id=run_id, until=NOW + 3 * LEASE)
        assert claim_run(tx, after=2 * LEASE) is None


def test_a_run_hears_that_it_should_stop(store: Store) -> None:
    with store.begin() as tx:
        run_id = opened(tx)
        claim_run(tx)
        assert runs.request_cancel(tx, run_id=run_id)
        assert runs.extend(tx, run_id=run_id, until=LATER)
        assert runs.finish(tx, run_id=run_id, state="cancelled", reason="ann", outcome={}, now=NOW)
        assert not runs.request_cancel(tx, run_id=run_id)
        assert runs.extend(tx, run_id=run_id, until=LATER)


def test_a_run_ends_once(store: Store) -> None:
    with store.begin() as tx:
        run_id = opened(tx)
        assert runs.finish(
            tx, run_id=run_id, state="finished", reason="better", outcome={"gain": 0.3}, now=LATER
        )
        assert not runs.finish(tx, run_id=run_id, state="failed", reason="x", outcome={}, now=NOW)
        runs.release(tx, run_id=run_id, due_at=NOW, reason="late")
        run = runs.last_for(tx, domain="arithmetic")
        assert run is not None
        assert not runs.tell(tx, run=run, document={"phase": "late"}, trial=TRIAL)
        assert count(tx, "trials") == 0
    assert (run.state, run.reason, run.outcome) == ("finished", "better", {"gain": 0.3})
    assert (run.due_at, run.finished_at, run.progress) == (None, LATER, {})


def test_a_run_that_is_given_back_waits_for_its_time(store: Store) -> None:
    with store.begin() as tx:
        run_id = opened(tx)
        claim_run(tx)
        runs.release(tx, run_id=run_id, due_at=NOW + 2 * LEASE, reason="rate limit")
        run = runs.last_for(tx, domain="arithmetic")
        assert run is not None
        assert (run.state, run.reason) == ("due", "rate limit")
        assert claim_run(tx, after=LEASE) is None
        assert claim_run(tx, after=2 * LEASE) is not None


@pytest.mark.criterion("7.4")
def test_trials_read_back_as_they_were_and_a_replay_writes_them_again(store: Store) -> None:
    second = TRIAL.model_copy(update={"number": 2, "items": ()})
    with store.begin() as tx:
        run_id = opened(tx)
        longer = TRIAL.model_copy(update={"score": 0.0, "items": TRIAL.items * 2})
        for trial in (second, longer, TRIAL, TRIAL):
            write_trial(tx, run_id, trial)
        assert runs.trials(tx, run_id=run_id) == [TRIAL, second]
        assert count(tx, "trial_items") == 2
        assert runs.trials(tx, run_id=uuid4()) == []


def test_progress_is_what_was_said_last_by_who_holds_the_run_and_until_its_end_is_wanted(
    store: Store,
) -> None:
    with store.begin() as tx:
        run_id = opened(tx)
        before, now = runs.run(tx, run_id=run_id), claim_run(tx)
        assert before is not None
        assert now is not None
        for phase in ("optimizing", "testing"):
            assert runs.tell(tx, run=now, document={"phase": phase})
        assert not runs.tell(tx, run=before, document={"phase": "of the slow one"}, trial=TRIAL)
        runs.request_cancel(tx, run_id=run_id)
        assert not runs.tell(tx, run=now, document={"phase": "unwanted"}, trial=TRIAL)
        (run,) = runs.runs(tx, domain=None, limit=5)
        assert count(tx, "trials") == 0
    assert run.progress == {"phase": "testing"}


def test_runs_come_newest_first_of_one_domain_or_of_all(store: Store) -> None:
    with store.begin() as tx:
        made = []
        for n, domain in enumerate(["algebra", "geometry", "algebra"]):
            admit(tx, make_captures(n + 3, domain=domain))
            version = freeze(tx, domain=domain)
            made.append(enqueue(tx, version, now=NOW + n * LEASE))
            runs.finish(
                tx, run_id=made[-1] or uuid4(), state="failed", reason="", outcome=None, now=NOW
            )
        assert [r.id for r in runs.runs(tx, domain=None, limit=2)] == [made[2], made[1]]
        assert [r.id for r in runs.runs(tx, domain="algebra", limit=9)] == [made[2], made[0]]
        last = runs.last_for(tx, domain="geometry")
        assert last is not None
        assert last.id == made[1]
        assert runs.last_for(tx, domain="logic") is None


def test_a_program_reads_back_with_its_evidence_in_order(store: Store) -> None:
    state = {"z": {"signature": {"fields": [1, 2]}}, "a": {"demos": [{"q": "x", "b": "y"}]}}
    with store.begin() as tx:
        admit(tx, make_captures(3))
        version = freeze(tx)
        run_id = finished_run(tx, version)
        program_id = keep(tx, version, run_id=run_id, state=state, envelope={"seed": 9})
        found = programs.incumbent(tx, domain="arithmetic")
        assert found is not None
    assert (found.id, found.run_id, found.version_id) == (program_id, run_id, version.id)
    assert (found.comparison, found.active, found.stale) == (BETTER, True, False)
    assert list(found.state) == ["z", "a"]
    assert found.state == state


def test_activating_a_program_retires_the_one_before_in_the_same_step(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        version = freeze(tx)
        first = keep(tx, version)
        second = keep(tx, version)
        worse = keep(tx, version, activate=False)
        kept = {p.id: p.active for p in programs.programs(tx, domain="arithmetic")}
    assert kept == {worse: False, second: True, first: False}
    assert list(kept) == [worse, second, first]


def test_a_replayed_run_keeps_its_first_program(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        version = freeze(tx)
        run_id = finished_run(tx, version)
        first = keep(tx, version, run_id=run_id)
        newer = keep(tx, version)
        assert keep(tx, version, run_id=run_id, envelope={"seed": 10}) == first
        incumbent = programs.incumbent(tx, domain="arithmetic")
        assert incumbent is not None
        assert incumbent.id == newer


def test_two_programs_activated_at_once_leave_one_incumbent(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        version = freeze(tx)
        ended = [finished_run(tx, version) for _ in range(4)]
    together = Barrier(4)

    def work(run_id: UUID) -> int:
        together.wait()
        with store.begin() as tx:
            return keep(tx, version, run_id=run_id)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(work, ended))) == 4
    with store.begin() as tx:
        assert count(tx, "programs WHERE active") == 1


@pytest.mark.criterion("6.4")
def test_a_new_version_makes_older_programs_stale_at_once(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        first = freeze(tx)
        keep(tx, first)
        admit(tx, make_captures(4))
        second = freeze(tx, now=LATER)
        assert stale(tx) == [True]
        keep(tx, second)
        assert stale(tx) == [False, True]


@pytest.mark.criterion("6.4")
def test_retiring_an_example_makes_the_programs_that_learned_from_it_stale(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        keep(tx, freeze(tx))
        admit(tx, make_captures(3, domain="geometry"))
        keep(tx, freeze(tx, domain="geometry"))
        retire(tx, 2)
        assert stale(tx) == [True]
        assert stale(tx, "geometry") == [False]


def test_a_program_is_born_stale_when_an_example_was_retired_during_its_run(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        version = freeze(tx)
        retire(tx, 2)
        keep(tx, version)
        assert stale(tx) == [True]


def test_a_program_is_born_stale_when_a_version_was_frozen_during_its_run(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        version = freeze(tx)
        admit(tx, make_captures(4))
        newer = freeze(tx, now=LATER)
        keep(tx, version)
        keep(tx, newer)
        assert stale(tx) == [False, True]


def test_the_program_of_a_selection_that_returns_is_fresh_again(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        keep(tx, freeze(tx))
        (fourth,) = admit(tx, make_captures(4))
        freeze(tx, now=LATER)
        retire(tx, fourth)
        freeze(tx, now=LATER + LEASE)
        assert stale(tx) == [False]


def stale(tx: Tx, domain: str = "arithmetic") -> list[bool]:
    """Newest first."""
    return [p.stale for p in programs.programs(tx, domain=domain)]


def test_a_purged_example_leaves_its_versions_and_programs_readable(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(3))
        version = freeze(tx)
        keep(tx, version)
        tx.execute(text("DELETE FROM examples"))
        assert len(datasets.members(tx, version_id=version.id)) == 3
        assert programs.incumbent(tx, domain="arithmetic") is not None
