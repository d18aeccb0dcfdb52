"""A capture as bytes: kept is what the worker keeps, and whatever is not kept has a reason.

One rule: what is refused, and under which reason, is the same with orjson and without.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from math import isfinite

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from typing import Any

# The worker's limits (tdsys.core.example), which the client may not import.
MAX_RECORD_BYTES = 256 * 1024
MAX_DEPTH = 32
# orjson writes 1e-7 for Python's 1e-07; only far below the limit may that not matter.
CERTAINLY_SMALL = MAX_RECORD_BYTES // 2
SECOND = 1_000_000_000

# An escaped NUL in JSON text: a backslash that is not itself escaped, then u0000.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_PLAIN = frozenset({int, bool, type(None)})
_CONTAINERS = frozenset({dict, list, tuple})


class Unfit(Exception):
    """A capture that is not kept; its text is the reason it is counted under."""


class Serialiser:
    """Documents to JSON; `fast` is orjson's dumps, or None for the standard library alone."""

    def __init__(self, fast: Callable[[object], bytes] | None = None) -> None:
        self._fast = fast

    def __call__(self, document: dict[str, object]) -> bytes:
        """The document as the worker will read it; Unfit for what the worker would refuse."""
        try:
            plain = _look_through(document)
        except Unfit as unfit:
            raise Unfit("cyclic" if _is_cyclic(document) else str(unfit)) from None
        record = _quickly(self._fast, document) if plain and self._fast else None
        if record is None or len(record) > CERTAINLY_SMALL:
            record = _carefully(document)
        if len(record) > MAX_RECORD_BYTES:
            raise Unfit("too_large")
        if b"\\u0000" in record and _NUL.search(record):
            raise Unfit("nul")
        return record


def orjson_dumps() -> Callable[[object], bytes] | None:
    """What makes a Serialiser fast, where it is installed."""
    try:
        import orjson  # noqa: PLC0415  # an optional package of the generator's
    except ImportError:
        return None
    return orjson.dumps


def _quickly(dumps: Callable[[object], bytes], document: dict[str, object]) -> bytes | None:
    try:
        return dumps(document)
    except (TypeError, ValueError, RecursionError):
        return None


def _carefully(document: dict[str, object]) -> bytes:
    try:
        return _ENCODER.encode(document).encode()
    except UnicodeEncodeError:
        raise Unfit("surrogate") from None
    except RecursionError:
        raise Unfit("too_deep") from None
    except (TypeError, ValueError):
        raise Unfit("not_json") from None


def _look_through(document: dict[str, object]) -> bool:
    """Whether JSON's own types are all there is; Unfit for what no encoder should be shown.

    Level by level and never more values than fit into a record, so neither a cycle nor a part
    that is shared a million times takes long.
    """
    odd: list[object] = []
    size = 0
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        if not level:
            break
        below: list[Any] = []
        for outer in level:
            size += 2 * len(outer)
            if size > MAX_RECORD_BYTES:
                raise Unfit("too_large")
            size += _look_into(outer, below, odd)
        level = below
    if any(map(len, level)):
        raise Unfit("too_deep")
    if size > MAX_RECORD_BYTES:
        raise Unfit("too_large")
    return not odd


def _look_into(outer: Any, below: list[Any], odd: list[object]) -> int:
    """At least so many bytes of text; containers go to `below`, other types to `odd`."""
    size = 0
    if isinstance(outer, dict):
        size = _bytes_of_names(outer)
        outer = [*outer.values()]
    for value in outer:
        kind = type(value)
        if kind is str:
            size += len(value)
        elif kind in _CONTAINERS:
            below.append(value)
        elif kind is float:
            _check_float(value)
        elif kind not in _PLAIN:
            odd.append(value)
            size += _look_at_odd(value, below)
    return size


def _bytes_of_names(outer: dict[str, object]) -> int:
    try:
        return len("".join(outer))
    except TypeError:
        raise Unfit("key_not_text") from None


def _look_at_odd(value: object, below: list[Any]) -> int:
    """The same for what is derived from JSON's types, such as numpy's float64 or a StrEnum."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict | list | tuple):
        below.append(value)
    elif isinstance(value, float):
        _check_float(value)
    elif not isinstance(value, int):
        raise Unfit("not_json")
    return 0


def _check_float(value: float) -> None:
    if not isfinite(value):
        raise Unfit("not_finite")


def _is_cyclic(document: object) -> bool:
    """Whether a container holds itself, as far as that can be seen in bounded time."""
    path: list[object] = [document]
    inside: list[Iterator[object]] = [_containers_in(document)]
    seen = {id(document)}
    for _ in range(MAX_RECORD_BYTES):
        inner = next(inside[-1], None)
        if inner is None:
            path.pop()
            inside.pop()
            if not path:
                return False
        elif any(inner is outer for outer in path[-MAX_DEPTH:]):
            return True
        elif id(inner) not in seen:
            seen.add(id(inner))
            path.append(inner)
            inside.append(_containers_in(inner))
    return False


def _containers_in(value: object) -> Iterator[object]:
    values: Iterable[object] = value.values() if isinstance(value, dict) else value  # type: ignore[assignment]
    return (v for v in islice(values, MAX_RECORD_BYTES) if isinstance(v, dict | list | tuple))


class Stamps:
    """Capture ids and times: UUIDs of version 7, so rows arrive in the order of their index.

    Unique by a number drawn once per process and counted up; a forked child needs its own.
    """

    def __init__(self) -> None:
        drawn = int.from_bytes(os.urandom(10), "big")
        self._middle = f"7{drawn >> 68:03x}-{0x8000 | drawn >> 54 & 0x3FFF:04x}"
        self._numbers = count(drawn & 0xFFFF_FFFF_FFFF)
        self._second = (0, "")

    def __call__(self) -> tuple[str, str]:
        """A new id, and the time it stands for: UTC, ISO 8601."""
        now = time.time_ns()
        at = now // 1_000_000
        tail = next(self._numbers) & 0xFFFF_FFFF_FFFF
        return (
            f"{at >> 16 & 0xFFFF_FFFF:08x}-{at & 0xFFFF:04x}-{self._middle}-{tail:012x}",
            f"{self._minute_and_second(now // SECOND)}.{now % SECOND // 1000:06d}+00:00",
        )

    def _minute_and_second(self, second: int) -> str:
        known, text = self._second
        if known != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return text
