"""A capture as bytes: kept is what the worker keeps, and whatever is not kept has a reason.

One rule: what is refused, and under which reason, is the same with orjson and without.
"""

from __future__ import annotations

import json
import os
import re
import time
from itertools import count, islice
from math import isfinite

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

# The worker's limits (tdsys.core.example), which the client may not import.
MAX_RECORD_BYTES = 256 * 1024
MAX_DEPTH = 32
LONGEST_DOMAIN = 100
# So many names are remembered as good; a generator has a handful.
MOST_DOMAINS = 1000
LAST_CONTROL = "\x9f"
# orjson writes 1e-7 for Python's 1e-07; only far below the limit may that not matter.
CERTAINLY_SMALL = MAX_RECORD_BYTES // 2
MOST_SIMPLE = 1000

# An escaped NUL in JSON text: a backslash that is not itself escaped, then u0000.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_PLAIN = frozenset({int, bool, type(None)})
_TEXT = frozenset({str})


class Unfit(Exception):
    """A capture that is not kept; its text is the reason it is counted under."""


class Serialiser:
    """Documents to JSON; `fast` is orjson's dumps, or None for the standard library alone."""

    def __init__(self, fast: Callable[[object], bytes] | None = None) -> None:
        self._fast = fast

    def __call__(self, document: dict[str, object]) -> bytes:
        """The document as the worker will read it; Unfit for what the worker would refuse."""
        record = None
        if self._fast and _is_simple(document):
            record = self._quickly(document)
        if record is None or len(record) > CERTAINLY_SMALL:
            record = self._carefully(document)
        if b"\\u0000" in record and _NUL.search(record):
            raise Unfit("nul")
        return record

    def _quickly(self, document: dict[str, object]) -> bytes | None:
        """None for what orjson refuses and we do not, such as integers beyond 64 bits."""
        try:
            return self._fast(document) if self._fast else None
        except TypeError:
            return None

    def _carefully(self, document: dict[str, object]) -> bytes:
        try:
            plain = _is_plain(document)
        except Unfit as unfit:
            raise Unfit("cyclic" if _is_cyclic(document) else str(unfit)) from None
        except TypeError:
            raise Unfit("key_not_text") from None
        record = self._quickly(document) if plain else None
        if record is None or len(record) > CERTAINLY_SMALL:
            record = _encoded(document)
        if len(record) > MAX_RECORD_BYTES:
            raise Unfit("too_large")
        return record


def require_objects(*parts: object) -> None:
    """Unfit for a part of a capture that is not an object of JSON."""
    for part in parts:
        if not isinstance(part, dict):
            raise Unfit("not_json")


class Domains:
    """Names of domains the service takes (tdsys.core.example.check_domain).

    `known` are some that were found good: to look there first makes a check cost next to nothing.
    """

    def __init__(self) -> None:
        self.known: set[str] = set()

    def check(self, domain: object) -> None:
        """Unfit for what is no name of a domain."""
        if not (isinstance(domain, str) and _is_domain(domain)):
            raise Unfit("not_a_domain")
        if len(self.known) < MOST_DOMAINS:
            self.known.add(domain)


def _is_domain(name: str) -> bool:
    """Whether it is 1 to 100 characters on one line without blanks at the ends."""
    if not 0 < len(name) <= LONGEST_DOMAIN or name != name.strip():
        return False
    # Every blank beyond the control characters is a separator to Unicode, no control.
    return name.isprintable() or all(
        c.isprintable() or (c.isspace() and c > LAST_CONTROL) for c in name
    )


def orjson_dumps() -> Callable[[object], bytes] | None:
    """What makes a Serialiser fast, where it is installed."""
    try:
        import orjson  # noqa: PLC0415  # an optional package of the generator's
    except ImportError:
        return None
    return orjson.dumps


def _encoded(document: dict[str, object]) -> bytes:
    try:
        return _ENCODER.encode(document).encode()
    except UnicodeEncodeError:
        raise Unfit("surrogate") from None
    except (TypeError, ValueError):
        raise Unfit("not_json") from None


def _is_simple(document: dict[str, object]) -> bool:
    """Whether it has the usual form: parts of texts, numbers and lists of texts, not large.

    Told with as little code as can be, because at a generator's pace every line runs with cold
    caches; what is not simple is only looked at again.
    """
    size = 0
    for part in document.values():
        if type(part) is str:
            continue
        if type(part) is not dict or len(part) > MOST_SIMPLE:
            return False
        for value in [*part.values()]:
            kind = type(value)
            if kind is str:
                size += len(value)
            elif kind is list and len(value) <= MOST_SIMPLE:
                if not _TEXT.issuperset(map(type, value)):
                    return False
                size += sum(map(len, value))
            elif kind not in _PLAIN and (kind is not float or value - value):
                return False
    return size <= CERTAINLY_SMALL


def _is_plain(document: dict[str, object]) -> bool:  # noqa: C901  # one loop of many cases
    """Whether JSON's own types are all there is; Unfit for what no encoder should be shown.

    Level by level and never more values than fit into a record, so neither a cycle nor a part
    that is shared a million times takes long. TypeError for a name that is not text.
    """
    odd = False
    size = 0
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for outer in level:
            size += 2 * len(outer)
            if size > MAX_RECORD_BYTES:
                raise Unfit("too_large")
            if isinstance(outer, dict):
                size += len("".join(outer))
                outer = [*outer.values()]  # noqa: PLW2901
            for value in outer:
                kind = type(value)
                if kind is str:
                    size += len(value)
                elif kind is dict or kind is list or kind is tuple:
                    below.append(value)
                elif kind not in _PLAIN and (kind is not float or not isfinite(value)):
                    odd = True
                    size += _look_at_odd(value, below)
        if not below:
            break
        level = below
    else:
        if any(map(len, level)):
            raise Unfit("too_deep")
    if size > MAX_RECORD_BYTES:
        raise Unfit("too_large")
    return not odd


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
    """Capture ids and times.

    An id is a UUID (version 8: our own form) of a number drawn once per process and one that is
    counted up, so it costs next to nothing; a forked child needs its own.
    """

    def __init__(self) -> None:
        drawn = os.urandom(9).hex()
        self._process = f"{drawn[:8]}-{drawn[8:12]}-8{drawn[12:15]}-a{drawn[15:18]}-"
        # Twelve decimal digits are hexadecimal digits, too.
        self._numbers = count(10**11 + int.from_bytes(os.urandom(4), "big"))
        self._second = (0, "")

    def __call__(self) -> tuple[str, str]:
        """A new id, and the time: UTC, ISO 8601, to the second."""
        second, text = self._second
        if not 0 <= time.time() - second < 1:
            text = self._begin_second()
        return self._process + str(next(self._numbers)), text

    def _begin_second(self) -> str:
        second = int(time.time())
        text = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(second))
        self._second = (second, text)
        return text
