"""The example, what identifies it, and which JSON survives storage."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, field_validator

from tdsys.errors import InvalidInput

MAX_DEPTH = 32
LONGEST_NAME = 100
MAX_BYTES = 256 * 1024
# Python's default for the digits it reads and writes (sys.int_info.default_max_str_digits).
LONGEST_INTEGER = 4300
Document = dict[str, JsonValue]

_TOO_LONG = 10**LONGEST_INTEGER
# ASCII text is levelled a byte at a time: what str.split drops is a blank, letters are small.
_LEVELLED_ASCII = bytes(
    0x20 if chr(code).isspace() else ord(chr(code).lower()) for code in range(128)
) + bytes(range(128, 256))


class Source(StrEnum):
    """Where an example came from."""

    CAPTURED = "captured"
    BOOTSTRAPPED = "bootstrapped"
    SYNTHETIC = "synthetic"
    IMPORTED = "imported"
    MANUAL = "manual"


class Cell(NamedTuple):
    """One topic at one difficulty."""

    topic: str
    difficulty: str


class Malformed(InvalidInput):
    """A document that storage would refuse or silently change."""

    def __init__(self, code: str, path: str, message: str, *, remedy: str) -> None:
        super().__init__(f"{path or 'the record'}: {message}", remedy=remedy)
        self.what = message
        self.code = code
        self.path = path


class Capture(BaseModel):
    """One input/output pair as a generator handed it over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    capture_id: UUID
    domain: str
    inputs: Document
    outputs: Document
    metadata: Document = {}
    captured_at: AwareDatetime

    @field_validator("domain")
    @classmethod
    def _domain_is_a_plain_name(cls, name: str) -> str:
        try:
            return check_domain(name)
        except InvalidInput as bad:
            raise ValueError(str(bad)) from None

    @property
    def cell(self) -> Cell:
        """The cell its inputs name; `general` and `unrated` where they name none."""
        return Cell(
            label(self.inputs, "topic", "general"), label(self.inputs, "difficulty", "unrated")
        )

    @property
    def fingerprint(self) -> bytes:
        """The identity of its content."""
        return fingerprint(self.domain, self.inputs, self.outputs)


class Candidate(BaseModel):
    """An example as stages see it: content and labels, no history.

    `revision` counts the edits before it; `trusted_by` is whoever vouched for this content.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    domain: str
    topic: str
    difficulty: str
    source: Source
    inputs: Document
    outputs: Document
    attempts: int = 0
    unusable_answers: int = 0
    simulated: bool = False
    trusted_by: str | None = None
    revision: int = 0

    @property
    def cell(self) -> Cell:
        """The cell it belongs to."""
        return Cell(self.topic, self.difficulty)


def check_domain(name: str) -> str:
    """The name of a domain as it was, or InvalidInput: 1 to 100 characters on one line."""
    plain = not any(unicodedata.category(c).startswith("C") for c in name)
    if plain and name == name.strip() and 0 < len(name) <= LONGEST_NAME:
        return name
    raise InvalidInput(
        f"{name[:LONGEST_NAME]!r} is not a domain name",
        remedy=f"use 1 to {LONGEST_NAME} characters on one line, without blanks at the ends",
    )


def fingerprint(
    domain: str, inputs: Mapping[str, JsonValue], outputs: Mapping[str, JsonValue]
) -> bytes:
    """SHA-256 over domain, inputs and outputs with letter case and white space levelled."""
    content = {
        "domain": domain,
        "inputs": _levelled(dict(inputs)),
        "outputs": _levelled(dict(outputs)),
    }
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def canonical(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no blanks, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def level(text: str) -> str:
    """Text as identity sees it: NFKC, case folded, white space collapsed."""
    if not text.isascii():
        return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    plain = text.encode().translate(_LEVELLED_ASCII).strip()
    return (b" ".join(plain.split()) if b"  " in plain else plain).decode()


def label(inputs: Mapping[str, JsonValue], name: str, missing: str) -> str:
    """What an input says as a label, levelled and cut; `missing` where it says nothing."""
    value = inputs.get(name)
    return level(value)[:LONGEST_NAME] if isinstance(value, str) and value.strip() else missing


def check_document(value: object, *, path: str = "") -> None:
    """Refuse what JSON in Postgres cannot hold unchanged; the error names the path."""
    _check(value, path, 0)
    size = len(canonical(value))
    if size > MAX_BYTES:
        raise Malformed(
            "too_large",
            path,
            f"{size:,} bytes of JSON, at most {MAX_BYTES:,}",
            remedy="shorten the longest field",
        )


def _levelled(value: object) -> object:
    """The value with its text levelled, as orjson takes it and json.dumps would write it."""
    if isinstance(value, str):
        return level(value)
    if isinstance(value, dict):
        return {str(key): _levelled(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_levelled(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    # The two write some numbers differently, and an identity must never change.
    return orjson.Fragment(json.dumps(value))


def _check(value: object, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Malformed(
            "too_deep",
            path,
            f"nested deeper than {MAX_DEPTH} levels",
            remedy="flatten the structure",
        )
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise Malformed(
                    "key_not_text", path, f"the key {key!r} is not text", remedy="use text keys"
                )
            _check_text(key, path)
            _check(inner, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check(inner, f"{path}[{index}]", depth + 1)
    elif not (value is None or isinstance(value, bool)):
        _check_number(value, path)


def _check_number(value: object, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed(
            "not_finite",
            path,
            f"{value} is not a JSON number",
            remedy="leave the field out or send text",
        )
    if isinstance(value, int) and abs(value) >= _TOO_LONG:
        raise Malformed(
            "not_json",
            path,
            f"an integer of more than {LONGEST_INTEGER} digits",
            remedy="send it as text",
        )
    if not isinstance(value, int | float):
        raise Malformed(
            "not_json",
            path,
            f"a {type(value).__name__} is not JSON",
            remedy="convert it to text, a number, a list or an object",
        )


def _check_text(text: str, path: str) -> None:
    if "\x00" in text:
        raise Malformed("nul", path, "text holds a NUL character", remedy="remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed(
            "surrogate",
            path,
            "text holds half a surrogate pair",
            remedy="decode the source with the right encoding",
        ) from None
