"""One value out of YAML events, by the core schema of YAML 1.2.

The one rule: what is written is what is read. `no` is a text, 010 is ten, 1:30 is a text; nothing
refers to anything else, and no tag makes anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from pydantic import JsonValue
from yaml.error import Mark
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from tdsys.parsing.flaws import path, show
from tdsys.parsing.reading import Limits

_INTEGER = re.compile(r"[-+]?[0-9]++")
_OTHER_BASE = re.compile(r"0o[0-7]++|0x[0-9a-fA-F]++")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]++|[0-9]++(?:\.[0-9]*+)?)(?:[eE][-+]?[0-9]++)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMERIC = frozenset("0123456789+-.")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def may_be_number(text: str) -> bool:
    """Whether a text that is not empty may be read as a number when it is not in quotes."""
    return text[0] in _NUMERIC


class Wrong(Exception):
    """A record that cannot be taken: at which mark, and why."""

    def __init__(self, mark: Mark, code: str, message: str, field: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.code = code
        self.message = message
        self.field = field


class Values:
    """Builds values from the events that `take` hands out."""

    def __init__(self, take: Callable[[], Any], limits: Limits) -> None:
        self._take = take
        self._limits = limits
        self._count = 0
        self._steps: list[str | int] = []

    def record(self, first: Any) -> JsonValue:
        """The value that begins with this event; its own events are taken. Wrong where it is."""
        self._count = 0
        self._steps.clear()
        return self._value(first)

    def _value(self, event: Any) -> JsonValue:
        self._count += 1
        if self._count > self._limits.values:
            raise self._wrong(event, "too_many_values", f"more than {self._limits.values:,} values")
        self._check_plain(event)
        if type(event) is ScalarEvent:
            return self._scalar(event)
        if len(self._steps) >= self._limits.depth:
            message = f"nested deeper than {self._limits.depth} levels"
            raise self._wrong(event, "too_deep", message)
        return self._list() if type(event) is SequenceStartEvent else self._object()

    def _list(self) -> JsonValue:
        made: list[JsonValue] = []
        steps = self._steps
        steps.append(0)
        while type(event := self._take()) is not SequenceEndEvent:
            made.append(self._value(event))
            steps[-1] = len(made)
        steps.pop()
        return made

    def _object(self) -> JsonValue:
        made: dict[str, JsonValue] = {}
        steps = self._steps
        while type(event := self._take()) is not MappingEndEvent:
            name = self._name(event)
            steps.append(name)
            if name in made:
                message = f"the name {show(name)} is given twice"
                raise self._wrong(event, "duplicate_key", message)
            made[name] = self._value(self._take())
            steps.pop()
        return made

    def _name(self, event: Any) -> str:
        self._check_plain(event)
        if type(event) is not ScalarEvent:
            raise self._wrong(event, "bad_key", "a list or mapping stands where a name belongs")
        name: str = event.value
        if len(name) > self._limits.key:
            message = f"{len(name):,} characters, at most {self._limits.key:,}"
            raise self._wrong(event, "key_too_long", message)
        return name

    def _check_plain(self, event: Any) -> None:
        if type(event) is AliasEvent:
            raise self._wrong(event, "alias", f"the alias {show(f'*{event.anchor}')}")
        if event.anchor is not None:
            raise self._wrong(event, "alias", f"the anchor {show(f'&{event.anchor}')}")
        if event.tag is not None:
            raise self._wrong(event, "tag", f"the tag {show(event.tag)}")

    def _scalar(self, event: Any) -> JsonValue:
        text: str = event.value
        if len(text) > self._limits.text:
            message = f"{len(text):,} characters, at most {self._limits.text:,}"
            raise self._wrong(event, "text_too_long", message)
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        return self._number(event, text) if may_be_number(text) else text

    def _number(self, event: Any, text: str) -> JsonValue:
        if _INTEGER.fullmatch(text) or _OTHER_BASE.fullmatch(text):
            if len(text) > self._limits.digits:
                message = f"a whole number of {len(text):,} digits, at most {self._limits.digits}"
                raise self._wrong(event, "number_too_long", message)
            return int(text, 10 if text[1:2] not in {"o", "x"} else 0)
        if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
            raise self._wrong(event, "not_finite", f"{show(text)} is not a finite number")
        return text

    def _wrong(self, event: Any, code: str, message: str) -> Wrong:
        return Wrong(event.start_mark, code, message, path(self._steps))
