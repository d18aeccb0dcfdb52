"""Selection, division and naming of dataset versions."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.dataset import (
    Admitted,
    Member,
    Split,
    divide,
    fingerprint,
    item,
    lacking,
    select,
    shortcomings,
    signature_of,
)
from tdsys.core.example import Cell, Source
from tdsys.core.mixing import Counted, counted, exceeded
from tdsys.core.policy import Policy, Shares, Signature
from tdsys.core.sections import Cells
from tests.factories import make_admitted

SHARES = Shares()
topics = st.sampled_from(["sums", "products", "ratios"])
levels = st.sampled_from(["easy", "medium", "hard"])


def capped(cap: int, **over: Any) -> Policy:
    """A policy whose versions are smaller than any that may be published."""
    return Policy.model_construct(**{**Policy(**over).__dict__, "max_examples": cap})


@st.composite
def pools(draw: st.DrawFn) -> list[Admitted]:
    cells = draw(st.lists(st.tuples(topics, levels, st.floats(0, 1)), min_size=1, max_size=60))
    return [make_admitted(n, topic=t, difficulty=d, quality=q) for n, (t, d, q) in enumerate(cells)]


@st.composite
def clustered(draw: st.DrawFn) -> tuple[list[Admitted], list[int]]:
    pool = draw(pools())
    return pool, draw(st.lists(st.integers(0, 12), min_size=len(pool), max_size=len(pool)))


@pytest.mark.criterion("6.2")
@given(pools(), st.integers(1, 40))
def test_selection_takes_the_cap_and_levels_the_cells(pool: list[Admitted], cap: int) -> None:
    chosen = select(pool, capped(cap))
    assert len(chosen) == min(cap, len(pool))
    held, taken = Counter(e.cell for e in pool), Counter(e.cell for e in chosen)
    fullest = max(taken.values())
    assert all(taken[cell] >= min(size, fullest - 1) for cell, size in held.items())


@given(pools(), st.integers(1, 40))
def test_selection_never_prefers_a_worse_example_of_the_same_cell(
    pool: list[Admitted], cap: int
) -> None:
    chosen = {e.id for e in select(pool, capped(cap))}
    worst_in: dict[Cell, float] = defaultdict(lambda: 2.0)
    best_out: dict[Cell, float] = defaultdict(lambda: -1.0)
    for e in pool:
        if e.id in chosen:
            worst_in[e.cell] = min(worst_in[e.cell], e.quality)
        else:
            best_out[e.cell] = max(best_out[e.cell], e.quality)
    assert all(worst_in[cell] >= best_out[cell] for cell in best_out)


WANTED: dict[str, Any] = {"topics": ["sums", "products", "ratios"],
                          "difficulties": ["easy", "medium", "hard"]}  # fmt: skip


@pytest.mark.criterion("3.1")
@given(pools(), st.integers(1, 40), st.integers(1, 9))
def test_no_cell_has_more_than_its_maximum(pool: list[Admitted], cap: int, most: int) -> None:
    odd = {"topic": "sums", "difficulty": "easy", "max": most + 3}
    chosen = select(pool, capped(cap, cells={"max": most, "exceptions": [odd]}))
    held, taken = Counter(e.cell for e in pool), Counter(e.cell for e in chosen)
    bounds = {cell: most + 3 if cell == ("sums", "easy") else most for cell in held}
    assert all(taken[cell] <= bounds[cell] for cell in taken)
    assert len(chosen) == min(cap, sum(min(held[cell], bounds[cell]) for cell in held))


@given(pools(), st.integers(5, 40), st.integers(1, 9))
def test_a_cells_minimum_comes_before_what_is_even(
    pool: list[Admitted], cap: int, least: int
) -> None:
    odd = {"topic": "sums", "difficulty": "easy", "min": least}
    chosen = select(pool, capped(cap, **WANTED, cells={"exceptions": [odd]}))
    held = sum(e.cell == ("sums", "easy") for e in pool)
    assert sum(e.cell == ("sums", "easy") for e in chosen) >= min(least, held, cap)


SHARES_OF_MADE = st.sampled_from([0, 0.1, 0.25, 1 / 3, 0.5, 0.8, 1])


@st.composite
def mixes(draw: st.DrawFn) -> tuple[list[Admitted], Policy]:
    """A pool with synthetic examples in it, and a policy that limits them."""
    pool = [
        e.model_copy(update={"source": draw(st.sampled_from([Source.SYNTHETIC, Source.CAPTURED]))})
        for e in draw(pools())
    ]
    odd = {"topic": "sums", "difficulty": "easy", "synthetic_share": draw(SHARES_OF_MADE)}
    cells = {"synthetic_share": draw(SHARES_OF_MADE), "exceptions": [odd],
             "max": draw(st.none() | st.integers(1, 9))}  # fmt: skip
    return pool, capped(draw(st.integers(1, 40)), synthetic_share=draw(SHARES_OF_MADE), cells=cells)


def kinds_of(held: list[Admitted]) -> dict[Cell, Counted]:
    return counted((e.cell, e.source) for e in held)


def largest(pool: list[Admitted], policy: Policy) -> int:
    """How many examples a version can hold at most: counted out, one kind after the other."""
    real = beside = 0
    for cell, (made, others) in kinds_of(pool).items():
        most = policy.cells.most(cell)
        places = len(pool) if most is None else most
        x = min(others, places)
        share = Fraction(policy.cells.synthetic_share_of(cell)).limit_denominator(99)
        beside += max(y for y in range(min(made, places - x) + 1) if y <= share * (x + y))
        real += x
    whole = Fraction(policy.synthetic_share).limit_denominator(99)
    return min(
        policy.max_examples,
        real + max(y for y in range(beside + 1) if y <= whole * (real + y)),
    )


@pytest.mark.criterion("3.1")
@given(mixes())
def test_no_share_of_a_version_or_a_cell_is_exceeded_and_no_larger_version_could_be_had(
    case: tuple[list[Admitted], Policy],
) -> None:
    pool, policy = case
    chosen = select(pool, policy)
    assert list(exceeded(policy, kinds_of(chosen))) == []
    assert len(chosen) == largest(pool, policy)


@given(mixes())
def test_of_a_kind_and_a_cell_the_best_are_taken(case: tuple[list[Admitted], Policy]) -> None:
    pool, policy = case
    taken = {e.id for e in select(pool, policy)}
    for kind in {(e.cell, e.source) for e in pool}:
        alike = [e for e in pool if (e.cell, e.source) == kind]
        out = max((e.quality for e in alike if e.id not in taken), default=0.0)
        assert all(e.quality >= out for e in alike if e.id in taken)


@given(mixes(), st.integers(0, 40))
def test_what_is_added_to_a_version_exceeds_no_share_that_was_kept_before(
    case: tuple[list[Admitted], Policy], old: int
) -> None:
    pool, policy = case
    held, fresh = pool[:old], pool[old:]
    chosen = select(fresh, policy, held=held)
    before, after = kinds_of(held), kinds_of([*held, *chosen])
    assert len(chosen) <= max(0, policy.max_examples - len(held))
    grown = {c: n for c, n in after.items() if n.made > before.get(c, Counted()).made}
    told = list(exceeded(policy, grown))
    assert not [one for one in told if " examples of " in one]
    if grown:
        assert not [one for one in exceeded(policy, after) if " examples of " not in one]


@pytest.mark.criterion("3.1")
def test_the_share_of_a_cell_is_its_own() -> None:
    kinds = [Source.SYNTHETIC] * 6 + [Source.CAPTURED] * 2
    pool = [
        make_admitted(8 * n + m, topic=topic, difficulty="easy", source=kind)
        for n, topic in enumerate(("sums", "ratios"))
        for m, kind in enumerate(kinds)
    ]
    odd = {"topic": "ratios", "difficulty": "easy", "synthetic_share": 0}
    policy = Policy(cells=Cells.model_validate({"synthetic_share": 0.5, "exceptions": [odd]}))
    assert kinds_of(select(pool, policy)) == {
        Cell("sums", "easy"): Counted(2, 2),
        Cell("ratios", "easy"): Counted(0, 2),
    }


@pytest.mark.criterion("3.1")
@given(clustered(), st.integers(1, 40), st.integers(1, 4))
def test_no_more_near_duplicates_of_each_other_than_the_cap(
    case: tuple[list[Admitted], list[int]], cap: int, alike: int
) -> None:
    pool, clusters = case
    named = {e.id: name for e, name in zip(pool, clusters, strict=True)}
    chosen = select(pool, capped(cap, cluster_cap=alike), clusters=named)
    taken = Counter(named[e.id] for e in chosen)
    assert max(taken.values()) <= alike
    assert len(chosen) == min(cap, sum(min(alike, n) for n in Counter(clusters).values()))


@given(clustered(), st.integers(1, 40))
def test_all_caps_hold_at_once(case: tuple[list[Admitted], list[int]], cap: int) -> None:
    pool, clusters = case
    pool = [e.model_copy(update={"source": Source.SYNTHETIC}) if e.id % 3 else e for e in pool]
    named = {e.id: name for e, name in zip(pool, clusters, strict=True)}
    policy = capped(cap, cluster_cap=2, synthetic_share=0.4, cells={"max": 3})
    chosen = select(pool, policy, clusters=named)
    assert len(chosen) <= cap
    assert max(Counter(e.cell for e in chosen).values(), default=0) <= 3
    assert max(Counter(named[e.id] for e in chosen).values(), default=0) <= 2
    assert sum(e.source is Source.SYNTHETIC for e in chosen) <= 0.4 * len(chosen) + 1e-9


@pytest.mark.criterion("3.1")
def test_each_cell_that_lacks_examples_is_told_with_how_many() -> None:
    policy = Policy(topics=("sums",), difficulties=("easy", "hard"), cells=Cells(min=2))
    held = {Cell("sums", "easy"): 2}
    assert lacking(held, policy) == ["sums, hard: 0 of at least 2"]
    assert lacking({**held, Cell("sums", "hard"): 2}, policy) == []


@pytest.mark.criterion("3.1")
def test_an_axis_without_a_list_has_what_is_seen_of_wanted_cells() -> None:
    seen = [Cell("sums", "easy"), Cell("angles", "odd"), Cell("ratios", "hard")]
    assert Policy().wanted_cells(seen) == sorted(seen)
    assert Policy(topics=("ratios", "sums")).wanted_cells(seen) == [
        ("ratios", "easy"), ("ratios", "hard"), ("sums", "easy"), ("sums", "hard"),
    ]  # fmt: skip
    both = Policy(topics=("ratios",), difficulties=("hard", "odd"))
    assert both.wanted_cells(seen) == [("ratios", "hard"), ("ratios", "odd")]


@given(clustered())
def test_a_cluster_is_never_divided(case: tuple[list[Admitted], list[int]]) -> None:
    pool, clusters = case
    splits = defaultdict(set)
    for member in divide(pool, clusters, shares=SHARES):
        splits[member.cluster].add(member.split)
    assert all(len(found) == 1 for found in splits.values())


@given(clustered(), st.randoms())
def test_division_keeps_everyone_once_and_does_not_depend_on_order(
    case: tuple[list[Admitted], list[int]], draw: object
) -> None:
    pool, clusters = case
    pairs = list(zip(pool, clusters, strict=True))
    draw.shuffle(pairs)  # type: ignore[attr-defined]
    first = divide(pool, clusters, shares=SHARES)
    second = divide([e for e, _ in pairs], [c for _, c in pairs], shares=SHARES)
    assert first == second
    assert sorted(m.example.id for m in first) == sorted(e.id for e in pool)


def test_division_without_clusters_hits_the_shares_in_every_cell() -> None:
    pool = [
        make_admitted(n, topic=t, difficulty=d)
        for n, (t, d) in enumerate((t, d) for t in "abc" for d in "xyz" for _ in range(20))
    ]
    members = divide(pool, range(len(pool)), shares=SHARES)
    for split, share in ((Split.TRAIN, 7), (Split.VAL, 7), (Split.TEST, 6)):
        sizes = Counter(m.example.cell for m in members if m.split is split)
        assert set(sizes.values()) <= {share - 1, share, share + 1}


SIGNATURE = Signature(inputs={"topic": "text"}, outputs={"problem": "text"})


@given(clustered())
def test_the_version_is_named_by_content_division_and_signature(
    case: tuple[list[Admitted], list[int]],
) -> None:
    members = divide(*case, shares=SHARES)
    name = fingerprint(members, SIGNATURE)
    assert name == fingerprint(list(reversed(members)), SIGNATURE)
    moved = [
        m.model_copy(update={"split": Split.TEST if m.split is Split.TRAIN else Split.TRAIN})
        for m in members
    ]
    other = Signature(inputs={"topic": "text"}, outputs={"answer": "text"})
    assert len({name, fingerprint(moved, SIGNATURE), fingerprint(members, other)}) == 3


@pytest.mark.criterion("5.2")
def test_the_signature_is_what_nearly_all_examples_hold() -> None:
    pool = [make_admitted(n) for n in range(40)]
    odd = make_admitted(99, inputs={"topic": "sums", "difficulty": "easy", "note": "x"})
    found = signature_of([*pool, odd], Policy())
    assert found.inputs == {"topic": "text", "difficulty": "text"}
    assert found.outputs == {"problem": "text", "solution": "text", "answer": "text"}


@pytest.mark.criterion("5.1")
def test_a_program_sees_signature_fields_and_nothing_else() -> None:
    example = make_admitted(1, inputs={"topic": "sums", "difficulty": "easy", "secret": "x"})
    seen = item(example, SIGNATURE)
    assert seen.inputs == {"topic": "sums"}
    assert set(seen.outputs) == {"problem"}


def test_too_few_examples_say_how_many_more() -> None:
    members = [Member(example=make_admitted(n), split=Split.TRAIN, cluster=n) for n in range(8)]
    told = shortcomings(members, Policy(min_examples=30))
    assert told == ["8 usable examples, 22 more needed"]


def test_enough_examples_that_all_belong_together_say_which_splits_are_too_small() -> None:
    members = [Member(example=make_admitted(n), split=Split.TRAIN, cluster=1) for n in range(30)]
    told = shortcomings(members, Policy(min_examples=30))
    assert [one.split("go to ")[1].split()[0] for one in told] == ["val", "test"]


@given(clustered(), st.integers(0, 40))
def test_what_has_been_placed_stays_and_nothing_leaks_into_test(
    case: tuple[list[Admitted], list[int]], old: int
) -> None:
    pool, clusters = case
    before = divide(pool[:old], clusters[:old], shares=SHARES)
    placed = {m.example.fingerprint: m.split for m in before}
    after = {
        m.example.fingerprint: m.split for m in divide(pool, clusters, shares=SHARES, placed=placed)
    }
    for name, split in placed.items():
        assert after[name] is split


def test_a_new_example_that_joins_two_old_clusters_pulls_them_into_train() -> None:
    a, b, bridge = (make_admitted(n) for n in range(3))
    placed = {a.fingerprint: Split.TEST, b.fingerprint: Split.TRAIN}
    members = divide([a, b, bridge], [0, 0, 0], shares=SHARES, placed=placed)
    assert {m.split for m in members} == {Split.TRAIN}


@given(clustered(), st.sets(st.integers(0, 60)), st.integers(0, 40))
def test_nothing_suspicious_is_ever_in_train_and_nothing_else_is_lost(
    case: tuple[list[Admitted], list[int]], marked: set[int], old: int
) -> None:
    plain, clusters = case
    placed = {m.example.fingerprint: m.split for m in divide(plain[:old], clusters[:old],
                                                             shares=SHARES)}  # fmt: skip
    pool = [e.model_copy(update={"suspicious": e.id in marked}) for e in plain]
    members = divide(pool, clusters, shares=SHARES, placed=placed)
    assert not any(m.example.suspicious and m.split is Split.TRAIN for m in members)
    held = {m.example.id for m in members}
    assert {e.id for e in pool if not e.suspicious} <= held
    splits = defaultdict(set)
    for m in members:
        splits[clusters[pool.index(m.example)]].add(m.split)
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.criterion("7.2")
def test_the_fields_of_the_last_version_stay_while_enough_examples_fit() -> None:
    pool = [make_admitted(n) for n in range(60)]
    last = Signature(inputs={"topic": "text"}, outputs={"problem": "text"})
    assert signature_of(pool, Policy(min_examples=30), last) == last
    odd = Signature(inputs={"theme": "text"}, outputs={"problem": "text"})
    assert signature_of(pool, Policy(min_examples=30), odd) != odd


def test_the_order_of_fields_is_part_of_the_name() -> None:
    members = divide([make_admitted(n) for n in range(9)], range(9), shares=SHARES)
    first = Signature(inputs={"a": "text", "b": "text"}, outputs={"c": "text"})
    second = Signature(inputs={"b": "text", "a": "text"}, outputs={"c": "text"})
    assert fingerprint(members, first) != fingerprint(members, second)
