"""With the product's own metric and verifier: good demos make the program better, others do not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from pydantic import JsonValue

from tdsys.core.comparison import compare
from tdsys.core.grading import GenerationGrader
from tdsys.core.policy import Signature
from tdsys.core.program import Item, Recipe
from tdsys.llm.optimizer import DspyOptimizer
from tdsys.llm.session import Model
from tdsys.verify import EvidenceVerifier
from tests.factories import make_items
from tests.small_world import requests

FIELDS = Signature(
    inputs={"topic": "text", "difficulty": "text", "context": "text"},
    outputs={"problem": "text", "solution": "text", "answer": "text", "hints": "list"},
)
DOMAIN, ELSEWHERE = "algebra", "geometry"


@pytest.fixture(scope="module")
def verifier() -> Iterator[EvidenceVerifier]:
    found = EvidenceVerifier()
    yield found
    found.close()


def values(
    optimizer: DspyOptimizer,
    state: dict[str, JsonValue] | None,
    items: list[Item],
    grader: GenerationGrader,
) -> list[float]:
    scores = optimizer.evaluate(FIELDS, state, items, grader=grader, should_stop=lambda: False)
    return [s.value for s in scores if s.value is not None]


def with_demos_of_other_topics(state: dict[str, JsonValue], seed: int) -> dict[str, JsonValue]:
    """The same program, its demos replaced by as many correct ones of another domain."""
    demos = state["demos"]
    assert isinstance(demos, list)
    assert demos
    strangers = random.Random(seed).sample(make_items(ELSEWHERE, 60, seed=seed), len(demos))
    return {**state, "demos": [{**s.inputs, **s.outputs} for s in strangers]}


@pytest.mark.criterion("5.4")
@pytest.mark.criterion("7.4")
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_the_optimized_program_wins_on_the_test_split_because_of_its_demos(
    seed: int, verifier: EvidenceVerifier
) -> None:
    items = make_items(DOMAIN, 84, seed=seed)
    random.Random(seed).shuffle(items)
    train, val, test = items[:30], items[30:56], items[56:]
    grader = GenerationGrader(DOMAIN, train + val, verifier)
    optimizer = DspyOptimizer(Model(seed=seed), threads=8)
    made = optimizer.optimize(
        FIELDS,
        train,
        val,
        grader=grader,
        recipe=Recipe(seed=seed),
        on_trial=lambda _: None,
        should_stop=lambda: False,
    )
    before = values(optimizer, None, test, grader)
    after = values(optimizer, made.state, test, grader)
    strange = values(optimizer, with_demos_of_other_topics(made.state, seed), test, grader)
    assert compare(before, after, requests(test)).is_better
    assert not compare(before, strange, requests(test)).is_better
