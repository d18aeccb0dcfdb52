"""Which captures a client keeps, and what of them; nothing here needs a broker."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import pytest
from pydantic import BaseModel

from tdsys.client import CaptureClient, MemorySpool

INPUTS: dict[str, Any] = {"topic": "sums", "user": "ann@example.org"}
OUTPUTS: dict[str, Any] = {"problem": "1 + 1?", "answer": "2", "draft": "hm"}


class Remembering(MemorySpool):
    """A spool that ships nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[bytes] = []

    def append(self, record: bytes) -> None:
        self.records.append(record)


class Kept:
    """A client and what it has kept."""

    def __init__(self, **options: Any) -> None:
        self.spool = Remembering()
        given = {"redis_url": "redis://127.0.0.1:1", "spool": self.spool, **options}
        self.client = CaptureClient(**given)

    def capture(self, **changed: Any) -> str:
        given: dict[str, Any] = {"domain": "d", "inputs": INPUTS, "outputs": OUTPUTS}
        return self.client.capture(**{**given, **changed})

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(record) for record in self.spool.records]


def test_every_capture_has_an_id_of_its_own_and_a_time() -> None:
    kept = Kept()
    ids = [kept.capture() for _ in range(1000)]
    assert [one["capture_id"] for one in kept.records()] == ids
    assert len(set(ids)) == 1000
    assert all(one["captured_at"].endswith("+00:00") for one in kept.records())


def test_only_successes_are_kept_unless_failures_are_asked_for() -> None:
    kept, all_kept = Kept(), Kept(capture_failures=True)
    for one in (kept, all_kept):
        assert one.capture(ok=False)
        one.capture()
    assert [one["metadata"] for one in kept.records()] == [{}]
    assert [one["metadata"] for one in all_kept.records()] == [{"ok": False}, {}]
    assert kept.client.skipped() == {"failed": 1}
    assert kept.client.stats().dropped == {}


@pytest.mark.parametrize(("rate", "low", "high"), [(0.0, 0, 0), (0.5, 400, 600), (1.0, 1000, 1000)])
def test_a_sample_is_kept_and_the_rest_is_counted_as_skipped(
    rate: float, low: int, high: int
) -> None:
    kept = Kept(sample_rate=rate)
    for _ in range(1000):
        kept.capture()
    count = len(kept.records())
    assert low <= count <= high
    assert kept.client.skipped().get("not_sampled", 0) == 1000 - count
    assert kept.client.stats().dropped == {}


def test_of_the_fields_only_those_on_the_list_are_kept() -> None:
    kept = Kept(fields=["inputs.topic", "outputs"])
    kept.capture(metadata={"host": "secret"})
    (record,) = kept.records()
    assert record["inputs"] == {"topic": "sums"}
    assert record["outputs"] == OUTPUTS
    assert record["metadata"] == {}


def test_a_mask_sees_what_is_allowed_and_what_it_returns_is_kept() -> None:
    seen: list[Any] = []

    def mask(document: dict[str, Any]) -> dict[str, Any]:
        seen.append(json.loads(json.dumps(document)))
        document["inputs"]["topic"] = "masked"
        return document

    kept = Kept(fields=["inputs.topic", "outputs.answer"], mask=mask)
    kept.capture()
    assert seen == [
        {"domain": "d", "inputs": {"topic": "sums"}, "outputs": {"answer": "2"}, "metadata": {}}
    ]
    assert kept.records()[0]["inputs"] == {"topic": "masked"}
    assert INPUTS["topic"] == "sums"


def raising(_document: dict[str, Any]) -> dict[str, Any]:
    raise KeyError("user")


@pytest.mark.parametrize(
    "mask",
    [raising, lambda _: None, lambda _: {}, lambda _: "text", lambda d: d["inputs"]],
    ids=["raises", "returns nothing", "an empty one", "text", "another document"],
)
def test_what_cannot_be_masked_is_never_stored(mask: Any) -> None:
    kept = Kept(mask=mask)
    assert kept.capture()
    assert kept.records() == []
    assert kept.client.stats().dropped == {"mask_failed": 1}


