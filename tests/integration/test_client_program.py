"""A generator that is itself a DSPy program is captured by adding one object; no model is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from tdsys.client import CaptureClient, MemorySpool
from tests.unit.test_choosing import Remembering

ANSWER = {"problem": "1 + 1?", "answer": "2", "reasoning": "count"}


class Write(dspy.Module):  # type: ignore[misc]
    """Two steps; the second is what the caller gets."""

    def __init__(self) -> None:
        super().__init__()
        self.think = dspy.ChainOfThought("topic -> problem")
        self.solve = dspy.Predict("problem -> answer")

    def forward(self, topic: str, level: int = 1) -> dspy.Prediction:
        thought = self.think(topic=topic)
        solved = self.solve(problem=thought.problem)
        if level > 9:
            raise ValueError("too hard")
        return dspy.Prediction(problem=thought.problem, answer=solved.answer)

    async def aforward(self, topic: str) -> dspy.Prediction:
        thought = await self.think.acall(topic=topic)
        return dspy.Prediction(problem=thought.problem)


class Captured:
    """A client whose callback is the only one there is."""

    def __init__(self, **options: Any) -> None:
        self.spool = Remembering()
        self.client = CaptureClient("redis://127.0.0.1:1", spool=self.spool, **options)
        callback = self.client.dspy_callback(domain="sums", metadata={"generator": "v7"})
        self.context = dspy.context(lm=DummyLM([ANSWER] * 50), callbacks=[callback])

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(record) for record in self.spool.records]


def test_a_programs_inputs_and_outputs_are_captured_once_and_not_those_of_its_parts() -> None:
    captured = Captured()
    with captured.context:
        Write()(topic="addition", level=2)
    (record,) = captured.records()
    assert record["domain"] == "sums"
    assert record["inputs"] == {"topic": "addition", "level": 2}
    assert record["outputs"] == {"problem": "1 + 1?", "answer": "2"}
    assert record["metadata"] == {"generator": "v7", "program": "Write"}


def test_inputs_by_position_get_the_names_the_program_gives_them() -> None:
    captured = Captured()
    with captured.context:
        Write()("addition")
    assert captured.records()[0]["inputs"] == {"topic": "addition", "level": 1}


def test_a_bare_predictor_and_an_async_program_are_programs_too() -> None:
    captured = Captured()
    with captured.context:
        dspy.Predict("topic -> problem, answer")(topic="addition")
        asyncio.run(Write().acall(topic="addition"))
    first, second = captured.records()
    assert first["metadata"]["program"] == "Predict"
    assert first["outputs"] == {"problem": "1 + 1?", "answer": "2"}
    assert second["outputs"] == {"problem": "1 + 1?"}


def test_a_program_that_fails_is_captured_only_if_failures_are_asked_for() -> None:
    captured, all_captured = Captured(), Captured(capture_failures=True)
    for one in (captured, all_captured):
        with one.context, pytest.raises(ValueError, match="too hard"):
            Write()(topic="addition", level=10)
    assert captured.records() == []
    assert captured.client.skipped() == {"failed": 1}
    (record,) = all_captured.records()
    assert record["outputs"] == {"error": "ValueError"}
    assert record["metadata"]["ok"] is False


def test_what_an_evaluation_tries_is_no_example() -> None:
    captured = Captured()
    devset = [dspy.Example(topic="addition").with_inputs("topic") for _ in range(4)]
    evaluate = dspy.Evaluate(devset=devset, metric=lambda *_: 1.0, num_threads=2)
    with captured.context:
        evaluate(Write())
    assert captured.records() == []


def test_programs_run_side_by_side_are_each_captured() -> None:
    captured = Captured()
    calls = [(Write(), {"topic": f"t{n}"}) for n in range(4)]
    with captured.context:
        dspy.Parallel(num_threads=2, disable_progress_bar=True)(calls)
    assert sorted(one["inputs"]["topic"] for one in captured.records()) == ["t0", "t1", "t2", "t3"]


def test_dspy_has_nothing_to_complain_about(caplog: pytest.LogCaptureFixture) -> None:
    logger = __import__("logging").getLogger("dspy.utils.callback")
    logger.addHandler(caplog.handler)
    captured = Captured()
    with captured.context:
        Write()(topic="addition")
        dspy.Tool(lambda x: x, name="same")(x=1)
    logger.removeHandler(caplog.handler)
    assert not [r for r in caplog.records if "callback" in r.getMessage()]
    assert isinstance(captured.spool, MemorySpool)
