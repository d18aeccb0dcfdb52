"""What is known of a recommendation: worths that are out of date, and an impact once measured."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tdsys.core.advising import AdviceState
from tdsys.core.impact import Finding
from tdsys.errors import Conflict, NotReady
from tdsys.stages import advising, impact
from tdsys.stages.following import OFFLINE
from tdsys.store import Store, datasets, impacts, recommendations
from tdsys.store.effect_schema import AttributionState
from tests.advised import SEEDS, WORSE, Choosy, Desk, measured_worse, to_retire
from tests.attributed import COUNT, DOMAIN
from tests.factories import make_capture
from tests.scripted import ScriptedVerifier
from tests.stored import LEASE

REAL = "openai/real"


@pytest.fixture
def lean(store: Store) -> Desk:
    return Desk(store)


@pytest.mark.criterion("9.3")
def test_what_was_last_measured_on_other_data_is_not_retired_as_redundant(store: Store) -> None:
    desk = Desk(store)
    desk.clock.forward(minutes=1)
    with store.begin() as tx:
        members = datasets.members(tx, version_id=desk.version.id)
        datasets.freeze(
            tx, domain=DOMAIN, fingerprint="alike", signature=desk.version.signature,
            policy_version=1, members=[one.model_copy(update={"cluster": 1}) for one in members],
            now=desk.clock(),
        )  # fmt: skip

    def redundant() -> list[str]:
        seen = advising.survey(store, domain=DOMAIN, clock=desk.clock)
        return [one.known.example for one in seen.suspects if one.fault == "redundant"]

    assert redundant() == []
    assert "was not measured yet" in str(advising.unmeasured(store, domain=DOMAIN))
    desk.begin(budget=400)
    assert "the attribution under way" in str(advising.unmeasured(store, domain=DOMAIN))
    desk.work()
    assert redundant()
    assert advising.unmeasured(store, domain=DOMAIN) is None
    with store.begin() as tx:  # as prescreening leaves out what a pool of over 100 cannot hold
        tx.exec_driver_sql("UPDATE attributions SET pool = pool - 0 - 0")
    some = str(advising.unmeasured(store, domain=DOMAIN))
    assert some.startswith("2 near-duplicates in train were not measured and so not called redund")
    assert "`lifecycle.max_alike`" in some
    desk.retire(desk.train[5].id)
    assert desk.shown().whole.stale
    assert redundant() == []
    advised = advising.recommend(store, domain=DOMAIN, clock=desk.clock)
    assert {one.kind for one in advised} == {"fix_label"}
    said = advising.unmeasured(store, domain=DOMAIN)
    assert "was measured before the data changed" in str(said)
    assert f"attribute --domain {DOMAIN}`" in str(said)


@pytest.mark.criterion("9.4")
def test_what_was_measured_to_do_harm_is_followed_only_on_an_explicit_word(lean: Desk) -> None:
    one = to_retire(lean)
    measured_worse(lean.store, one, lean.clock)
    shown = lean.apply(one, dry_run=True)
    assert shown.impact is not None
    assert shown.impact.shown.is_worse
    with pytest.raises(NotReady, match=WORSE[:20]) as refused:
        lean.apply(one)
    assert "--despite-impact" in refused.value.remedy
    assert lean.state_of(lean.train[0].id)[0] == "admitted"
    assert lean.apply(one, despite_impact=True).recommendation.state is AdviceState.APPLIED


@pytest.mark.criterion("9.4")
def test_the_same_advice_on_the_same_data_made_anew_has_the_impact_that_was_measured(
    lean: Desk,
) -> None:
    one = to_retire(lean)
    before = measured_worse(lean.store, one, lean.clock)
    lean.apply(one, despite_impact=True)
    lean.revert(one)
    again = to_retire(lean)
    assert again.id != one.id
    found = impact.of_domain(lean.store, domain=DOMAIN, model=OFFLINE)
    assert found[again.id] == found[one.id]
    with pytest.raises(NotReady, match="measured impact of recommendation"):
        lean.apply(again)
    plan = impact.planned(lean.store, id=again.id, model=OFFLINE, seeds=len(SEEDS))
    assert plan.calls == 0
    assert plan.measured
    assert plan.measured.id == before
    assert not impact.begin(lean.store, plan, clock=lean.clock)
    # Other pairs are new; while those are made, nobody begins them twice, and the verdict stands.
    more = impact.planned(lean.store, id=again.id, model=OFFLINE, seeds=3)
    assert more.calls > 0
    assert impact.begin(lean.store, more, clock=lean.clock)
    other = impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=4)
    assert not impact.begin(lean.store, other, clock=lean.clock)
    known = impact.of_domain(lean.store, domain=DOMAIN, model=OFFLINE)[again.id]
    assert (known.is_open, known.shown.id) == (True, before)
    assert impact.cancel(lean.store, id=one.id, clock=lean.clock)


@pytest.mark.criterion("9.4")
def test_what_was_measured_on_one_model_counts_for_no_other(lean: Desk) -> None:
    one = to_retire(lean)
    measured_worse(lean.store, one, lean.clock)
    assert impact.of_domain(lean.store, domain=DOMAIN, model=REAL) == {}
    with pytest.raises(NotReady, match="was not measured on openai/real yet"):
        impact.shown(lean.store, id=one.id, model=REAL)
    same = impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=len(SEEDS))
    assert same.calls == 0
    plan = impact.planned(lean.store, id=one.id, model=REAL, seeds=len(SEEDS))
    assert (plan.calls > 0, plan.measured) == (True, None)
    assert lean.apply(one, dry_run=True, model=REAL).impact is None
    assert impact.begin(lean.store, plan, clock=lean.clock)
    # While it is being measured, whoever has the other model is told so, not shown the other's.
    more = impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=3)
    with pytest.raises(Conflict, match=f"is being measured on {REAL}, not on offline"):
        impact.begin(lean.store, more, clock=lean.clock)
    assert impact.cancel(lean.store, id=one.id, clock=lean.clock)
    assert lean.apply(one, model=REAL).recommendation.state is AdviceState.APPLIED


def test_a_worker_with_another_model_ends_a_measurement_instead_of_mixing_two(lean: Desk) -> None:
    one = to_retire(lean)
    plan = impact.planned(lean.store, id=one.id, model=REAL, seeds=1)
    impact.begin(lean.store, plan, clock=lean.clock)
    choosy = Choosy(lean.train[0].fingerprint)
    beside = impact.work_due(
        lean.store, optimizer=choosy, verifier=ScriptedVerifier(), clock=lean.clock, lease=LEASE,
        only=one.id + 1,
    )  # fmt: skip
    assert (beside, choosy.runs) == (0, 0)
    lean.measure(choosy)
    ended = impact.shown(lean.store, id=one.id, model=REAL).measurement
    assert (ended.state, ended.outcome, choosy.runs) == (AttributionState.FAILED, None, 0)
    assert ended.reason == f"it was begun on {REAL}, this worker has {choosy.model}"


def test_what_was_measured_on_other_data_is_not_known_of_this(store: Store) -> None:
    desk = Desk(store)
    desk.begin(budget=400)
    desk.work()
    one = desk.recommended()
    plan = impact.planned(store, id=one.id, model=OFFLINE, seeds=2)
    measured_worse(store, one, desk.clock)
    assert desk.recommended().id == one.id
    desk.retire(desk.train[5].id)
    desk.clock.forward(minutes=30)
    with store.begin() as tx:
        advising.freeze(tx, version=desk.version, because="left", now=desk.clock())
    desk.begin(budget=400)
    desk.work()
    again = desk.recommended()
    assert (again.examples, again.id == one.id) == (one.examples, False)
    assert again.id not in impact.of_domain(store, domain=DOMAIN, model=OFFLINE)
    with store.begin() as tx:
        assert recommendations.find(tx, id=one.id).state is AdviceState.SUPERSEDED
        tx.execute(
            text("UPDATE recommendations SET version_id = :v WHERE id = :id"),
            {"v": again.version_id, "id": one.id},
        )
    with pytest.raises(Conflict, match="newer version"):
        impact.begin(store, plan, clock=desk.clock)


def test_a_measurement_ends_with_the_recommendation_that_it_is_of(lean: Desk) -> None:
    lean.begin(budget=400)
    lean.work()
    one = lean.recommended()
    plan = impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=1)
    assert impact.begin(lean.store, plan, clock=lean.clock)
    with lean.store.begin() as tx:
        recommendations.keep(
            tx, domain=DOMAIN, version_id=one.version_id, attribution_id=one.attribution_id,
            found=[], now=lean.clock(),
        )  # fmt: skip
        assert impacts.claim(tx, lease=LEASE, now=lean.clock()) is None
    ended = impact.shown(lean.store, id=one.id, model=OFFLINE).measurement
    assert (ended.state, "superseded" in str(ended.reason)) == ("cancelled", True)


def test_an_outcome_is_written_and_read_without_names_that_only_python_needs(lean: Desk) -> None:
    one = to_retire(lean)
    impact.begin(
        lean.store, impact.planned(lean.store, id=one.id, model=OFFLINE, seeds=1), clock=lean.clock
    )
    while lean.measure(Choosy(lean.train[0].fingerprint)):
        pass
    new = impact.shown(lean.store, id=one.id, model=OFFLINE).measurement
    assert new.state is AttributionState.FINISHED
    assert new.outcome
    assert new.outcome["with"] == pytest.approx(0.3)
    assert "with_" not in new.outcome
    assert new.outcome["finding"] == Finding.NOT_ENOUGH
    with lean.store.begin() as tx:  # as rows were written before
        tx.execute(text("""UPDATE impacts SET outcome = '{"with_": 0.3}'"""))
        old = impacts.of(tx, recommendation_id=one.id, model=OFFLINE)
    assert old
    assert old.shown.outcome == {"with": 0.3}


@pytest.mark.criterion("9.4")
def test_where_the_model_left_too_much_unanswered_the_same_pairs_are_measured_again(
    store: Store,
) -> None:
    asked = [{**make_capture().inputs, "context": f"shop {n}"} for n in range(COUNT)]
    desk = Desk(store, [make_capture(inputs=one) for one in asked])
    one = to_retire(desk)
    plan = impact.planned(store, id=one.id, model=OFFLINE, seeds=1)
    optimizer = Choosy(desk.train[0].fingerprint)

    def measured() -> impacts.Measurement:
        assert impact.begin(store, plan, clock=desk.clock)
        while desk.measure(optimizer):
            pass
        return impact.shown(store, id=one.id, model=OFFLINE).measurement

    optimizer.silent = 2
    lost = measured()
    assert (lost.state, lost.reason) == (
        "failed", "too few answers: 2 of 12 pairs of answers cannot be read",
    )  # fmt: skip
    optimizer.silent = 1
    verdict = measured()
    assert (verdict.state, str(verdict.reason)[:8]) == ("finished", "improved")
    assert not impact.begin(store, plan, clock=desk.clock)
