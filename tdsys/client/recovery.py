"""What dead processes left in a spool, for a person: list it, ship it, and hear of producers.

One rule: the folder of a living process is looked at, never touched.
"""

from __future__ import annotations

import json
import os
import time
from collections import namedtuple
from contextlib import suppress

from tdsys import wire
from tdsys.client.folders import WRITER, is_alive, segments_in, writers_in
from tdsys.client.shipping import FLUSHING_SECONDS, Shipper
from tdsys.client.spool import FileSpool

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from redis import Redis

WITHOUT_LIMIT = 2**62
MEGABYTE = 1024 * 1024


class Left(namedtuple("Left", ("path", "alive", "records", "bytes", "oldest"))):  # noqa: PYI024
    """One writer's folder; `oldest` is when its first record was captured, or empty."""

    __slots__ = ()
    path: str
    alive: bool
    records: int
    bytes: int
    oldest: str


def left_in(folder: str) -> list[Left]:
    """The writers' folders at `folder`: itself, those in it, or those one level below."""
    found = []
    for path in _writers_at(os.path.abspath(folder)):
        with suppress(FileNotFoundError):  # shipped and gone meanwhile
            found.append(_look(path))
    return found


def ship(
    left: Left, broker: Redis, *, patience: float, tell: Callable[[int], None] = lambda _: None
) -> tuple[int, dict[str, int]]:
    """Ship a dead writer's folder: how many records are committed, and by reason how many never.

    Ends when none is left, or when for `patience` seconds no worker has acknowledged any; those
    stay where they are. `tell` hears how many are through.
    """
    root, name = os.path.split(left.path)
    spool = FileSpool(root, limit=WITHOUT_LIMIT)
    spool.adopt(only=name)
    shipper = Shipper("", spool)
    until = time.monotonic() + patience
    done = 0
    while spool.backlog() and time.monotonic() < until:
        shipper.step(broker)
        committed, dropped = _through(shipper)
        if (through := committed + sum(dropped.values())) > done:
            done, until = through, time.monotonic() + patience
            tell(done)
        time.sleep(FLUSHING_SECONDS)
    spool.fresh()
    return _through(shipper)


def _through(shipper: Shipper) -> tuple[int, dict[str, int]]:
    counts = shipper.counts()
    return counts["recovered"], counts["dropped"]


def producers(broker: Redis) -> list[dict[str, Any]]:
    """What capture clients have told of themselves within a day, the latest first."""
    keys: Any = list(broker.scan_iter(match=wire.producer_key("*"), count=1000))
    told: Any = broker.mget(keys) if keys else []
    found = [report for text in told if (report := _report(text)) is not None]
    return sorted(found, key=lambda report: -report["at"])


def _report(text: bytes | None) -> dict[str, Any] | None:
    """A producer's words, or None for words of another form: anybody may write there."""
    with suppress(ValueError, TypeError, RecursionError):
        told = json.loads(text or b"")
        numbers = [told[name] for name in ("pid", "committed", "pending", "recovered")]
        reasons = [*told["dropped"].items(), *told["skipped"].items()]
        times = [float(told["at"]), float(told["started_at"])]
        if all(type(n) is int for n in [*numbers, *(n for _, n in reasons)]):
            return {**told, "host": str(told["host"]), "at": times[0], "started_at": times[1]}
    return None


def _writers_at(folder: str) -> Iterator[str]:
    if WRITER.fullmatch(os.path.basename(folder)):
        yield folder
        return
    for root in [folder, *sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())]:
        for name in writers_in(root):
            if not WRITER.fullmatch(os.path.basename(root)):
                yield os.path.join(root, name)


def _look(path: str) -> Left:
    segments = list(segments_in(path))
    return Left(
        path=path,
        alive=is_alive(path),
        records=sum(_lines(segment) for segment, _ in segments),
        bytes=sum(size for _, size in segments),
        oldest=_captured_at(segments[0][0]) if segments else "",
    )


def _lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(MEGABYTE), b""))


def _captured_at(path: str) -> str:
    unreadable = suppress(OSError, ValueError, KeyError, TypeError, RecursionError)
    with unreadable, open(path, "rb") as file:
        return str(json.loads(file.readline(MEGABYTE))["captured_at"])
    return ""
