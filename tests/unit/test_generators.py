"""The customer's generator, whatever it is: an object, a function, a class, a DSPy program."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

from tdsys.core.batch import Draft, Order, Refused
from tdsys.core.example import Cell
from tdsys.errors import InvalidInput
from tdsys.llm import generators
from tdsys.llm.generators import GeneratorMaker, TemplateMaker
from tdsys.llm.offline.engine import OfflineEngine, resampling
from tdsys.llm.session import Model
from tdsys.reference import DOMAINS, ReferenceGenerator

TOPIC = DOMAINS["algebra"][0]
ORDER = Order(1, 1001, "algebra", Cell(TOPIC, "hard"))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPY_CACHEDIR", str(tmp_path_factory.mktemp("answers")))
        yield


def one(generator: Any) -> Draft | Refused:
    (found,) = GeneratorMaker("g", generator, Model).make([ORDER])
    return found


def outputs(generator: Any) -> object:
    found = one(generator)
    assert isinstance(found, Draft), found
    assert found.made_by["generator"] == "g"
    return found.outputs


def test_an_object_with_generate_is_asked_for_the_cell() -> None:
    found = one(ReferenceGenerator())
    assert isinstance(found, Draft)
    assert found.inputs["topic"] == TOPIC
    assert found.outputs["answer"]
    assert not found.simulated


def test_a_function_gets_the_arguments_it_names() -> None:
    assert outputs(lambda topic, difficulty: {"problem": topic, "answer": difficulty}) == {
        "problem": TOPIC, "answer": "hard",
    }  # fmt: skip
    assert outputs(lambda **given: {"problem": str(sorted(given))}) == {
        "problem": "['difficulty', 'domain', 'index', 'topic']"
    }
    nested = {"inputs": {"context": "zoo"}, "outputs": {"problem": "p"}}
    assert outputs(lambda: nested) == {"problem": "p"}


def test_a_dspy_program_runs_on_the_configured_model() -> None:
    program = dspy.Predict("topic, difficulty -> problem, solution, answer")
    found = one(program)
    assert isinstance(found, Draft)
    assert found.outputs["problem"]
    assert found.simulated
    assert str(found.made_by["model"]).startswith("offline")


class Twice(dspy.Module):  # type: ignore[misc]
    """A program without a signature of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict("topic, difficulty -> problem, solution, answer")

    def forward(self, domain: str, topic: str, difficulty: str) -> Any:
        assert domain == "algebra"
        return self.write(topic=topic, difficulty=difficulty)


@pytest.mark.parametrize(
    "program",
    [
        dspy.Predict("topic, difficulty, context -> problem, solution, answer"),
        dspy.ChainOfThought("topic, difficulty, context -> problem, solution, answer"),
        Twice(),
    ],
)
def test_each_order_of_a_dspy_program_is_another_answer_and_the_same_order_the_same(
    program: Any,
) -> None:
    orders = [ORDER._replace(number=n, serial=2000 + n, context="a zoo") for n in range(6)]
    maker = GeneratorMaker("g", program, Model)

    def problems() -> list[object]:
        made = maker.make(orders)
        return [one.outputs["problem"] for one in made if isinstance(one, Draft)]

    first = problems()
    assert (len(first), len({str(one) for one in first})) == (6, 6)
    assert problems() == first


class Thrice(dspy.Module):  # type: ignore[misc]
    """A program with one prompt that it asks three times, as whoever improves a draft does."""

    def __init__(self, lm: Any = None, **config: Any) -> None:
        super().__init__()
        self.write = dspy.Predict("topic, difficulty, take -> problem, solution, answer", **config)
        self.write.lm = lm

    def forward(self, topic: str, difficulty: str) -> Any:
        told = [self.write(topic=topic, difficulty=difficulty, take=take) for take in "abc"]
        return told[-1]


def ordered(count: int, calls: int | None, **over: Any) -> list[Order]:
    """Attempts that nobody has made before."""
    first = next(SERIALS)
    one = ORDER._replace(most_calls=calls, **over)
    return [one._replace(number=n, serial=first + n) for n in range(count)]


SERIALS = itertools.count(10_000, 1000)


@pytest.mark.criterion("2.5")
def test_what_a_program_asks_is_paid_by_its_attempt_once() -> None:
    maker, orders = GeneratorMaker("g", Thrice(), Model, threads=4), ordered(4, 3)
    made = maker.make(orders)
    assert [(one.calls, one.tokens > 0, one.micros) for one in made] == [(3, True, 0.0)] * 4
    assert maker.calls == 3
    again = maker.make(orders)
    assert [(one.calls, one.tokens) for one in again] == [(0, 0)] * 4
    assert [getattr(one, "outputs", 1) for one in again] == [
        getattr(one, "outputs", 2) for one in made
    ]


@pytest.mark.criterion("2.5")
def test_a_program_is_stopped_before_the_call_that_is_not_set_aside_and_goes_on_later() -> None:
    maker, (order,) = GeneratorMaker("g", Thrice(), Model), ordered(1, 1)
    paid = 0
    for turn in range(4):
        (found,) = maker.make([order._replace(most_calls=maker.calls)])
        paid += found.calls
        if isinstance(found, Draft):
            break
        assert (found.short, found.later, turn < 3) == (True, True, True)
    assert paid == 3  # what was asked before it was stopped is in the cache
    assert maker.calls == 3


