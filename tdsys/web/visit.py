"""One request as a page's function sees it: who asks, for what, and with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from tdsys.core.example import LONGEST_NAME
from tdsys.core.people import Person, Right, Role, hidden
from tdsys.errors import InvalidInput, NotFound
from tdsys.runtime import Runtime
from tdsys.stages.signing import Where
from tdsys.store import Store

Word = TypeVar("Word", bound=StrEnum)
LONGEST_NUMBER = 18
LONGEST_SHOWN = 60

# Whoever is not signed in: without rights, and without domains.
NOBODY = Person(0, "", Role.VIEWER, frozenset(), frozenset())


@dataclass(frozen=True)
class Visit:
    """Who asks, and what for.

    `path` holds the variables of the route, `query` the address after the question mark, `form`
    the fields of a POST (a list each), `document` its JSON, `body` an upload's bytes. `by_token`:
    a program asks, with an API token of the person's.
    """

    runtime: Runtime
    person: Person
    now: datetime
    where: Where
    token: str
    path: Mapping[str, Any]
    query: Mapping[str, str]
    form: Mapping[str, list[str]] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    body: Iterator[bytes] = field(default_factory=lambda: iter(()))
    home: str = "/account"
    by_token: bool = False

    @property
    def store(self) -> Store:
        """Postgres."""
        return self.runtime.store

    @property
    def domains(self) -> frozenset[str] | None:
        """What every query has to be limited to; None: nothing."""
        return self.person.domains

    def text(self, name: str, default: str = "") -> str:
        """A word of the query; the default when it is not there."""
        return self.query.get(name, default)[: 10 * LONGEST_NAME]

    def number(self, name: str, default: int, *, most: int, least: int = 0) -> int:
        """A number of the query; InvalidInput for anything else, and outside its bounds."""
        text = self.query.get(name, "")
        if not text:
            return default
        if _is_number(text) and least <= int(text) <= most:
            return int(text)
        raise InvalidInput(
            f"{name}={text[:LONGEST_SHOWN]!r} is not usable",
            remedy=f"use a whole number from {least} to {most}",
        )

    def choice(self, name: str, words: type[Word]) -> Word | None:
        """One of these words, or None when the query names none; InvalidInput for another."""
        text = self.query.get(name, "")
        return _word(name, text, words) if text else None

    def domain(self, name: str = "domain") -> str | None:
        """The domain the query names, if any; NotFound when it is not this person's."""
        found = self.query.get(name, "")
        if found and not self.person.sees(found):
            raise hidden(found[:LONGEST_NAME])
        return found or None

    def require(self, right: Right, *, domain: str) -> None:
        """NotFound for a domain that is not this person's, NotAllowed without the right."""
        self.person.require(right, domain=domain)

    def field(self, name: str, default: str = "") -> str:
        """A field of the form; the last when it is there twice."""
        return (self.form.get(name) or [default])[-1]

    def fields(self, name: str) -> list[str]:
        """Every value of a field, those left empty not."""
        return [value for value in self.form.get(name, []) if value]

    def field_number(self, name: str, *, most: int, least: int = 0) -> int:
        """A whole number of the form; InvalidInput for anything else."""
        text = self.field(name)
        if _is_number(text) and least <= int(text) <= most:
            return int(text)
        raise InvalidInput(
            f"{name} {text[:LONGEST_SHOWN]!r} is not usable",
            remedy=f"use a whole number from {least} to {most}",
        )

    def field_choice(self, name: str, words: type[Word]) -> Word:
        """One of these words; InvalidInput for another, or none."""
        return _word(name, self.field(name), words)


def missing(what: str) -> NotFound:
    """What is said of a thing that is not there, and of one that is another's."""
    return NotFound(f"there is no {what} that you may see", remedy="go back to the list")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER


def _word(name: str, text: str, words: type[Word]) -> Word:
    try:
        return words(text)
    except ValueError:
        raise InvalidInput(
            f"{name} {text[:LONGEST_SHOWN]!r} is not usable",
            remedy=f"use one of {', '.join(words)}",
        ) from None