def test_what_a_mask_returns_is_checked_like_anything_else() -> None:
    kept = Kept(mask=lambda d: {**d, "outputs": {"answer": float("nan")}})
    kept.capture()
    assert kept.client.stats().dropped == {"not_finite": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sample_rate": 1.5}, "from 0 to 1"),
        ({"sample_rate": "x"}, "from 0 to 1"),
        ({"sample_rate": True}, "from 0 to 1"),
        ({"sample_rate": float("nan")}, "from 0 to 1"),
        ({"spool_bytes": "1MB"}, "bytes above 0"),
        ({"spool_bytes": -1}, "bytes above 0"),
        ({"spool_bytes": 0}, "bytes above 0"),
        ({"spool_dir": 5}, "path of a folder"),
        ({"spool_dir": b"/tmp"}, "path of a folder"),
        ({"mask": 5}, "a function that takes a document"),
        ({"capture_failures": "no"}, "True or False"),
        ({"spool": []}, "a FileSpool or a MemorySpool"),
        ({"program_key": 5}, "TDSYS_PROGRAM_KEY"),
        ({"redis_url": 5}, "redis://:PASSWORD@HOST"),
        ({"redis_url": "http://x"}, "it begins with none of redis://"),
        ({"redis_url": "redis://host:many"}, "its port is no number"),
        ({"fields": 5}, "a list of names"),
        ({"fields": [5]}, "a list of names"),
        ({"fields": "inputs"}, "a list of names"),
        ({"fields": ["input.topic"]}, "inputs.topic"),
        ({"fields": ["inputs."]}, "inputs.topic"),
        ({"durability": "disk"}, "'spool' or 'memory'"),
        ({"durability": []}, "'spool' or 'memory'"),
        ({"durability": None}, "'spool' or 'memory'"),
        ({"sample_rate": None}, "from 0 to 1"),
        ({"capture_failures": None}, "True or False"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_at_once(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        Kept(**options)
    # What is wrong with one of several fields is said of that one.
    named = "field" if "fields" in options else next(iter(options))
    assert named in str(refused.value)


def test_neither_a_password_nor_a_key_is_shown_when_it_is_refused() -> None:
    for options in (
        {"redis_url": "redis://:secret@host:many"},
        {"redis_url": "redis://:a?secret@host:1/0"},
        {"program_key": b"secret"},
    ):
        with pytest.raises(ValueError, match=r"use|form|%3F") as refused:
            Kept(**options)
        assert "secret" not in str(refused.value)


def test_what_an_operator_mistyped_stops_no_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDSYS_REDIS_URL", "http://x")
    client = CaptureClient(spool=MemorySpool())
    assert client.capture(domain="d", inputs={}, outputs={})
    assert client.stats() == (0, 1, {})


def test_numbers_of_every_kind_may_be_given() -> None:
    kept = Kept(sample_rate=Fraction(1), spool_bytes=1e9)
    kept.capture()
    assert len(kept.records()) == 1


@pytest.mark.parametrize("ends", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_process_passes_from_a_mask_and_nothing_is_stored_unmasked(
    ends: type[BaseException],
) -> None:
    def mask(_document: dict[str, Any]) -> dict[str, Any]:
        raise ends

    kept = Kept(mask=mask)
    with pytest.raises(ends):
        kept.capture()
    assert kept.records() == []


class Problem(BaseModel):
    problem: str
    answer: str


class Pair(NamedTuple):
    problem: str
    answer: str


@dataclass(slots=True)
class Made:
    problem: str
    answer: str
    maker: ClassVar[str] = "v7"


@pytest.mark.parametrize(
    "result",
    [
        {"problem": "1 + 1?", "answer": "2"},
        Problem(problem="1 + 1?", answer="2"),
        Pair("1 + 1?", "2"),
        Made("1 + 1?", "2"),
    ],
)
def test_a_decorated_functions_calls_are_captured(result: Any) -> None:
    kept = Kept()

    @kept.client.captured(domain="sums", metadata={"generator": "v7"})
    def generate(topic: str, *, level: int = 1, **more: Any) -> Any:  # noqa: ARG001
        """Make one."""
        return result

    assert generate("addition", hint="carry") is result
    assert generate.__doc__ == "Make one."
    (record,) = kept.records()
    assert record["domain"] == "sums"
    assert record["inputs"] == {"topic": "addition", "level": 1, "hint": "carry"}
    assert record["outputs"] == {"problem": "1 + 1?", "answer": "2"}
    assert record["metadata"] == {"generator": "v7"}


def test_an_async_function_and_a_method_are_captured_the_same_way() -> None:
    kept = Kept()

    class Generator:
        @kept.client.captured(domain=lambda inputs: inputs["domain"])
        async def generate(self, domain: str) -> str:
            await asyncio.sleep(0)
            return f"a problem of {domain}"

    assert asyncio.run(Generator().generate("algebra")) == "a problem of algebra"
    (record,) = kept.records()
    assert record["domain"] == "algebra"
    assert record["inputs"] == {"domain": "algebra"}
    assert record["outputs"] == {"output": "a problem of algebra"}


def test_methods_of_a_class_are_captured_without_the_class_wherever_the_decorator_stands() -> None:
    kept = Kept()
    captured = kept.client.captured(domain="sums")

    class Generator:
        @classmethod
        @captured
        def inside(cls, topic: str) -> str:
            return f"{cls.__name__} {topic}"

        @captured
        @classmethod
        def outside(cls, topic: str) -> str:
            return f"{cls.__name__} {topic}"

        @captured
        @staticmethod
        async def alone(topic: str) -> str:
            return topic

    assert Generator.inside("a") == Generator.outside("a") == "Generator a"
    assert Generator().outside("a") == "Generator a"
    assert asyncio.run(Generator.alone("a")) == "a"
    assert [record["inputs"] for record in kept.records()] == [{"topic": "a"}] * 4


def test_an_input_that_is_called_like_a_class_is_an_input() -> None:
    kept = Kept()

    @kept.client.captured(domain="sums")
    def generate(cls: str) -> str:
        return cls

    generate("easy")
    assert kept.records()[0]["inputs"] == {"cls": "easy"}


def test_a_generator_function_goes_on_and_its_call_is_counted_as_not_captured() -> None:
    kept = Kept()

    @kept.client.captured(domain="sums")
    def generate(count: int) -> Iterator[int]:
        yield from range(count)

    assert list(generate(2)) == [0, 1]
    assert kept.client.stats() == (0, 0, {"not_json": 1})


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failing_function_fails_as_before_and_is_captured_as_a_failure(kind: str) -> None:
    kept = Kept(capture_failures=True)

    def generate(topic: str) -> str:
        raise LookupError(topic)

    async def generate_async(topic: str) -> str:
        return generate(topic)

    decorate = kept.client.captured(domain="sums")

    def awaited(topic: str) -> object:
        return asyncio.run(decorate(generate_async)(topic))

    call = decorate(generate) if kind == "sync" else awaited
    with pytest.raises(LookupError, match="addition"):
        call("addition")
    (record,) = kept.records()
    assert record["inputs"] == {"topic": "addition"}
    assert record["outputs"] == {"error": "LookupError"}
    assert record["metadata"] == {"ok": False}


def test_a_call_that_cannot_be_read_goes_on_and_is_counted() -> None:
    kept = Kept()

    @kept.client.captured(domain=lambda inputs: inputs["no such name"])
    def generate(topic: object) -> object:
        return topic

    assert generate("x") == "x"
    marker = object()
    assert generate(marker) is marker
    with pytest.raises(TypeError):
        generate("too", "many")
    assert kept.records() == []
    assert Counter(kept.client.stats().dropped) == {"not_a_domain": 2}
    assert kept.client.skipped() == {"failed": 1}
