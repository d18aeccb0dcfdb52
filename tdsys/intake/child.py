"""The program of the guarded child: reads a file's bytes and hands back rows and flaws.

One rule: it reads hostile bytes, so it gives up every right before the first of them, knows no
path, no address and no secret, and may die at any time.

It is told one frame (the job, the benchmarks' marks), then the bytes of the file until their end.
It answers with frames: blocks of rows, each with its payloads as lines of JSON, and at the end
one that says so. The parent keeps the time; CPU is bounded here, anew with every megabyte.
"""

from __future__ import annotations

import os
import resource
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from tdsys.core.contamination import Registered
from tdsys.core.intake import Job, Purpose, is_repair
from tdsys.errors import InvalidInput
from tdsys.intake.frames import frame, read
from tdsys.intake.preparation import Preparation, faulty, problem_marks, refusal
from tdsys.parsing import HEAD_BYTES, Asked, Flaw, Format, Record, detect, empty, records

PIECE = 256 * 1024
BEAT_BYTES = 1 << 20
BLOCK_BYTES = 600_000
FILES = 32
OUT_OF_MEMORY = 77
REPAIR = "it is an errors file, one rejected record a line"


class _Output:
    """Collects what the file holds and writes it block by block."""

    def __init__(self, descriptor: int, most: int) -> None:
        self._descriptor = descriptor
        self._most = most
        self.at = 0
        self._how = ""
        self._forget()

    def _forget(self) -> None:
        self._read = self._size = 0
        self._kept: dict[str, list[Any]] = {"rows": [], "faulty": [], "values": [], "marks": []}
        self._payloads: list[bytes] = []

    def tell(self, how: str) -> None:
        """Say with the next block how the file is read."""
        self._how = how

    def add(self, kind: str, one: object, *, size: int, payload: bytes | None = None) -> None:
        """One outcome more."""
        self._kept[kind].append(one)
        if payload is not None:
            self._payloads.append(payload)
        self._read += 1
        self._size += size
        if self._read >= self._most or self._size >= BLOCK_BYTES:
            self.flush()

    def flush(self, *, ended: bool = False) -> None:
        """Write what there is."""
        head = {"at": self.at, "read": self._read, "how": self._how, "ended": ended, **self._kept}
        self.write(frame(head, b"\n".join(self._payloads)))
        self._how = ""
        self._forget()

    def write(self, data: bytes) -> None:
        """All of the data; the parent may be slow."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


def main() -> None:
    """Do one job."""
    replies = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    memory, cpu, most = map(int, sys.argv[2:])
    _give_up_rights(memory=memory)
    _allow(cpu)
    told = read(_take)
    if told is None:
        return
    head, packed = told
    output = _Output(replies, most)
    try:
        _work(Job.model_validate(head["job"]), _registered(head["benchmarks"], packed), output, cpu)
    except InvalidInput as bad:
        output.write(frame({"invalid": [bad.message, bad.remedy]}))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as bug:  # noqa: BLE001  # it must be told, whatever it is
        output.write(frame({"bug": f"{type(bug).__name__}: {bug}"[:500]}))


def _take(size: int) -> bytes:
    """So many bytes of the input and not one more: what follows is the file's."""
    taken = bytearray()
    while len(taken) < size and (more := os.read(0, size - len(taken))):
        taken += more
    return bytes(taken)


def _work(job: Job, registered: Registered, output: _Output, cpu: int) -> None:
    pieces = _pieces(output, cpu)
    first = next(pieces, b"")
    asked, why = Asked.model_validate(job.options.reading.model_dump()), ""
    if is_repair(first):  # what was said about the form was about the file it came from
        asked, why = Asked(format=Format.JSONL), REPAIR
    output.tell(why or detect(first[:HEAD_BYTES], asked, filename=job.filename).why)
    found = records(chain([first], pieces), asked, filename=job.filename, skip=job.skip)
    if not (job.skip or job.in_part):
        found = _some(found)
    {Purpose.IMPORT: _import, Purpose.SAMPLE: _sample, Purpose.BENCHMARK: _benchmark}[job.purpose](
        job, found, output, registered
    )
    output.flush(ended=True)


def _some(found: Iterator[Record | Flaw]) -> Iterator[Record | Flaw]:
    """The same; InvalidInput where there is nothing at all."""
    first = next(found, None)
    if first is None:
        raise empty()
    yield first
    yield from found


def _import(
    job: Job, found: Iterator[Record | Flaw], output: _Output, registered: Registered
) -> None:
    prepare = Preparation(job, registered).prepare
    for one in found:
        if isinstance(one, Record):
            row, payload = prepare(one)
            if payload is not None:
                output.add("rows", row, size=len(payload), payload=payload)
                continue
        else:
            row = faulty(one.place, one[1:6], fatal=one.fatal)
        output.add("faulty", row, size=2 * len(one.raw))


def _sample(
    job: Job, found: Iterator[Record | Flaw], output: _Output, _registered: Registered
) -> None:
    kept = 0
    for one in found:
        if isinstance(one, Record):
            output.add("values", one.value, size=len(one.raw))
            kept += 1
        if kept >= job.most:
            return


def _benchmark(
    job: Job, found: Iterator[Record | Flaw], output: _Output, _registered: Registered
) -> None:
    for one in found:
        if isinstance(one, Flaw):
            row = faulty(one.place, one[1:6], fatal=one.fatal)
            output.add("faulty", row, size=len(one.raw))
            continue
        try:
            output.add("marks", problem_marks(one.value, job.options), size=16)
        except InvalidInput as bad:
            output.add("faulty", refusal(one, bad), size=len(one.raw))


def _pieces(output: _Output, cpu: int) -> Iterator[bytes]:
    """The file's bytes; each megabyte is a sign of life and earns new time."""
    beat = 0
    while piece := os.read(0, PIECE):
        output.at += len(piece)
        yield piece
        beat += len(piece)
        if beat >= BEAT_BYTES:
            beat = 0
            _allow(cpu)
            output.flush()


def _registered(benchmarks: dict[str, int], packed: bytes) -> Registered:
    marks: dict[str, array[int]] = {}
    start = 0
    for name, size in benchmarks.items():
        marks[name] = array("q", packed[start : start + size])
        start += size
    return Registered(marks)


def _allow(cpu: int) -> None:
    used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + cpu, resource.RLIM_INFINITY))


def _give_up_rights(*, memory: int) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        with suppress(ValueError):  # where the system allows less already
            resource.setrlimit(limit, (value, value))
