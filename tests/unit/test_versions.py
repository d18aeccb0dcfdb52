"""How versions follow each other: val and test stay, train grows, and why a major begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsys.core.dataset import Admitted, Member, Split
from tdsys.core.example import Source
from tdsys.core.policy import Policy, Shares, Signature
from tdsys.core.versions import Before, Draft, Leaving, Pool, draft, without_removed
from tdsys.reference import DOMAINS
from tests.bench.test_leak_bench import (
    DISTANCE,
    LEAKS,
    dealt,
    distance,
    divided,
    leaks,
    problems,
)
from tests.factories import make_admitted

FIELDS = Signature(
    inputs={"topic": "text", "difficulty": "text"},
    outputs={"problem": "text", "solution": "text", "answer": "text"},
)
POLICY = Policy(min_examples=30)


def pool_of(
    examples: Sequence[Admitted],
    *,
    alike: dict[int, int] | None = None,
    unfit: Sequence[Admitted] = (),
    placed: dict[str, Split] | None = None,
) -> Pool:
    """`alike` names the near-duplicates by example id; the others are alone."""
    named = {e.id: e.id for e in examples} | (alike or {})

    def grouped(chosen: Sequence[Admitted]) -> list[int]:
        return [named[e.id] for e in chosen]

    return Pool(examples, unfit, named, grouped, placed or {})


def examples(numbers: Sequence[int], **over: Any) -> list[Admitted]:
    cells = [(t, d) for t in ("sums", "ratios") for d in ("easy", "hard")]
    return [
        make_admitted(n, topic=cells[n % 4][0], difficulty=cells[n % 4][1], **over) for n in numbers
    ]


def first(pool: Pool, policy: Policy = POLICY) -> Draft:
    return draft(pool, policy, FIELDS, None)


def before(last: Draft, *, began: Draft | None = None, policy: Policy = POLICY) -> Before:
    frozen = [m for m in (began or last).members if m.split is not Split.TRAIN]
    return Before(FIELDS, policy.shares, last.members, frozen)


def splits(members: Sequence[Member]) -> dict[int, Split]:
    return {m.example.id: m.split for m in members}


def ids(found: Draft, split: Split) -> set[int]:
    return {m.example.id for m in found.members if m.split is split}


@pytest.mark.criterion("7.2")
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_however_data_comes_and_goes_val_and_test_only_ever_hold_what_they_began_with(
    data: st.DataObject,
) -> None:
    numbers = list(range(80))
    cluster = dict(enumerate(data.draw(st.lists(st.integers(0, 25), min_size=80, max_size=80))))
    began = last = first(pool_of(examples(numbers[:40]), alike=cluster))
    for _ in range(4):
        here = data.draw(st.sets(st.sampled_from(numbers), min_size=20))
        odd = data.draw(st.sets(st.sampled_from(numbers), max_size=4))
        held = [e.model_copy(update={"suspicious": e.id in odd}) for e in examples(sorted(here))]
        placed = {m.example.fingerprint: m.split for m in last.members}
        pool = pool_of(held, alike=cluster, placed=placed)
        found = draft(pool, POLICY, FIELDS, before(last, began=began))
        groups = defaultdict(set)
        for m in found.members:
            groups[cluster[m.example.id]].add(m.split)
        assert all(len(one) == 1 for one in groups.values()), "a near-duplicate across splits"
        if found.major:
            began = last = found
            continue
        for split in (Split.VAL, Split.TEST):
            assert ids(found, split) <= ids(began, split)
        held_now, said = splits(found.members), {one.example_id for one in found.removed}
        for number, split in splits(last.members).items():
            assert held_now.get(number) is split or number in said
        for one in found.removed:
            if one.example_id in here - odd:
                assert one.reason is Leaving.NEAR_DUPLICATE
        last = found


@pytest.mark.criterion("7.2")
def test_of_900_problems_hardly_one_in_val_has_a_sibling_in_train() -> None:
    sets = [problems(domain, 1) for domain in DOMAINS]
    ours, by_lot = [divided(one) for one in sets], [dealt(one, 1) for one in sets]
    assert fmean(map(leaks, ours)) < LEAKS
    assert fmean(map(leaks, by_lot)) > 0.1
    assert fmean(distance(one, split) for one in ours for split in Split) <= DISTANCE


def test_what_is_new_comes_to_train_and_what_was_there_keeps_its_place() -> None:
    began = first(pool_of(examples(range(60))))
    grown = draft(pool_of(examples(range(80))), POLICY, FIELDS, before(began))
    assert grown.major is None
    assert ids(grown, Split.VAL) == ids(began, Split.VAL)
    assert ids(grown, Split.TEST) == ids(began, Split.TEST)
    assert ids(grown, Split.TRAIN) == ids(began, Split.TRAIN) | set(range(60, 80))
    train = [m.example.id for m in grown.members if m.split is Split.TRAIN]
    assert train[: len(began.members)][: began.sizes["train"]] == [
        m.example.id for m in began.members if m.split is Split.TRAIN
    ]


def test_what_is_like_a_test_example_waits_for_the_next_major() -> None:
    began = first(pool_of(examples(range(60))))
    asked = min(ids(began, Split.TEST))
    alike = {60: asked, 61: asked, 62: 62}
    minor = draft(pool_of(examples(range(63)), alike=alike), POLICY, FIELDS, before(began))
    assert {60, 61, 62} & ids(minor, Split.TRAIN) == {62}
    placed = {m.example.fingerprint: m.split for m in began.members}
    pool = pool_of(examples(range(63)), alike=alike, placed=placed)
    major = draft(pool, POLICY, FIELDS, before(began), asked="ann asked for it")
    assert major.major == "ann asked for it"
    assert {60, 61} <= ids(major, Split.TEST)


def test_a_new_example_that_is_like_two_splits_leaves_both_as_they_are() -> None:
    began = first(pool_of(examples(range(60))))
    left, right = min(ids(began, Split.TRAIN)), min(ids(began, Split.TEST))
    held = examples(range(61))

    def grouped(chosen: Sequence[Admitted]) -> list[int]:
        bridged = any(e.id == 60 for e in chosen)
        return [left if bridged and e.id in {left, right, 60} else e.id for e in chosen]

    pool = Pool(held, (), {e.id: 0 for e in held}, grouped, {})
    minor = draft(pool, POLICY, FIELDS, before(began))
    assert splits(minor.members) == splits(began.members)
    assert not minor.removed


def test_members_that_turn_out_to_be_alike_stay_where_they_are_asked_and_not_taught() -> None:
    began = first(pool_of(examples(range(60))))
    left, right = min(ids(began, Split.TRAIN)), min(ids(began, Split.TEST))
    pool = pool_of(examples(range(60)), alike={left: right})
    minor = draft(pool, POLICY, FIELDS, before(began))
    assert [(one.example_id, one.reason) for one in minor.removed] == [
        (left, Leaving.NEAR_DUPLICATE)
    ]
    assert splits(minor.members)[right] is Split.TEST


def test_what_left_is_named_with_the_reason_and_nothing_else_changes() -> None:
    began = first(pool_of(examples(range(60))))
    train, tested = sorted(ids(began, Split.TRAIN)), sorted(ids(began, Split.TEST))
    gone, edited, odd, unfit = train[:4]
    held = [
        e.model_copy(
            update={"suspicious": e.id == odd, **({"fingerprint": "new"} if e.id == edited else {})}
        )
        for e in examples(range(70))
        if e.id not in {gone, unfit, tested[0]}
    ]
    pool = pool_of(held, unfit=examples([unfit]))
    found = without_removed(pool, POLICY, before(began))
    assert {one.example_id: one.reason for one in found.removed} == {
        gone: Leaving.LEFT,
        tested[0]: Leaving.LEFT,
        edited: Leaving.EDITED,
        odd: Leaving.SUSPICIOUS,
        unfit: Leaving.UNFIT,
    }
    assert set(splits(found.members)) == set(range(60)) - {*train[:4], tested[0]}
    assert found.fingerprint != began.fingerprint


def test_a_test_example_that_comes_back_comes_back_to_test() -> None:
    began = first(pool_of(examples(range(60))))
    back = min(ids(began, Split.TEST))
    less = without_removed(
        pool_of([e for e in examples(range(60)) if e.id != back]), POLICY, before(began)
    )
    again = draft(pool_of(examples(range(60))), POLICY, FIELDS, before(less, began=began))
    assert again.major is None
    assert again.fingerprint == began.fingerprint


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"shares": Shares(train=0.5, val=0.25, test=0.25)}, "shares changed from 35% train"),
        ({"max_examples": 40}, "the version holds 60 examples, max_examples is 40"),
        ({"cells": {"max": 9}}, "has 15 examples, cells.max is 9"),
        ({"synthetic_share": 0.1}, "examples are synthetic, synthetic_share is 10%"),
        ({"cells": {"synthetic_share": 0.1}}, "synthetic, cells.synthetic_share is 10%"),
        ({"cluster_cap": 1}, "2 near-duplicates of each other, cluster_cap is 1"),
    ],
)
def test_a_policy_the_version_breaks_begins_a_major_and_says_so(
    policy: dict[str, Any], why: str
) -> None:
    held = examples(range(60))
    held[:30] = [e.model_copy(update={"source": Source.SYNTHETIC}) for e in held[:30]]
    pool = pool_of(held, alike={1: 5})
    began = first(pool)
    found = draft(pool, Policy(min_examples=30, **policy), FIELDS, before(began))
    assert why in str(found.major)


def test_other_fields_begin_a_major_and_other_instructions_do_not() -> None:
    pool = pool_of(examples(range(60)))
    began = first(pool)
    fewer = Signature(inputs={"topic": "text"}, outputs=FIELDS.outputs)
    found = draft(pool, POLICY, fewer, before(began))
    assert "the program's fields changed from topic: text, difficulty: text ->" in str(found.major)
    told = FIELDS.model_copy(update={"instructions": "Write better."})
    assert draft(pool, POLICY, told, before(began)).major is None


def test_a_val_or_test_that_lost_too_much_begins_a_major_that_new_examples_fill() -> None:
    began = first(pool_of(examples(range(60))))
    tested = sorted(ids(began, Split.TEST))
    few, many = tested[: len(tested) // 6], tested[: len(tested) // 3]

    def after(gone: list[int]) -> Draft:
        held = [e for e in examples(range(90)) if e.id not in gone]
        placed = {m.example.fingerprint: m.split for m in began.members}
        return draft(pool_of(held, placed=placed), POLICY, FIELDS, before(began))

    assert after(few).major is None
    found = after(many)
    assert found.major == f"test lost {len(many)} of the {len(tested)} examples it began with"
    assert len(ids(found, Split.TEST)) > len(tested)
    assert not ids(found, Split.TEST) & ids(began, Split.TRAIN), "taught, so never asked"


def test_a_train_that_outgrew_test_begins_a_major() -> None:
    began = first(pool_of(examples(range(60))))
    assert draft(pool_of(examples(range(110))), POLICY, FIELDS, before(began)).major is None
    grown = draft(pool_of(examples(range(160))), POLICY, FIELDS, before(began))
    assert "train has outgrown val: it is 12% of the whole, 35% wanted" in str(grown.major)


def test_a_full_set_is_made_anew_only_if_enough_would_be_others() -> None:
    policy = Policy(min_examples=30, max_examples=60)
    began = first(pool_of(examples(range(60))), policy)
    better = examples(range(60, 62), quality=0.9)
    pool = pool_of([*examples(range(60)), *better])
    same = draft(pool, policy, FIELDS, before(began, policy=policy))
    assert (same.major, same.fingerprint) == (None, began.fingerprint)
    better = examples(range(60, 70), quality=0.9)
    pool = pool_of([*examples(range(60)), *better])
    anew = draft(pool, policy, FIELDS, before(began, policy=policy))
    assert anew.major == "the set is full, and 10 of 60 examples would be others if made anew"
