"""The threads of a process that make examples, kept from one question to the next.

One rule: whoever is asked may never come back, and then he costs one thread, not a place. No pool's
threads, which are waited for when a process ends; and a new one would open DSPy's cache anew.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import cache
from queue import SimpleQueue
from typing import Generic, TypeVar

Said = TypeVar("Said")


class Asked(Generic[Said]):
    """A question on its way; it is asked in the context in which it was put."""

    def __init__(self, ask: Callable[[], Said], crew: Crew) -> None:
        self._ask, self._crew, self._context = ask, crew, copy_context()
        self._answer: Future[Said] = Future()
        self._began = 0.0
        self._lock = threading.Lock()
        self._is_given_up = False

    def result(self, patience: float | None = None) -> Said:
        """What it came to; TimeoutError: nothing so many seconds after it was really asked.

        Then somebody else has the place of whoever does not answer.
        """
        while True:
            began = self._began
            left = began + patience - time.monotonic() if patience and began else patience
            with suppress(TimeoutError):
                return self._answer.result(left)
            if self._answer.done():
                return self._answer.result()
            if began and self._give_up():
                raise TimeoutError

    def settle(self) -> bool:
        """Ask, in the present thread; whether somebody waits for it still."""
        self._began = time.monotonic()
        try:
            self._answer.set_result(self._context.run(self._ask))
        except BaseException as failed:  # noqa: BLE001  # whoever waits hears of it
            self._answer.set_exception(failed)
        with self._lock:
            return not self._is_given_up

    def _give_up(self) -> bool:
        with self._lock:
            self._is_given_up = not self._answer.done()
        if self._is_given_up:
            self._crew.hire()
        return self._is_given_up


class Crew:
    """So many threads, and questions that wait for one of them."""

    def __init__(self, threads: int) -> None:
        self._questions: SimpleQueue[Asked[object]] = SimpleQueue()
        for _ in range(threads):
            self.hire()

    def ask(self, question: Callable[[], Said]) -> Asked[Said]:
        """Have it asked as soon as a thread is free, in the order in which they come."""
        asked: Asked[Said] = Asked(question, self)
        self._questions.put(asked)  # type: ignore[arg-type]  # whatever it says
        return asked

    def hire(self) -> None:
        """One thread more; in the place of one that hangs, too."""
        threading.Thread(target=self._serve, daemon=True, name="tdsys-maker").start()

    def _serve(self) -> None:
        while self._questions.get().settle():
            pass


def crew(threads: int) -> Crew:
    """The threads of this process, made once for each number of them."""
    with _hiring:
        return _hired(os.getpid(), threads)


_hiring = threading.Lock()


@cache
def _hired(pid: int, threads: int) -> Crew:  # noqa: ARG001  # the process is part of the key
    return Crew(threads)
