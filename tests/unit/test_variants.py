"""The offline model as a maker of new problems: what it retells stays sound."""

from __future__ import annotations

import json

import pytest

from tdsys.core.answers import Equality, compare
from tdsys.core.arithmetic import StepOutcome, check_steps, evaluate, numbers, stated_value
from tdsys.llm.offline import variants
from tdsys.llm.offline.prompt import Asked, Draw
from tdsys.reference import DIFFICULTIES, DOMAINS, ReferenceGenerator

OUTPUTS = {"problem": "str", "solution": "str", "answer": "str", "hints": "list[str]"}


def fenced(content: object) -> str:
    return f"<<<DATA ab\n{json.dumps(content)}\nDATA ab>>>"


def material(count: int = 30) -> list[dict[str, object]]:
    made, topics = ReferenceGenerator(seed=3), DOMAINS["arithmetic"]
    return [
        dict(made.generate("arithmetic", topics[n % len(topics)], DIFFICULTIES[n % 3], n).outputs)
        for n in range(count)
    ]


def varied(strategy: str, old: dict[str, object], take: int, **over: str) -> dict[str, str]:
    request = {"topic": "t", "difficulty": "easy", "strategy": strategy, "take": take, **over}
    inputs = {"request": fenced(request), "material": fenced([old])}
    asked = Asked("", (), inputs, OUTPUTS, as_json=False)
    assert variants.can_vary(asked)
    return variants.vary(asked, Draw(7, str(request), str(old)))


def is_sound(made: dict[str, str]) -> bool:
    checks = check_steps(made["solution"])
    exact = bool(checks) and all(one.outcome is StepOutcome.EXACT for one in checks)
    return exact and evaluate(made["answer"]) == stated_value(checks[-1].step)


@pytest.mark.parametrize("strategy", ["rephrase", "answer-augmentation"])
def test_what_is_retold_keeps_its_answer(strategy: str) -> None:
    kept = 0
    for take, old in enumerate(material()):
        made = varied(strategy, old, take)
        kept += compare(str(old["answer"]), made["answer"]) is Equality.EQUAL and is_sound(made)
        assert (made["problem"], made["solution"]) != (old["problem"], old["solution"])
    assert 24 <= kept < 30, "it slips now and then"


@pytest.mark.parametrize("strategy", ["backward", "self-verification"])
def test_what_is_turned_around_asks_for_a_number_that_was_given(strategy: str) -> None:
    turned = 0
    for take, old in enumerate(material(60)):
        made = varied(strategy, old, take)
        given = {number.value for number in numbers(str(old["problem"]))}
        answer = numbers(made["answer"])
        turned += (
            str(old["answer"]) in made["problem"]
            and bool(answer)
            and answer[0].value in given
            and is_sound(made)
        )
    assert turned > 20


def test_new_stories_are_of_the_wanted_cell_and_setting() -> None:
    topic = DOMAINS["algebra"][0]
    made = [
        varied("persona", {}, take, topic=topic, difficulty="hard", context="a bakery")
        for take in range(20)
    ]
    assert len({one["problem"] for one in made}) == 20
    assert sum(is_sound(one) for one in made) >= 15
    assert all(len(check_steps(one["solution"])) >= 4 for one in made if is_sound(one))
    assert sum("bakery" in one["problem"] for one in made) >= 15


def test_of_an_unknown_topic_the_material_is_told_with_other_numbers() -> None:
    old = material(1)[0]
    made = varied("evolve-up", old, 1, topic="knitting")
    assert made["problem"] != old["problem"]
    assert made["answer"]
