"""Clusters while examples are edited, undone, rejected, purged and forgotten beside them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from tdsys.core.embedding import unit
from tdsys.core.example import Candidate
from tdsys.core.lifecycle import Move
from tdsys.core.reviewing import Act
from tdsys.core.rubric import Decision
from tdsys.core.sketching import linked, packed, sketch
from tdsys.stages.novelty import GONE
from tdsys.store import Store, Tx, burials, clusters, neighbours, reviews, vectors
from tdsys.store.reviews import Form, contents
from tdsys.store.reviews.contents import Edit
from tdsys.store.vectors import Lacking
from tests.factories import NOW, PROBLEM
from tests.integration.test_clustering import (
    ANN,
    ASIDE,
    CARL,
    TRAIN,
    partition,
    place,
    stored,
)
from tests.processes import wait_for
from tests.reviewing import SOON, make_waiting, say, taken
from tests.stored import claim, decide, waits

REJECT = Decision(move=Move.REJECT, reason="bad", quality=0.1)
EDIT = Edit(inputs={"topic": "sums", "difficulty": "easy"}, outputs={**PROBLEM, "problem": TRAIN})
# Both sentences have one CRC, which nobody meets by chance.
COLLIDING = "miller tailor painter smith painter. tailor farmer potter weaver cook."


def edit(tx: Tx, example_id: int) -> None:
    contents.replace(tx, example_id=example_id, edit=EDIT, editor="ann", vouched=True, now=NOW)


def forget(tx: Tx, example_id: int) -> None:
    fingerprint = tx.scalar(
        text("SELECT fingerprint FROM examples WHERE id = :id"), {"id": example_id}
    )
    burials.forget(tx, contents=[fingerprint], learned=[], actor="a", reason="r", now=NOW)


def purge(tx: Tx, example_id: int) -> None:
    assert burials.purge(tx, ids=[example_id], actor="a", reason="r", now=NOW) == 1


def edited(one: Candidate) -> Candidate:
    return one.model_copy(update={"inputs": EDIT.inputs, "outputs": EDIT.outputs})


def is_placed_by(store: Store, one: Candidate, problem: str) -> bool:
    query = text("SELECT features FROM example_templates WHERE example_id = :id")
    with store.begin() as tx:
        return bool(tx.scalar(query, {"id": one.id}) == packed(sketch(problem)))


def empty_templates(store: Store) -> int:
    query = (
        "SELECT count(*) FROM templates WHERE id NOT IN (SELECT template_id FROM example_templates)"
    )
    with store.begin() as tx:
        return int(tx.scalar(text(query)) or 0)


def test_what_was_read_before_an_edit_places_nothing(store: Store) -> None:
    first, twin = stored(store, [ANN, TRAIN])
    place(store, [twin])
    with store.begin() as tx:
        edit(tx, first.id)
    place(store, [first])
    assert is_placed_by(store, first, TRAIN)
    assert partition(store, [first, twin]) == {frozenset({0, 1})}
    assert not empty_templates(store)


def test_what_was_placed_by_its_new_text_stays_so_when_a_slow_worker_comes(store: Store) -> None:
    (one,) = stored(store, [ANN])
    place(store, [one])
    with store.begin() as tx:
        edit(tx, one.id)
        clusters.place(tx, domain="d", sketches={one.id: sketch(ANN)})
    assert is_placed_by(store, one, TRAIN)
    assert not empty_templates(store)


def undo(store: Store) -> None:
    with store.begin() as tx:
        reviews.undo(tx, person="ann", token=uuid.uuid4(), lease=timedelta(minutes=10), now=SOON)


def test_an_edit_that_is_undone_while_a_worker_has_it_is_placed_by_the_old_text(
    store: Store,
) -> None:
    make_waiting(store)
    say(store, taken(store), Act.EDIT, edit=EDIT)
    with store.begin() as tx:
        (one,) = claim(tx, now=SOON + timedelta(seconds=1))
    assert one.outputs["problem"] == TRAIN
    undo(store)
    place(store, [one])
    with store.begin() as tx:
        query = "SELECT payload -> 'outputs' ->> 'problem' FROM example_bodies"
        now = str(tx.scalar(text(query)))
    assert now != TRAIN
    assert is_placed_by(store, one, now)


def test_who_is_approved_after_an_undone_edit_is_in_a_cluster(store: Store) -> None:
    (id_,) = make_waiting(store)
    say(store, taken(store), Act.EDIT, edit=EDIT)
    undo(store)
    with store.begin() as tx:
        row = tx.execute(text("SELECT token, version FROM reviews")).one()
        form = Form(id_, row.token, row.version, Act.APPROVE)
        reviews.decide(tx, form=form, person="ann", now=SOON)
        assert clusters.clusters(tx, example_ids=[id_])


def test_two_sentences_with_one_hash_are_placed(store: Store) -> None:
    assert len(set(sketch(COLLIDING).sentences)) == 1
    one, other = stored(store, [COLLIDING, ANN])
    place(store, [one, other])
    assert is_placed_by(store, one, COLLIDING)
    assert is_placed_by(store, other, ANN)


@pytest.mark.parametrize("problem", ["", "?", "\U0001f600"])
def test_a_problem_without_a_word_is_placed_when_it_comes_alone(store: Store, problem: str) -> None:
    (one,) = stored(store, [problem])
    place(store, [one])
    with store.begin() as tx:
        assert clusters.unplaced(tx, example_ids=[one.id]) == set()


def test_a_living_sibling_is_near_where_the_first_of_its_template_was_rejected(
    store: Store,
) -> None:
    first, sibling = stored(store, [ANN, CARL])
    place(store, [first, sibling])
    with store.begin() as tx:
        decide(tx, first, REJECT)
        decide(tx, sibling)
        (found,) = neighbours.nearest_to(tx, domain="d", new=[ASIDE], limit=5, apart=GONE)
    assert linked(sketch(ASIDE), sketch(CARL))
    assert [(one.example_id, one.same_cluster) for one in found] == [(sibling.id, True)]


def test_a_living_twin_is_near_behind_any_number_of_rejected_ones(store: Store) -> None:
    twins = stored(store, [ANN.replace("12", str(100 + n)) for n in range(27)])
    place(store, twins)
    with store.begin() as tx:
        for one in twins[:-1]:
            decide(tx, one, REJECT)
        decide(tx, twins[-1])
        (found,) = neighbours.nearest_to(tx, domain="d", new=[CARL], limit=5, apart=GONE)
    assert [one.example_id for one in found] == [twins[-1].id]


@pytest.mark.parametrize("leaves", [purge, forget, edit])
def test_when_who_led_a_template_leaves_its_sibling_is_met_as_before(
    store: Store, leaves: Callable[[Tx, int], None]
) -> None:
    first, sibling, comes = stored(store, [ANN, CARL, ASIDE])
    place(store, [first, sibling])
    with store.begin() as tx:
        decide(tx, first, REJECT)
    with store.begin() as tx:
        leaves(tx, first.id)
    place(store, [comes])
    assert partition(store, [sibling, comes]) == {frozenset({0, 1})}


def test_an_edited_text_leaves_no_key(store: Store) -> None:
    one, other = stored(store, [ANN, TRAIN])
    place(store, [other])
    with store.begin() as tx:
        query = text("SELECT key FROM example_keys")
        before = {*tx.scalars(query)}
    place(store, [one])
    with store.begin() as tx:
        edit(tx, one.id)
        assert {*tx.scalars(query)} == before


@pytest.mark.parametrize("leaves", [forget, edit])
def test_who_embeds_and_who_forgets_or_edits_do_not_wait_for_each_other_in_a_circle(
    store: Store, leaves: Callable[[Tx, int], None]
) -> None:
    (one,) = stored(store, [ANN])
    place(store, [one])
    with store.begin() as tx:
        fingerprint = tx.scalar(text("SELECT fingerprint FROM examples"))
    vector = [(Lacking(one.id, fingerprint, {}), unit([1.0, 0.0], dimensions=None))]

    def embeds() -> list[int]:
        with store.begin() as tx:
            clusters.hold(tx, domain="d", example_ids=[one.id])
            return vectors.put(tx, domain="d", model="m", found=vector, now=NOW)

    with ThreadPoolExecutor(1) as other, store.begin() as tx:
        tx.execute(text("SELECT FROM examples WHERE id = :id FOR UPDATE"), {"id": one.id})
        embedding = other.submit(embeds)
        wait_for(lambda: waits(store), "it waits for the example")
        leaves(tx, one.id)
        tx.commit()
        assert embedding.result(timeout=30) == [], "its text is another, or gone"
