"""Agreement beyond chance: the published examples, and what must hold of any ratings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.agreement import alpha, between, effective, kappa, share, weighted_kappa, wilson

_: float | None = None
WORDS = st.sampled_from([0.0, 1.0, 2.0, 3.0])
PAIRS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=40)
TABLES = st.lists(st.lists(st.none() | WORDS, min_size=3, max_size=3), max_size=30)


def told(table: list[list[int]]) -> tuple[list[int], list[int]]:
    """The two raters' words from their cross table."""
    pairs = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return [i for i, _ in pairs], [j for _, j in pairs]


# Agresti, Maxwell and others: 91 married couples, as the R package vcd computes it.
COUPLES = told([[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]])


def test_kappa_and_its_error_are_those_of_the_published_tables() -> None:
    found = kappa(*COUPLES)
    assert found
    assert (found.value, found.error) == pytest.approx((0.1293, 0.06860), abs=5e-5)
    # Fleiss, "Statistical Methods for Rates and Proportions", table 13.1.
    found = kappa(*told([[75, 1, 4], [5, 4, 1], [0, 0, 10]]))
    assert found
    assert (found.value, found.error) == pytest.approx((0.676, 0.088), abs=5e-4)


def test_weighted_kappa_is_that_of_the_published_table() -> None:
    assert weighted_kappa(*COUPLES, power=1) == pytest.approx(0.2374, abs=5e-5)
    assert weighted_kappa(*COUPLES, power=2) == pytest.approx(0.3320, abs=5e-5)


def test_alpha_is_that_of_krippendorffs_examples() -> None:
    first = zip([0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0], strict=True)
    assert alpha(first, level="nominal") == pytest.approx(0.095, abs=5e-4)
    four: list[list[float | None]] = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
    items = list(zip(*four, strict=True))
    assert alpha(items, level="nominal") == pytest.approx(0.743, abs=5e-4)
    assert alpha(items, level="interval") == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilsons_interval_is_that_of_newcombes_table(
    hits: int, n: int, low: float, high: float
) -> None:
    found = wilson(hits, n)
    assert found
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 500), st.data())
def test_an_interval_holds_its_share_and_stays_within_zero_and_one(
    n: int, data: st.DataObject
) -> None:
    found = wilson(data.draw(st.integers(0, n)), n)
    assert found
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(PAIRS)
def test_agreement_is_symmetric_and_never_above_one(pairs: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    for found, turned in (
        (weighted_kappa(first, second, power=1), weighted_kappa(second, first, power=1)),
        (weighted_kappa(first, second, power=2), weighted_kappa(second, first, power=2)),
        (alpha(pairs, level="nominal"), alpha([(b, a) for a, b in pairs], level="nominal")),
    ):
        assert (found is None) is (turned is None)
        if found is not None and turned is not None:
            assert found == pytest.approx(turned)
            assert found <= 1 + 1e-12
    one, other = kappa(first, second), kappa(second, first)
    assert (one is None) is (other is None)
    if one and other:
        assert (one.value, one.error) == pytest.approx((other.value, other.error))
        assert -1 <= one.low <= one.value <= one.high <= 1


@given(st.lists(WORDS, min_size=2, max_size=30))
def test_who_always_agrees_has_one_and_where_nothing_varies_nothing_is_said(
    words: list[float],
) -> None:
    nothing = len(set(words)) == 1
    found = kappa(words, words)
    assert (found is None) if nothing else (found is not None and found.value == 1)
    assert weighted_kappa(words, words, power=2) == (None if nothing else 1)
    assert alpha(zip(words, words, strict=True), level="interval") == (None if nothing else 1)


@given(PAIRS, st.integers(2, 5))
def test_equal_weights_are_no_weights_and_a_whole_weight_is_so_many_items(
    pairs: list[tuple[float, float]], times: int
) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    plain = kappa(first, second)
    level = kappa(first, second, weights=[0.3] * len(pairs))
    repeated = kappa(first[:1] * times + first[1:], second[:1] * times + second[1:])
    heavy = kappa(first, second, weights=[float(times), *[1.0] * (len(pairs) - 1)])
    for one, other in ((plain, level), (repeated, heavy)):
        assert (one is None) is (other is None)
        if one and other:
            assert one.value == pytest.approx(other.value, abs=1e-9)


@given(TABLES)
def test_an_item_that_one_person_rated_changes_nothing(table: list[list[float | None]]) -> None:
    lonely: list[float | None] = [3.0, None, None]
    assert alpha(table, level="nominal") == alpha([*table, lonely], level="nominal")
    assert between(table) == between([*table, lonely])


@given(TABLES)
def test_equal_weights_change_no_alpha(table: list[list[float | None]]) -> None:
    plain = alpha(table, level="interval")
    level = alpha(table, level="interval", weights=[0.3] * len(table))
    assert (plain is None) is (level is None)
    assert plain == pytest.approx(level)


def test_for_alpha_a_whole_weight_is_so_many_items() -> None:
    rows = [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]] * 200
    heavy = alpha(rows, level="nominal", weights=[3.0, 1.0, 1.0] * 200)
    assert heavy == pytest.approx(alpha([*rows, *rows[::3], *rows[::3]], level="nominal"), abs=1e-3)
    assert heavy != pytest.approx(alpha(rows, level="nominal"), abs=1e-2)


@given(TABLES)
def test_two_values_far_apart_count_as_one_disagreement_where_only_words_count(
    table: list[list[float | None]],
) -> None:
    far = [[None if v is None else v * 1000 for v in row] for row in table]
    assert alpha(table, level="nominal") == alpha(far, level="nominal")


def test_people_are_compared_however_few_of_them_saw_an_item() -> None:
    found = between([[1, 1, None], [0, None, 0], [1, 0, None], [1, None, None]])
    assert found
    assert (found.raters, found.items, found.kappa) == (3, 3, None)
    assert found.agreed == pytest.approx(2 / 3)
    two = between([[1, 1], [0, 0], [1, 0], [0, 0]])
    assert two
    assert two.kappa == pytest.approx(0.5)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30))
def test_the_effective_number_is_the_number_only_where_all_weigh_alike(
    weights: list[float],
) -> None:
    assert 1 - 1e-9 <= effective(weights) <= len(weights) + 1e-9
    assert effective([2.0] * len(weights)) == pytest.approx(len(weights))


def test_of_nothing_nothing_is_said() -> None:
    assert wilson(0, 0) is None
    assert share([]) is None
    assert kappa([], []) is None
    assert alpha([], level="nominal") is None
    assert alpha([(1.0, None)], level="interval") is None
    assert between([[1, None]]) is None
    assert effective([]) == 0
