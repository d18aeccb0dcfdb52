"""One YAML document that a person wrote, with the place of everything in it.

The rules of imported YAML hold: nothing refers to anything else, no tag makes anything, and
`no` is a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from pydantic import JsonValue
from yaml.events import DocumentStartEvent, StreamEndEvent

from tdsys.parsing.flaws import REMEDIES
from tdsys.parsing.reading import Limits
from tdsys.parsing.yamlvalue import Values, Wrong

MOST_CHARACTERS = 64 * 1024
LIMITS = Limits(depth=8, values=2000, text=16 * 1024)
Path = tuple[str | int, ...]


class Spot(NamedTuple):
    """A place in the text; both count from 1."""

    line: int
    column: int


class Unreadable(Exception):
    """The text is no document: where it stops being one, and what would mend it."""

    def __init__(self, spot: Spot, message: str, remedy: str) -> None:
        super().__init__(message)
        self.spot = spot
        self.message = message
        self.remedy = remedy


class Document(NamedTuple):
    """A value with the spots of the names in it and of what stands behind them."""

    value: JsonValue
    names: dict[Path, Spot]
    values: dict[Path, Spot]

    def spot(self, path: Path, *, of_name: bool = False) -> Spot:
        """Where that is; for what is not there, where it would have to be."""
        spots = self.names if of_name else self.values
        for length in range(len(path), -1, -1):
            if found := spots.get(path[:length]):
                return found
        return Spot(1, 1)


class _Placed(Values):
    """Values that remember where they stood."""

    def __init__(self, events: Iterator[Any]) -> None:
        super().__init__(lambda: next(events), LIMITS)
        self.names: dict[Path, Spot] = {}
        self.values: dict[Path, Spot] = {}

    def _value(self, event: Any) -> JsonValue:
        self.values[tuple(self._steps)] = _spot(event.start_mark)
        return super()._value(event)

    def _name(self, event: Any) -> str:
        name = super()._name(event)
        self.names[(*self._steps, name)] = _spot(event.start_mark)
        return name


def read(text: str) -> Document:
    """The only document of a text; Unreadable says where there is none, or another one."""
    if len(text) > MOST_CHARACTERS:
        message = f"{len(text):,} characters, at most {MOST_CHARACTERS:,}"
        raise Unreadable(Spot(1, 1), message, "shorten it")
    events = yaml.parse(text, Loader=yaml.CSafeLoader)
    try:
        return _only(events)
    except Wrong as wrong:
        remedy = REMEDIES.get(wrong.code, "")
        raise Unreadable(_spot(wrong.mark), wrong.message, remedy) from None
    except yaml.MarkedYAMLError as broken:
        what = " ".join(filter(None, (broken.context, broken.problem)))
        raise Unreadable(_spot(broken.problem_mark), what, "correct it at this place") from None
    except yaml.reader.ReaderError as broken:
        raise Unreadable(
            _spot_at(text, broken.position), f"a character that YAML has not: {broken.reason}",
            "remove it",
        ) from None  # fmt: skip


def _only(events: Iterator[Any]) -> Document:
    next(events)
    if type(next(events)) is not DocumentStartEvent:
        raise Unreadable(Spot(1, 1), "there is nothing in it", "write at least `domain: NAME`")
    values = _Placed(events)
    found = Document(values.record(next(events)), values.names, values.values)
    next(events)
    if type(more := next(events)) is not StreamEndEvent:
        raise Unreadable(_spot(more.start_mark), "a second document", "keep one to a file")
    return found


def _spot(mark: Any) -> Spot:
    return Spot(mark.line + 1, mark.column + 1) if mark else Spot(1, 1)


def _spot_at(text: str, index: int) -> Spot:
    before = text[:index]
    return Spot(before.count("\n") + 1, index - before.rfind("\n"))
