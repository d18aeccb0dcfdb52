"""Runs the child that reads a file, feeds it, and survives whatever becomes of it.

One rule: the child is never trusted to stop. Silence, a crash and nonsense all end in ReaderDied
with what is known about the cause, and no bytes are ever taken for the end of a file by mistake.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import tdsys
from tdsys.core.arrival import Arrival
from tdsys.core.intake import Benchmarks, Block, Faulty, Job, ReaderDied, Row
from tdsys.errors import InvalidInput
from tdsys.intake.frames import frame, read

ROOT = Path(tdsys.__file__).parents[1]
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from tdsys.intake.child import main; main()"
# The child's own word for it, tdsys.intake.child.OUT_OF_MEMORY.
OUT_OF_MEMORY = 77
PATIENCE = 5.0
# What Linux lets anybody have.
PIPE_BYTES = 1 << 20


class Bounds(NamedTuple):
    """What a child may use: bytes of address space, CPU per megabyte, and silence, in seconds.

    `block` is how many records it hands back at once, at most.
    """

    memory: int = 256 * 1024 * 1024
    cpu: int = 20
    silence: float = 120.0
    block: int = 1000


class GuardedIntake:
    """Reads each file in a child process of its own."""

    def __init__(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008  # it is immutable
        self._bounds = bounds

    def blocks(
        self, job: Job, pieces: Iterable[bytes], benchmarks: Benchmarks | None = None
    ) -> Iterator[Block]:
        """The file block by block, in order; InvalidInput where it cannot be read at all.

        ReaderDied when the reader ended without an answer; what came before stands.
        """
        with _Child(self._bounds) as child:
            child.feed(_told(job, benchmarks or {}), pieces)
            while (answer := child.answer()) is not None:
                head, body = answer
                yield _block(job, head, body)
                if head["ended"]:
                    return
            raise child.death()


def _told(job: Job, benchmarks: Benchmarks) -> bytes:
    sizes = {name: len(packed) for name, packed in benchmarks.items()}
    head = {"job": job.model_dump(mode="json"), "benchmarks": sizes}
    return frame(head, b"".join(benchmarks.values()))


def _block(job: Job, head: Any, body: bytes) -> Block:
    if told := head.get("invalid"):
        raise InvalidInput(str(told[0]), remedy=str(told[1]))
    if bug := head.get("bug"):
        raise ReaderDied(f"the reader stopped at a bug of its own: {bug}")
    payloads = body.decode().split("\n") if body else []
    rows = tuple(
        Row(Arrival((capture_id, identity), job.domain, row, payload), template)
        for (capture_id, identity, template, row), payload in zip(
            head["rows"], payloads, strict=True
        )
    )
    return Block(
        at=head["at"],
        read=head["read"],
        how=head["how"],
        rows=rows,
        faulty=tuple(Faulty(*one) for one in head["faulty"]),
        values=tuple(head["values"]),
        marks=tuple(mark for marks in head["marks"] for mark in marks),
    )


class _Child:
    """One child with its two pipes."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._feeder: threading.Thread | None = None
        self._unfed: BaseException | None = None
        self._silent = False
        self._stopped = False
        limits = (str(bounds.memory), str(bounds.cpu), str(bounds.block))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", PROGRAM, str(ROOT), *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd="/",
            bufsize=0,
            # A block fits, so the child prepares the next while the last is being stored.
            pipesize=PIPE_BYTES,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped = True
        self._process.kill()
        self._process.wait()
        if self._feeder:
            self._feeder.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def feed(self, told: bytes, pieces: Iterable[bytes]) -> None:
        """Start to send the job and the file."""
        self._feeder = threading.Thread(
            target=self._send, args=(told, pieces), name="tdsys-feeder", daemon=True
        )
        self._feeder.start()

    def _send(self, told: bytes, pieces: Iterable[bytes]) -> None:
        """Close the pipe after the last byte only: an end that is none would cut the file."""
        pipe = self._process.stdin
        assert pipe  # noqa: S101  # it was asked for
        try:
            _write(pipe.fileno(), told)
            for piece in pieces:
                _write(pipe.fileno(), piece)
                if self._stopped:
                    return
            pipe.close()
        except BrokenPipeError:
            return  # the child has gone, and its end says why
        except BaseException as failed:  # noqa: BLE001  # raised again where somebody hears it
            self._unfed = failed
            self._process.kill()

    def answer(self) -> tuple[Any, bytes] | None:
        """The next frame; None when there is none and the child has ended or is ended here."""
        try:
            return read(self._take)
        except ValueError:
            return None

    def _take(self, size: int) -> bytes:
        """So many bytes, or what came before the end or too long a silence."""
        pipe = self._process.stdout
        assert pipe  # noqa: S101  # it was asked for
        waiting = select.poll()
        waiting.register(pipe, select.POLLIN)
        taken = bytearray()
        while len(taken) < size:
            if not waiting.poll(self._bounds.silence * 1000):
                self._silent = True
                self._process.kill()
                break
            if not (more := os.read(pipe.fileno(), size - len(taken))):
                break
            taken += more
        return bytes(taken)

    def death(self) -> BaseException:
        """Why there was no end: what could not be fetched, or what became of the child."""
        code = self._ended()
        if self._feeder:
            self._feeder.join(PATIENCE)
        return self._unfed or ReaderDied(self._reason(code))

    def _ended(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self._process.kill()
        return self._process.wait()

    def _reason(self, code: int) -> str:
        if self._silent:
            return f"the reader said nothing for {self._bounds.silence:g} s and was stopped"
        if code == OUT_OF_MEMORY:
            return f"the reader needed more than {self._bounds.memory >> 20} MB of memory"
        if code == -signal.SIGXCPU:
            return f"the reader needed more than {self._bounds.cpu} s of CPU for one megabyte"
        if code < 0:
            return f"the reader was killed by {signal.Signals(-code).name}"
        return f"the reader ended with code {code}"


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
