"""The threads that make examples: so many places, whatever becomes of who has one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from tdsys.llm.crew import Crew

WHERE: ContextVar[str] = ContextVar("where", default="nowhere")
LONG = 30.0


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """What whoever hangs in a test waits for; set at its end."""
    event = threading.Event()
    yield event
    event.set()


def test_as_many_are_asked_at_once_as_there_are_threads_and_each_has_its_own_answer(
    over: threading.Event,
) -> None:
    crew, together = Crew(3), threading.Barrier(3)

    def meet(number: int) -> int:
        together.wait(LONG)
        return number

    asked = [crew.ask(lambda number=number: meet(number)) for number in range(6)]  # type: ignore[misc]
    assert [one.result(LONG) for one in asked] == list(range(6))
    running = [crew.ask(lambda: over.wait(LONG)) for _ in range(3)]
    waiting = crew.ask(lambda: True)
    with pytest.raises(TimeoutError):
        running[0].result(0.01)
    assert waiting.result(LONG), "the first one's place is free again"


def test_who_hangs_costs_a_thread_and_no_place(over: threading.Event) -> None:
    crew = Crew(1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            crew.ask(lambda: over.wait(LONG)).result(0.01)
        assert crew.ask(lambda: "here").result(LONG) == "here"


def test_whoever_comes_back_too_late_does_not_take_a_second_place(over: threading.Event) -> None:
    crew, together = Crew(1), threading.Barrier(2)
    late = crew.ask(lambda: over.wait(LONG))
    with pytest.raises(TimeoutError):
        late.result(0.01)
    over.set()
    assert late._answer.result(LONG)
    for one in [crew.ask(lambda: together.wait(0.3)) for _ in range(2)]:
        with pytest.raises(threading.BrokenBarrierError):
            one.result(LONG)


def test_patience_begins_when_a_question_is_really_asked(over: threading.Event) -> None:
    crew = Crew(1)
    before = crew.ask(lambda: over.wait(LONG))
    threading.Timer(0.3, over.set).start()
    assert crew.ask(lambda: "late, and heard").result(0.05) == "late, and heard"
    assert before.result(LONG)


def test_what_a_question_raises_is_raised_even_if_it_is_a_timeout_of_its_own() -> None:
    crew = Crew(1)

    def fails(kind: type[BaseException]) -> None:
        raise kind("its own")

    for kind in (ValueError, TimeoutError, SystemExit):
        with pytest.raises(kind, match="its own"):
            crew.ask(lambda kind=kind: fails(kind)).result(LONG)  # type: ignore[misc]
    assert crew.ask(lambda: "still here").result(LONG) == "still here"


def test_a_question_is_asked_in_the_context_in_which_it_was_put() -> None:
    crew = Crew(1)
    WHERE.set("here")
    asked = crew.ask(WHERE.get)
    WHERE.set("elsewhere")
    assert asked.result(LONG) == "here"
