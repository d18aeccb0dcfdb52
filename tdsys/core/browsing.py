"""What a person looks for among the examples, as an address carries it.

One rule: what an address says is checked here, and what is not understood is refused, never
ignored: a filter that is silently dropped would make a bulk action far larger than was meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tdsys.core.example import Source
from tdsys.core.lifecycle import State
from tdsys.errors import InvalidInput

LONGEST_TEXT = 200
LONGEST_LABEL = 1000
MOST_WORDS = 12
_WORD = re.compile(r"\w+(?:[.,]\d+)*")
_PLACE = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)~([0-9]{1,19})\Z")
_NUL = "\x00"


class Order(StrEnum):
    """By what the examples are ordered; by quality means: those that have one."""

    NEWEST = "newest"
    BEST = "best"
    WORST = "worst"

    @property
    def is_by_quality(self) -> bool:
        """Whether examples without a quality have no place in it."""
        return self is not Order.NEWEST

    @property
    def is_descending(self) -> bool:
        """Whether the largest comes first."""
        return self is not Order.WORST


class Place(NamedTuple):
    """A row's place in an order: what it is ordered by (seconds since 1970, or quality), its id."""

    key: float
    id: int

    def __str__(self) -> str:
        return f"{self.key!r}~{self.id}"


class Filter(BaseModel):
    """Which examples are meant; what is left out is not asked for. Days are UTC, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: str | None = Field(None, max_length=LONGEST_LABEL)
    state: State | None = None
    source: Source | None = None
    topic: str | None = Field(None, max_length=LONGEST_LABEL)
    difficulty: str | None = Field(None, max_length=LONGEST_LABEL)
    reason: str | None = Field(None, max_length=LONGEST_LABEL)
    quality_from: float | None = Field(None, ge=0, le=1)
    quality_to: float | None = Field(None, ge=0, le=1)
    text: str | None = Field(None, max_length=LONGEST_TEXT)
    captured_from: date | None = None
    captured_to: date | None = None

    @model_validator(mode="after")
    def _it_can_be_asked(self) -> Self:
        for name, value in self:
            if isinstance(value, str) and _NUL in value:
                raise ValueError(f"{name} holds a character that no text here has")
        if self.text is not None and not 0 < len(words(self.text)) <= MOST_WORDS:
            raise ValueError(f"text must hold 1 to {MOST_WORDS} words or numbers")
        return self

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Self:
        """The filter an address asks for; InvalidInput for what it has not. Empty is left out."""
        try:
            return cls.model_validate({name: value for name, value in given.items() if value})
        except ValidationError as bad:
            first = bad.errors()[0]
            name = ".".join(map(str, first["loc"])) or "the filter"
            raise InvalidInput(
                f"{name}: {first['msg']}", remedy="change it, or leave it out"
            ) from None

    def written(self) -> dict[str, str]:
        """The same as an address carries it."""
        told = self.model_dump(mode="json", exclude_none=True)
        return {name: str(value) for name, value in told.items()}

    @property
    def captured_since(self) -> datetime | None:
        """The first moment."""
        return None if self.captured_from is None else _midnight(self.captured_from)

    @property
    def captured_before(self) -> datetime | None:
        """The first moment that is too late."""
        last = self.captured_to
        return None if last is None else _midnight(last) + timedelta(days=1)


def words(text: str) -> list[str]:
    """The words and numbers of a search, in small letters."""
    return [word.lower() for word in _WORD.findall(text)]


def place(written: str) -> Place:
    """A place as an address carries it; InvalidInput for anything else."""
    found = _PLACE.match(written)
    if not found or int(found[2]) >= 2**63:
        raise InvalidInput("the address points to no place in a list", remedy="begin at its start")
    return Place(float(found[1]), int(found[2]))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
