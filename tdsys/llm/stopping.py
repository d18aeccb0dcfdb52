"""Work on a model that can be ended from outside, also while one slow call is running.

Its rule: `should_stop` is asked by the thread that waits and by no other; the thread that works
learns the answer at its next call, so nothing is paid after a stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar

import dspy
from dspy.utils.callback import BaseCallback

from tdsys.errors import Cancelled, NotReady
from tdsys.llm.session import translate

CHECK_SECONDS = 0.5
Result = TypeVar("Result")


class Stopped(BaseException):
    """Ends the work from inside; a BaseException, because DSPy swallows every Exception."""


class Ledger:
    """Why the work should end, shared by everything that may notice it first."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.reason: BaseException | None = None

    def end(self, reason: BaseException) -> None:
        """Record the first reason; the work stops at its next call."""
        with self._lock:
            self.reason = self.reason or reason

    def check(self) -> None:
        """Stopped once there is a reason."""
        if self.reason is not None:
            raise Stopped

    def report(self, tell: Callable[[], None]) -> None:
        """Tell the caller something, unless it has been told the end already."""
        with self._lock:
            self.check()
            try:
                tell()
            except Exception as error:  # raised again, unchanged, by the optimizer
                self.end(error)
                raise Stopped from error


class Turns:
    """Lets equal calls follow each other: the second finds the first one's answer in the cache."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, threading.Lock] = {}
        self._taken: dict[str, Hashable] = {}

    def take(self, call_id: str, asked: Hashable, check: Callable[[], None]) -> None:
        """Wait until nobody asks the same; `check` may end the wait by raising."""
        ours = threading.Lock()
        ours.acquire()
        while True:
            with self._lock:
                other = self._under_way.setdefault(asked, ours)
                if other is ours:
                    self._taken[call_id] = asked
                    return
            while not other.acquire(timeout=CHECK_SECONDS):
                check()
            other.release()

    def give_back(self, call_id: str) -> None:
        """Let the next one go on."""
        with self._lock:
            asked = self._taken.pop(call_id, None)
            if asked is not None:
                self._under_way.pop(asked).release()


class Gate(BaseCallback):  # type: ignore[misc]
    """Stands before every call of a model: none is made once there is a reason to end.

    Many items may ask for the same thing at the same moment; it is paid for once.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._turns = Turns()

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Stop the work before the call is made, or let it wait for one that asks the same."""
        self._ledger.check()
        if (asked := _asked(instance, inputs)) is not None:
            self._turns.take(call_id, asked, self._ledger.check)
            if self._ledger.reason is not None:
                self._turns.give_back(call_id)  # nobody will hear how it ended: it never began
                raise Stopped

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: ARG002
        """A model that does not answer ends the work; one prompt it cannot take does not."""
        self._turns.give_back(call_id)
        if isinstance(exception, dspy.LMError) and not isinstance(translate(exception), NotReady):
            self._ledger.end(exception)


class Pausing(list[Any]):
    """Callbacks that DSPy does not see while they are paused.

    It prepares every call of everything for its callbacks, which costs more than what ours do.
    """

    paused = False

    def __add__(self, more: list[Any]) -> list[Any]:
        return more if self.paused else [*self, *more]


def _asked(instance: Any, inputs: dict[str, Any]) -> Hashable | None:
    """What a call asks, to be compared with others; None where that cannot be told cheaply."""
    given, usual = inputs.get("kwargs") or {}, instance.kwargs
    try:
        said = tuple([one["content"] for one in inputs.get("messages") or ()])
        asked = (
            instance.model,
            said,
            given.get("temperature", usual.get("temperature")),
            given.get("rollout_id", usual.get("rollout_id")),
        )
        hash(asked)
    except (KeyError, TypeError):
        return None
    return asked if said else None


def attended(work: Callable[[], Result], ledger: Ledger, should_stop: Callable[[], bool]) -> Result:
    """What `work` returns; it runs in a thread of its own while this one asks `should_stop`.

    Whatever ends it is raised as ours at once: a call under way is left behind, not waited for.
    """
    try:
        return _awaited(work, ledger, should_stop)
    except (Stopped, Exception) as raised:
        ledger.end(raised)
        meaning = _meaning(ledger.reason or raised)
        if meaning is raised:
            raise
        raise meaning from raised
    except BaseException as interrupt:
        ledger.end(interrupt)
        raise


def _awaited(work: Callable[[], Result], ledger: Ledger, should_stop: Callable[[], bool]) -> Result:
    _ask(should_stop)
    pool = ThreadPoolExecutor(max_workers=1)
    running = pool.submit(copy_context().run, work)
    pool.shutdown(wait=False)
    while not wait([running], timeout=CHECK_SECONDS).done:
        _ask(should_stop)
        ledger.check()
    result = running.result()
    ledger.check()  # DSPy may have finished with a failure that it swallowed
    return result


def _ask(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Cancelled("stopped on request")


def _meaning(reason: BaseException) -> BaseException:
    if isinstance(reason, dspy.LMError):
        return translate(reason)
    if isinstance(reason, dspy.AdapterParseError):
        return NotReady(
            f"the model's answers cannot be read: {' '.join(str(reason).split())[:200]}",
            remedy="choose a model that keeps to an output format",
        )
    return reason
