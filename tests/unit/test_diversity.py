"""How varied a set of problems is."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.diversity import LARGEST_SAMPLE, Piece, distinct, entropy, measure, vendi
from tdsys.core.example import Cell
from tdsys.core.sketching import likeness, sketch
from tdsys.reference import ReferenceGenerator

TALES = [
    "A bakery sells three trays of buns.",
    "The train leaves Berlin at noon.",
    "Seven frogs jump over quiet ponds.",
    "Her garden grows purple tulips.",
]
CELL = Cell("t", "easy")

words = st.sampled_from(["red", "blue", "sold", "Ann", "7", "pens", "trains", "how", "many", "?"])
sets = st.lists(st.lists(words, min_size=1, max_size=9).map(" ".join), min_size=1, max_size=9)


def of_order_2(problems: list[str]) -> float:
    """From the eigenvalues of the whole kernel."""
    made = [sketch(one) for one in problems]
    kernel = np.array([[1.0 if a == b else likeness(a, b) for b in made] for a in made])
    eigenvalues = np.linalg.eigvalsh(kernel / len(made))
    return float(1 / (eigenvalues**2).sum())


@given(sets)
def test_the_closed_form_is_what_the_eigenvalues_come_to(problems: list[str]) -> None:
    assert vendi([sketch(one) for one in problems]) == pytest.approx(of_order_2(problems))


def test_wholly_different_problems_count_one_each_and_copies_together() -> None:
    assert vendi([sketch(one) for one in TALES]) == pytest.approx(4, abs=0.05)
    assert vendi([sketch(TALES[0])] * 9) == pytest.approx(1)
    assert vendi([sketch(one) for one in [*TALES, *TALES]]) == pytest.approx(4, abs=0.05)
    assert vendi([]) is None


def test_other_numbers_and_names_add_nothing() -> None:
    asked = [f"Ann has {n} pens and buys {n + 2} more. How many has she?" for n in range(20)]
    assert vendi([sketch(one) for one in asked]) == pytest.approx(1)


def test_distinct_runs_of_words() -> None:
    assert distinct(["one two three"], 2) == 1.0
    assert distinct(["one two one two"], 2) == pytest.approx(2 / 3)
    assert distinct(["one"], 2) is None


def test_entropy_is_one_where_cells_are_even_and_less_where_one_is_empty() -> None:
    even = [Cell(t, d) for t in "ab" for d in ("easy", "hard")]
    assert entropy(even) == pytest.approx(1)
    assert entropy(even[:3]) == pytest.approx(0.7925, abs=1e-4)
    assert entropy([*even, *[even[0]] * 20]) < 0.6  # type: ignore[operator]
    assert entropy([CELL] * 3) is None
    assert entropy([]) is None


def test_a_set_is_measured_on_a_sample_and_counted_whole() -> None:
    pieces = [Piece(f"{TALES[n % 4]} {n}", n % 4, CELL) for n in range(LARGEST_SAMPLE + 500)]
    found = measure(pieces)
    assert (found.examples, found.sample) == (LARGEST_SAMPLE + 500, LARGEST_SAMPLE)
    assert (found.clusters, found.cluster_ratio) == (4, 4 / 1500)
    assert found.largest_cluster == 375
    assert found.vendi == pytest.approx(4, abs=0.05)


def test_nothing_has_no_diversity() -> None:
    found = measure([])
    assert {found.vendi, found.distinct_2, found.cluster_ratio, found.entropy} == {None}
    assert (found.examples, found.clusters, found.cells) == (0, 0, 0)


@pytest.mark.criterion("10.2")
def test_every_metric_sees_that_a_set_is_made_of_copies() -> None:
    problems = list(ReferenceGenerator(seed=5).stream(("algebra",), 120))
    texts = [one.outputs["problem"] for one in problems]
    cells = [Cell(one.inputs["topic"], one.inputs["difficulty"]) for one in problems]
    rng = random.Random(1)
    varied = measure([Piece(t, n, c) for n, (t, c) in enumerate(zip(texts, cells, strict=True))])
    copied = measure([Piece(texts[k], k, cells[k]) for k in rng.choices(range(6), k=120)])
    for name in ("vendi", "vendi_share", "distinct_2", "distinct_4", "cluster_ratio"):
        assert getattr(copied, name) < 0.5 * getattr(varied, name), name
