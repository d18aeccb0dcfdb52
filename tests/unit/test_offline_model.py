"""The offline model: it answers by analogy with the demos in its prompt, every time the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.arithmetic import StepOutcome, check_steps, numbers, stated_value, steps
from tdsys.core.example import Document
from tdsys.core.program import Item
from tdsys.llm.offline import lexicon, problems, proposer
from tdsys.llm.offline.engine import OfflineEngine
from tdsys.llm.offline.prompt import Asked, Demo, Draw, read, sections
from tests.small_world import TOPICS, items, problem

OUTPUTS = {"problem": "str", "solution": "str", "answer": "str", "hints": "list[str]"}
CAREFUL = "Work step by step and verify every calculation."


def as_demo(item: Item) -> Demo:
    shown = {k: v if isinstance(v, str) else json.dumps(v) for k, v in item.outputs.items()}
    return Demo({k: str(v) for k, v in item.inputs.items()}, shown)


def request(
    topic: str,
    demos: list[Item],
    *,
    difficulty: str = "easy",
    context: str = "zoo",
    instruction: str = CAREFUL,
) -> Asked:
    inputs = {"topic": topic, "difficulty": difficulty, "context": context}
    return Asked(instruction, tuple(as_demo(d) for d in demos), inputs, OUTPUTS, as_json=False)


def is_sound(written: Document) -> bool:
    checked = check_steps(str(written["solution"]))
    exact = bool(checked) and all(c.outcome is StepOutcome.EXACT for c in checked)
    return exact and str(stated_value(checked[-1].step)) == written["answer"]


def many(asked: Callable[[int], Asked], count: int = 200) -> list[Document]:
    return [problems.write(asked(n), Draw(7, n)) for n in range(count)]


def one_of(topic: str, *, difficulty: str = "easy", seed: int = 1) -> Item:
    outputs = problem(topic, difficulty, "bakery", random.Random(seed))
    inputs: Document = {"topic": topic, "difficulty": difficulty, "context": "bakery"}
    return Item(uid=f"{topic}-{seed}", inputs=inputs, outputs=outputs)


def test_the_same_prompt_gets_the_same_answer_and_another_seed_another() -> None:
    system = "your objective is: Write a problem."
    form = (
        "Respond with the corresponding output fields, starting with the field "
        "`[[ ## problem ## ]]`, then `[[ ## answer ## ]]`, and then ending with the marker for "
        "`[[ ## completed ## ]]`."
    )
    last = ("user", f"[[ ## topic ## ]]\narea\n\n{form}")
    replies = [OfflineEngine(seed=seed).reply(system, [last], None) for seed in (1, 1, 2)]
    assert replies[0] == replies[1] != replies[2]
    assert set(sections(replies[0])) == {"problem", "answer", "completed"}


def test_a_demo_of_the_topic_is_told_again_with_other_numbers_in_the_asked_context() -> None:
    demos = [one_of("volume", seed=n) for n in range(4)]
    copies = {d.outputs["problem"] for d in demos}
    for written in many(lambda n: request("volume", [*demos[n % 3 :], *demos[: n % 3]])):
        told = str(written["problem"])
        assert "volume" in told
        assert "zoo" in told
        assert "bakery" not in told
        assert told not in copies


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ("a train journey", "On the train journey a floor"),
        ("an airfield", "In the airfield a floor"),
        ("a football club", "At the football club a floor"),
        ("the zoo", "In the zoo a floor"),
    ],
)
def test_a_setting_comes_with_its_preposition(context: str, told: str) -> None:
    written = problems.write(request("area", [one_of("area")], context=context), Draw(1))
    assert str(written["problem"]).startswith(told)


@pytest.mark.parametrize(
    ("context", "told"),
    [("a farm", "A story about the farm. A"), ("clips and friends", "A story about clips and ")],
)
def test_a_setting_without_a_place_in_the_demo_is_told_first(context: str, told: str) -> None:
    demo = one_of("area")
    placeless = str(demo.outputs["problem"]).replace("In the bakery a", "A")
    elsewhere = demo.model_copy(update={"outputs": demo.outputs | {"problem": placeless}})
    written = problems.write(request("area", [elsewhere], context=context), Draw(1))
    assert str(written["problem"]).startswith(told)


def test_good_covering_demos_make_it_reliable_and_no_demos_make_it_sloppy() -> None:
    demos = [one_of("area", seed=n) for n in range(4)]
    with_demos = many(lambda _: request("area", demos))
    with_one = many(lambda _: request("area", demos[:1], instruction="Write."))
    without = many(lambda _: request("area", [], instruction="Write."))
    rates = [
        sum(map(is_sound, written)) / len(written) for written in (with_demos, with_one, without)
    ]
    assert rates[0] > 0.95
    assert rates[0] > rates[1] > rates[2]
    assert 0.4 < rates[2] < 0.8


def test_without_a_demo_of_the_topic_it_writes_something_else_and_worse_than_without_any() -> None:
    wrong = [one_of("probability", seed=n) for n in range(4)]
    distracted = many(lambda _: request("area", wrong))
    alone = many(lambda _: request("area", []))
    assert not any("area" in str(written["problem"]) for written in [*distracted, *alone])
    assert sum(map(is_sound, distracted)) < sum(map(is_sound, alone))


def test_a_demo_with_a_false_topic_label_is_seen_through() -> None:
    false = one_of("probability").model_copy(
        update={"inputs": {"topic": "area", "difficulty": "easy", "context": "bakery"}}
    )
    written = problems.write(request("area", [false]), Draw(1))
    assert "draw" not in str(written["problem"])


def test_it_can_only_be_as_difficult_as_its_demos() -> None:
    easy = [one_of("area", difficulty="easy", seed=n) for n in range(3)]
    hard = one_of("area", difficulty="hard")
    lengths = [
        len(
            steps(
                str(problems.write(request("area", demos, difficulty="hard"), Draw(n))["solution"])
            )
        )
        for demos in (easy, [*easy, hard])
        for n in range(5)
    ]
    assert lengths == [1] * 5 + [3] * 5


def test_a_hint_that_would_hold_the_new_answer_is_dropped() -> None:
    item = one_of("area")
    telling = item.model_copy(
        update={
            "outputs": item.outputs | {"hints": ["Multiply.", f"It is {item.outputs['answer']}."]}
        }
    )
    for written in many(lambda _: request("area", [telling]), 50):
        hints = written["hints"]
        assert isinstance(hints, list)
        assert "Multiply." in hints
        assert not any(numbers(str(hint)) for hint in hints)


def test_a_gsm8k_item_is_varied_with_its_final_line() -> None:
    demo = Demo(
        {"topic": "percent and ratio", "difficulty": "easy", "context": "clips and friends"},
        {
            "problem": "Natalia sold clips to 48 friends in April, and half as many clips in May. "
            "How many clips did Natalia sell altogether?",
            "solution": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
            "Natalia sold 48+24 = <<48+24=72>>72 clips altogether.\n#### 72",
            "answer": "72",
        },
    )
    asked = Asked(CAREFUL, (demo,) * 4, demo.inputs, OUTPUTS, as_json=False)
    written = [problems.write(asked, Draw(n)) for n in range(20)]
    sound = [w for w in written if is_sound(w)]
    assert len(sound) > 15
    assert all(str(w["solution"]).endswith(f"#### {w['answer']}") for w in sound)
    assert all("48" not in str(w["problem"]) for w in written)


def test_the_proposer_answers_every_prompt_of_mipro() -> None:
    fields = (
        "proposed_instruction",
        "observations",
        "summary",
        "program_description",
        "module_description",
    )
    for name in fields:
        answers = {
            str(proposer.propose(Asked("", (), {}, {name: "str"}, as_json=False), Draw(n))[name])
            for n in range(40)
        }
        assert all(len(answer) > 20 for answer in answers)
        assert len(answers) > 1 or name not in {"proposed_instruction", "observations"}


@given(
    st.text(max_size=300),
    st.lists(
        st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=300)),
        min_size=1,
        max_size=5,
    ),
)
def test_no_prompt_can_break_it(system: str, messages: list[tuple[str, str]]) -> None:
    assert OfflineEngine(seed=1).reply(system, messages, None)


@given(
    st.dictionaries(
        st.sampled_from(["problem", "solution", "answer", "hints"]), st.text(max_size=200)
    ),
    st.text(max_size=40),
    st.integers(0, 99),
)
def test_no_demo_can_break_the_writer(outputs: dict[str, str], topic: str, seed: int) -> None:
    demo = Demo({"topic": topic, "context": topic}, outputs)
    asked = Asked("", (demo,), {"topic": topic, "context": "zoo"}, OUTPUTS, as_json=False)
    written = problems.write(asked, Draw(seed))
    assert set(written) == set(OUTPUTS)
    assert isinstance(written["hints"], list)


def test_both_adapters_forms_are_read_alike() -> None:
    chat = (
        "Respond with the corresponding output fields, starting with the field "
        "`[[ ## answer ## ]]`, then `[[ ## hints ## ]]` (must be formatted as a valid Python "
        "list[str]), and then ending with the marker for `[[ ## completed ## ]]`."
    )
    as_json = (
        "Respond with a JSON object in the following order of fields: `answer`, then "
        "`hints` (must be formatted as a valid Python list[str])."
    )
    demos = (
        [
            ("user", "[[ ## topic ## ]]\narea"),
            ("assistant", "[[ ## answer ## ]]\n4\n\n[[ ## completed ## ]]"),
        ],
        [("user", "[[ ## topic ## ]]\narea"), ("assistant", '{"answer": "4"}')],
    )
    for form, pair in ((chat, demos[0]), (as_json, demos[1])):
        asked = read("", [*pair, ("user", f"[[ ## topic ## ]]\nvolume\n\n{form}")])
        assert asked.outputs == {"answer": "str", "hints": "list[str]"}
        assert asked.inputs["topic"].strip() == "volume"
        assert asked.demos[0].outputs["answer"] == "4"


@pytest.mark.parametrize("topic", TOPICS)
def test_the_lexicon_tells_the_small_worlds_topics_apart(topic: str) -> None:
    for item in items(24, seed=5, topics=TOPICS):
        fit = lexicon.judge(topic, str(item.outputs["problem"]))
        assert (fit is lexicon.Fit.FITS) == (item.inputs["topic"] == topic)


def test_an_unknown_topic_gets_the_benefit_of_the_doubt() -> None:
    assert lexicon.judge("quaternionic bundles", "How many apples?") is lexicon.Fit.UNCLEAR
    assert lexicon.judge("knot theory", "How many crossings has the knot?") is lexicon.Fit.FITS
