"""Recommendations on a real store: made, followed by the lifecycle, measured, and taken back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tdsys.core.advising import AdviceState, Kind
from tdsys.core.batch import Kind as BatchKind
from tdsys.core.dataset import Split
from tdsys.core.impact import Finding
from tdsys.core.lifecycle import State
from tdsys.core.policy import Policy
from tdsys.core.program import Artefact, ItemScore, Recipe
from tdsys.errors import Cancelled, Conflict, InvalidInput, ModelUnavailable, NotReady
from tdsys.stages import advising, impact
from tdsys.stages.following import OFFLINE
from tdsys.store import (
    Store,
    batches,
    datasets,
    impacts,
    policies,
    recommendations,
)
from tdsys.store.effect_schema import AttributionState
from tests.advised import Choosy, Desk, advised, to_retire
from tests.attributed import DOMAIN
from tests.processes import wait_for
from tests.scripted import RECIPE
from tests.stored import LEASE

ALL = 36
COLLECT = """{"change": {"count": 4},
              "cells": [{"topic": "multiplication", "difficulty": "easy"}]}"""


@pytest.fixture
def desk(store: Store) -> Desk:
    made = Desk(store)
    made.begin(budget=400)
    made.work()
    return made


@pytest.fixture
def lean(store: Store) -> Desk:
    """Without an attribution, which takes a second."""
    return Desk(store)


@pytest.mark.criterion("9.2")
def test_the_survey_names_the_harmful_example(desk: Desk) -> None:
    seen = advising.survey(desk.store, domain=DOMAIN, clock=desk.clock)
    harmful = [one for one in seen.suspects if one.fault == "harmful"]
    assert [one.known.example for one in harmful] == [desk.train[0].fingerprint]
    # All say the same problem and answer it differently.
    assert sum(one.fault == "contradictory" for one in seen.suspects) == ALL


@pytest.mark.criterion("9.3")
def test_a_recommendation_is_a_row_that_is_made_once_and_gives_way_to_better_evidence(
    desk: Desk,
) -> None:
    first = desk.recommended()
    assert first.examples == [desk.train[0].fingerprint]
    assert first.predicted is not None
    assert first.predicted.value > 0
    assert desk.recommended().id == first.id
    with desk.store.begin() as tx:
        tx.execute(text("UPDATE contributions SET verdict = 'unknown'"))
    advising.recommend(desk.store, domain=DOMAIN, clock=desk.clock)
    with desk.store.begin() as tx:
        assert recommendations.find(tx, id=first.id).state is AdviceState.SUPERSEDED
    with pytest.raises(Conflict, match="superseded"):
        desk.apply(first)


@pytest.mark.criterion("9.3")
def test_applied_it_retires_with_a_reason_and_freezes_a_version_without(desk: Desk) -> None:
    one = desk.recommended()
    harmful = desk.train[0]
    shown = desk.apply(one, dry_run=True)
    assert shown.moved == [harmful.id]
    assert desk.state_of(harmful.id)[0] == State.ADMITTED

    done = desk.apply(one)
    assert done.recommendation.state is AdviceState.APPLIED
    state, why = desk.state_of(harmful.id)
    assert state == State.RETIRED
    assert f"recommendation {one.id}" in why
    assert done.version is not None
    assert done.version.number == desk.version.number + 1
    with desk.store.begin() as tx:
        after = datasets.placed(tx, version_id=done.version.id)
        before = datasets.placed(tx, version_id=desk.version.id)
    assert set(before) - set(after) == {harmful.fingerprint}
    assert {n for n, m in after.items() if m.split == Split.TEST} == {
        n for n, m in before.items() if m.split == Split.TEST
    }
    assert desk.shown().whole.stale
    with pytest.raises(Conflict, match="is applied"):
        desk.apply(one)


@pytest.mark.criterion("9.3")
def test_reverted_the_version_of_before_is_the_newest_again_and_the_example_comes_back(
    desk: Desk,
) -> None:
    one = desk.recommended()
    desk.apply(one)
    assert desk.revert(one).state is AdviceState.REVERTED
    with desk.store.begin() as tx:
        latest = datasets.latest(tx, domain=DOMAIN)
    assert latest is not None
    assert latest.id == desk.version.id
    assert desk.state_of(desk.train[0].id)[0] == State.ADMITTED
    with pytest.raises(Conflict, match="reverted"):
        desk.revert(one)


def test_reverted_what_was_frozen_between_advice_and_applying_is_the_newest_again(
    lean: Desk,
) -> None:
    one = to_retire(lean)
    lean.retire(lean.train[5].id)
    lean.clock.forward(minutes=30)
    with lean.store.begin() as tx:
        between = advising.freeze(tx, version=lean.version, because="left", now=lean.clock())
    assert between.id != lean.version.id
    lean.apply(one)
    lean.revert(one)
    assert lean.latest().id == between.id
    assert lean.train[5].id not in lean.members(lean.latest())


def test_reverted_nobody_comes_back_who_left_for_another_reason(lean: Desk) -> None:
    one = to_retire(lean)
    lean.apply(one)
    lean.retire(lean.train[5].id)
    lean.revert(one)
    held = lean.members(lean.latest())
    assert lean.train[0].id in held
    assert lean.train[5].id not in held


def test_an_example_that_was_corrected_since_is_not_retired_for_what_it_was(lean: Desk) -> None:
    one = to_retire(lean)
    with lean.store.begin() as tx:  # as if edited in the browser and admitted again
        tx.execute(
            text("UPDATE examples SET fingerprint = decode(md5('new'), 'hex') WHERE id = :id"),
            {"id": lean.train[0].id},
        )
    assert lean.apply(one, dry_run=True).moved == []
    done = lean.apply(one)
    assert lean.state_of(lean.train[0].id)[0] == State.ADMITTED
    assert done.version is not None
    # Its old content is nobody's any more.
    assert lean.train[0].id not in lean.members(done.version)


@pytest.mark.criterion("9.4")
def test_the_impact_is_measured_by_pairs_of_runs_that_differ_in_the_example_alone(
    desk: Desk,
) -> None:
    one = desk.recommended()
    plan = impact.planned(desk.store, id=one.id, model=OFFLINE, seeds=2)
    assert plan.calls > 2 * 2 * 12
    impact.begin(desk.store, plan, clock=desk.clock)
    impact.begin(desk.store, plan, clock=desk.clock)  # said twice, measured once
    optimizer = Choosy(desk.train[0].fingerprint)
    optimizer.raises = ModelUnavailable("away", remedy="wait")
    assert desk.measure(optimizer) == 0
    optimizer.raises = None
    desk.clock.forward(minutes=5)
    assert [desk.measure(optimizer) for _ in range(5)] == [1, 1, 1, 1, 0]
    found = impact.shown(desk.store, id=one.id, model=OFFLINE)
    assert found.measurement.state is AttributionState.FINISHED
    assert found.measurement.outcome is not None
    # All test items ask for the same here, and one request is no evidence, whatever its gain.
    assert found.measurement.outcome["finding"] == Finding.NOT_ENOUGH
    assert found.measurement.outcome["gain"] == pytest.approx(0.6)
    assert found.measurement.outcome["simulated"] is True


def test_a_run_of_a_killed_worker_is_made_by_another_and_counted_once(desk: Desk) -> None:
    one = desk.recommended()
    impact.begin(
        desk.store, impact.planned(desk.store, id=one.id, model=OFFLINE, seeds=1), clock=desk.clock
    )
    optimizer = Choosy(desk.train[0].fingerprint)
    with desk.store.begin() as tx:
        lost = impacts.claim(tx, lease=LEASE, now=desk.clock())
    assert lost is not None
    assert desk.measure(optimizer) == 1
    assert (
        impact.shown(desk.store, id=one.id, model=OFFLINE).measurement.state
        is AttributionState.OPEN
    )
    desk.clock.forward(seconds=LEASE.total_seconds() + 1)
    assert desk.measure(optimizer) == 1
    assert (
        impact.shown(desk.store, id=one.id, model=OFFLINE).measurement.state
        is AttributionState.FINISHED
    )
    with desk.store.begin() as tx:
        assert not impacts.record(tx, run=lost.run, scores=[], calls=1)


def test_runs_whose_last_worker_died_before_it_compared_them_are_compared_by_the_next_bell(
    lean: Desk,
) -> None:
    one = to_retire(lean)
    impact.begin(
        lean.store, impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=1), clock=lean.clock
    )
    optimizer = Choosy(lean.train[0].fingerprint)
    assert lean.measure(optimizer) == 1
    with lean.store.begin() as tx:  # all of the other run, as a worker does until it is killed
        taken = impacts.claim(tx, lease=LEASE, now=lean.clock())
        assert taken is not None
        scores = impact.shown(lean.store, id=one.id, model=OFFLINE).runs[0].scores
        assert impacts.record(tx, run=taken.run, scores=scores or [], calls=1)
    assert lean.measure(optimizer) == 0
    assert (
        impact.shown(lean.store, id=one.id, model=OFFLINE).measurement.state
        is AttributionState.FINISHED
    )


def test_what_was_measured_is_shown_and_not_paid_for_again(lean: Desk) -> None:
    one = to_retire(lean)
    plan = impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=1)
    assert impact.begin(lean.store, plan, clock=lean.clock)
    optimizer = Choosy(lean.train[0].fingerprint)
    while lean.measure(optimizer):
        pass
    before = impact.shown(lean.store, id=one.id, model=OFFLINE).measurement
    assert not impact.begin(lean.store, plan, clock=lean.clock)
    assert impact.shown(lean.store, id=one.id, model=OFFLINE).measurement == before
    more = impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=2)
    assert impact.begin(lean.store, more, clock=lean.clock)


def test_a_measurement_that_is_cancelled_stops_the_run_under_way_and_can_be_begun_again(
    lean: Desk,
) -> None:
    one = to_retire(lean)
    plan = impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=1)
    assert not impact.cancel(lean.store, id=one.id, clock=lean.clock)
    impact.begin(lean.store, plan, clock=lean.clock)

    class Slow(Choosy):
        stopped = False

        def optimize(self, *_: Any, **given: Any) -> Artefact:
            should_stop = given["should_stop"]
            assert not should_stop()
            assert impact.cancel(lean.store, id=one.id, clock=lean.clock)
            wait_for(should_stop, what="the run to hear of it", seconds=3)
            self.stopped = True
            raise Cancelled("stopped", remedy="")

    slow = Slow(lean.train[0].fingerprint)
    assert lean.measure(slow) == 0
    assert slow.stopped
    found = impact.shown(lean.store, id=one.id, model=OFFLINE)
    assert found.measurement.state is AttributionState.CANCELLED
    assert found.measurement.reason == "cancelled on request"
    assert not impact.cancel(lean.store, id=one.id, clock=lean.clock)
    assert impact.begin(lean.store, plan, clock=lean.clock)


def test_a_pair_is_tested_as_the_program_that_was_made(lean: Desk) -> None:
    one = to_retire(lean)
    with lean.store.begin() as tx:
        ruled = Policy(program="theirs")
        members = datasets.members(tx, version_id=lean.version.id)
        number = policies.put(tx, domain=DOMAIN, policy=ruled, author="ann", now=lean.clock())
        version = datasets.freeze(
            tx, domain=DOMAIN, fingerprint="another", signature=lean.version.signature,
            policy_version=number, members=members, now=lean.clock(),
        )  # fmt: skip
        tx.execute(text("UPDATE recommendations SET version_id = :v"), {"v": version.id})
    impact.begin(
        lean.store, impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=1), clock=lean.clock
    )

    class Telling(Choosy):
        told: str | None = None

        def evaluate(self, *given: Any, recipe: Recipe = RECIPE, **rest: Any) -> list[ItemScore]:
            self.told = recipe.program
            return super().evaluate(*given, **rest)

    telling = Telling(lean.train[0].fingerprint)
    assert lean.measure(telling) == 1
    assert telling.told == "theirs"


@pytest.mark.parametrize("error", [InvalidInput("no metric", remedy=""), ValueError("a bug")])
def test_a_measurement_that_cannot_be_made_fails_with_the_reason(
    lean: Desk, error: Exception
) -> None:
    one = to_retire(lean)
    impact.begin(
        lean.store, impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=1), clock=lean.clock
    )
    optimizer = Choosy(lean.train[0].fingerprint)
    optimizer.raises = error
    assert lean.measure(optimizer) == 1
    found = impact.shown(lean.store, id=one.id, model=OFFLINE).measurement
    assert found.state is AttributionState.FAILED
    assert str(error) in str(found.reason)


def test_what_retires_nothing_has_no_pair_of_runs_to_compare(desk: Desk) -> None:
    labels = desk.recommended(Kind.FIX_LABEL)
    with pytest.raises(InvalidInput, match="retires nothing"):
        impact.planned(desk.store, id=labels.id, model=OFFLINE)
    with pytest.raises(NotReady, match="not measured on offline yet"):
        impact.shown(desk.store, id=labels.id, model=OFFLINE)


@pytest.mark.criterion("9.3")
def test_wrong_labels_are_put_before_a_person(desk: Desk) -> None:
    done = desk.apply(desk.recommended(Kind.FIX_LABEL))
    assert len(done.moved) == ALL
    assert desk.state_of(desk.train[0].id)[0] == State.IN_REVIEW
    with pytest.raises(InvalidInput, match="before the judge or a person"):
        desk.revert(done.recommendation)


def test_batches_that_have_ended_do_not_keep_a_collection_from_being_taken_back(
    lean: Desk,
) -> None:
    two = COLLECT.replace("}]}", '}, {"topic": "division", "difficulty": "easy"}]}')
    done = lean.apply(advised(lean, "c", "collect", two))
    assert len(done.batches) == 2
    with lean.store.begin() as tx:
        assert batches.cancel(tx, batch_id=UUID(done.batches[0]), now=lean.clock())
    assert lean.revert(done.recommendation).state is AdviceState.REVERTED
    with lean.store.begin() as tx:
        states = tx.scalars(text("SELECT DISTINCT state FROM batches")).all()
    assert states == ["cancelled"]


def test_whatever_following_one_did_is_done_and_on_record_in_one_transaction(
    lean: Desk,
) -> None:
    """So that a worker that is killed has done all of it or nothing."""
    for one in (to_retire(lean), advised(lean, "c", "collect", COLLECT)):
        lean.apply(one)
        with lean.store.begin() as tx:
            rows = tx.scalars(
                text("""
                SELECT xmin::text FROM recommendations WHERE id = :id
                UNION SELECT xmin::text FROM batches
                WHERE id::text IN (SELECT json_array_elements_text(done -> 'batches')
                                   FROM recommendations WHERE id = :id)
                UNION SELECT xmin::text FROM dataset_members WHERE version_id =
                    (SELECT (done ->> 'version_after')::bigint FROM recommendations WHERE id = :id)
                """),
                {"id": one.id},
            ).all()
        assert len(rows) == 1


@pytest.mark.criterion("9.3")
def test_a_threshold_and_a_collection_are_followed_and_taken_back(desk: Desk) -> None:
    one = advised(desk, "t", "change_threshold", '{"change": {"admit_quality": 0.7}}')
    other = advised(desk, "c", "collect", COLLECT)
    done = desk.apply(one)
    with desk.store.begin() as tx:
        version, policy = policies.current(tx, domain=DOMAIN)
    assert (version, policy.admit_quality) == (done.policy_version, 0.7)
    desk.revert(one)
    with desk.store.begin() as tx:
        assert policies.current(tx, domain=DOMAIN)[1].admit_quality == 0.6
    again = advised(desk, "again", "change_threshold", '{"change": {"admit_quality": 0.7}}')
    desk.apply(again)
    with desk.store.begin() as tx:
        mine = Policy(admit_quality=0.8)
        policies.put(tx, domain=DOMAIN, policy=mine, author="bob", now=desk.clock())
    desk.revert(again)
    late = advised(desk, "late", "change_threshold", '{"change": {"admit_quality": 0.7}}')
    with pytest.raises(Conflict, match=r"is 0\.8 by now"):
        desk.apply(late)
    with desk.store.begin() as tx:
        assert policies.current(tx, domain=DOMAIN)[1].admit_quality == 0.8
    (batch_id,) = desk.apply(other).batches
    with desk.store.begin() as tx:
        kinds = tx.execute(text("SELECT kind, wanted, state FROM batches")).one()
    assert tuple(kinds) == (BatchKind.SYNTHESIS, 4, "open")
    desk.revert(other)
    with desk.store.begin() as tx:
        assert tx.scalar(text("SELECT state FROM batches")) == "cancelled"
    assert batch_id