@pytest.mark.criterion("2.5")
def test_a_block_never_asks_more_than_is_set_aside_for_it() -> None:
    maker = GeneratorMaker("g", Thrice(), Model, threads=8)
    made = maker.make(ordered(8, 1))
    assert sum(one.calls for one in made) <= 8
    assert sum(isinstance(one, Draft) for one in made) == 2
    assert all(one.short for one in made if isinstance(one, Refused))


class Engine:
    """A customer's own model behind DSPy: it counts what it is sent."""

    def __init__(self) -> None:
        self.inner = OfflineEngine(seed=3)
        self.sent: list[Any] = []

    def complete(self, request: Any) -> Any:
        self.sent.append(request)
        resampling.set(len(self.sent))
        return self.inner.complete(request)


@pytest.mark.criterion("2.5")
@pytest.mark.parametrize("config", [{}, {"temperature": 0}])
def test_a_program_with_a_model_of_its_own_is_metered_and_asked_freshly_too(
    config: dict[str, Any],
) -> None:
    engine = Engine()
    own = dspy.LM(f"own/{next(SERIALS)}", engine=engine, temperature=0)
    program = Thrice(own, **config)
    maker = GeneratorMaker("g", program, Model, threads=2)
    made = maker.make(ordered(5, 3))
    assert len(engine.sent) == sum(one.calls for one in made) == 15
    assert len({str(one.outputs) for one in made if isinstance(one, Draft)}) == 5
    assert {one.made_by["model"] for one in made if isinstance(one, Draft)} == {own.model}
    assert {one.micros for one in made} == {None}, "nobody knows what it costs"
    assert program.write.lm is own


@pytest.mark.criterion("2.5")
def test_under_a_budget_of_money_a_model_nobody_knows_the_price_of_is_not_asked() -> None:
    engine = Engine()
    own = dspy.LM(f"own/{next(SERIALS)}", engine=engine)
    orders = ordered(1, 3, most_tokens=8000, dearest=2.0)
    (found,) = GeneratorMaker("g", Thrice(own), Model).make(orders)
    assert isinstance(found, Refused)
    assert (found.reason, found.calls, engine.sent) == ("unbounded", 0, [])
    assert "TDSYS_MODELS" in found.detail
    known = GeneratorMaker("g", Thrice(own), Model, prices=lambda _: (1.0, 2.0))
    (made,) = known.make(orders)
    assert isinstance(made, Draft), made
    assert 0 < (made.micros or 0) <= 2 * made.tokens
    assert {one.config.max_tokens for one in engine.sent} == {4000}


@pytest.mark.criterion("2.5")
def test_a_budget_of_tokens_ends_an_attempt_before_the_call_that_could_pass_it() -> None:
    engine = Engine()
    own = dspy.LM(f"own/{next(SERIALS)}", engine=engine)
    maker = GeneratorMaker("g", Thrice(own), Model, prices=lambda _: (1.0, 2.0))
    (found,) = maker.make(ordered(1, 1, most_tokens=2500))
    assert isinstance(found, Refused)
    assert (found.short, len(engine.sent), found.calls) == (True, 1, 1)
    assert found.tokens <= 2500


@pytest.mark.parametrize(
    ("generator", "reason"),
    [
        (lambda: 7, "malformed"),
        (lambda: None, "malformed"),
        (lambda: {"inputs": {}, "outputs": {}}, "malformed"),
        (lambda: {"problem": object()}, "malformed"),
        (lambda: {"problem": "\x00"}, "malformed"),
        (lambda: {"problem": float("nan")}, "malformed"),
        (lambda: 1 // 0, "generator_failed"),
    ],
)
def test_whatever_it_raises_or_returns_is_a_reason(generator: Any, reason: str) -> None:
    found = one(generator)
    assert isinstance(found, Refused)
    assert found.reason == reason
    assert found.detail


@pytest.mark.criterion("2.5")
def test_one_that_hangs_is_asked_once() -> None:
    asked, free = [], threading.Event()

    def hang() -> None:
        asked.append(1)
        free.wait(30)

    maker = GeneratorMaker("g", hang, Model, patience=0.05)
    found = maker.make([ORDER, ORDER])
    free.set()
    assert [one.reason for one in found if isinstance(one, Refused)] == ["generator_hangs"] * 2
    assert len(asked) == 1


@pytest.mark.criterion("2.5")
def test_a_generator_that_is_not_there_or_does_not_load_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(generators.load("reference"), ReferenceGenerator)
    with pytest.raises(InvalidInput, match="use one of: reference"):
        generators.load("nobody")
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tdsys.generators]\nbroken = no_such_module:thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidInput, match="cannot be loaded: ModuleNotFoundError"):
        generators.load("broken")


def test_templates_know_their_cells_and_say_where_they_end() -> None:
    maker = TemplateMaker()
    made, missing = maker.make([ORDER, ORDER._replace(cell=Cell("topology", "hard"))])
    assert isinstance(made, Draft)
    assert isinstance(missing, Refused)
    assert missing.reason == "no_template"
