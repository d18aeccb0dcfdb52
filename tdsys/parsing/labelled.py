"""Labelled examples in a file of JSON lines: what a judge is calibrated by.

One rule: a wrong line is told with everything that is wrong in it, and costs only itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.core.calibration import LabelledExample
from tdsys.core.example import Document, Malformed, check_document, fingerprint
from tdsys.core.rubric import Dimension
from tdsys.parsing import records
from tdsys.parsing.reading import Asked, Flaw, Format

FIELDS = ("domain", "inputs", "outputs", "label", "scores", "metadata")
LABELS = {"good": True, "bad": False}
DIMENSIONS = tuple(d.value for d in Dimension)


class Refusal(NamedTuple):
    """What is wrong in one field of one line, and how to mend it."""

    line: int
    field: str
    message: str
    remedy: str


class Elsewhere(NamedTuple):
    """A line about another domain, left alone."""

    line: int
    domain: str


Told = LabelledExample | Refusal | Elsewhere


def labelled(pieces: Iterable[bytes], *, domain: str, filename: str = "") -> Iterator[Told]:
    """Every line of a file, while its bytes arrive: an example, or all that is wrong with it."""
    seen: dict[bytes, int] = {}
    for found in records(pieces, Asked(format=Format.JSONL), filename=filename):
        if isinstance(found, Flaw):
            yield Refusal(found.place.line, found.field, found.message, found.remedy)
        else:
            yield from _line(found.place.line, found.value, domain, seen)


def _line(line: int, value: JsonValue, domain: str, seen: dict[bytes, int]) -> Iterator[Told]:
    if not isinstance(value, dict):
        yield Refusal(line, "", "not an object", 'write {"inputs": {}, "outputs": {}, "label": ""}')
        return
    about = value.get("domain", domain)
    if isinstance(about, str) and about != domain:
        yield Elsewhere(line, about)
        return
    if wrong := list(_wrong(line, value)):
        yield from wrong
        return
    inputs, outputs = _document(value["inputs"]), _document(value["outputs"])
    first = seen.setdefault(fingerprint(domain, inputs, outputs), line)
    if first != line:
        yield Refusal(
            line, "outputs", f"the same content as line {first}", "keep one of the two lines"
        )
        return
    given = {Dimension(name): _number(n) for name, n in _document(value.get("scores", {})).items()}
    yield LabelledExample(line, inputs, outputs, LABELS[str(value["label"])], given)


def _wrong(line: int, value: Mapping[str, JsonValue]) -> Iterator[Refusal]:
    for name in value:
        if name not in FIELDS:
            yield Refusal(line, name, "there is no such field", _meant(name, FIELDS))
    if not isinstance(value.get("domain", ""), str):
        yield Refusal(line, "domain", "not a text", "write the domain's name, or leave it out")
    for name in ("inputs", "outputs"):
        yield from _in_document(line, name, value)
    if str(value.get("label")) not in LABELS:
        what = "it is missing" if "label" not in value else "neither good nor bad"
        yield Refusal(line, "label", what, 'write "good" or "bad"')
    yield from _in_scores(line, value.get("scores", {}))


def _in_document(line: int, name: str, value: Mapping[str, JsonValue]) -> Iterator[Refusal]:
    document = value.get(name)
    if not isinstance(document, dict) or (name == "outputs" and not document):
        what = "it is missing" if name not in value else "not an object with the example's fields"
        yield Refusal(line, name, what, f'write for example "{name}": {{"problem": "..."}}')
        return
    try:
        check_document(document, path=name)
    except Malformed as bad:
        yield Refusal(line, bad.path, bad.what, bad.remedy)


def _in_scores(line: int, scores: JsonValue) -> Iterator[Refusal]:
    if not isinstance(scores, dict):
        yield Refusal(line, "scores", "not an object", 'write for example {"accuracy": 0.8}')
        return
    for name, number in scores.items():
        field = f"scores.{name}"
        if name not in DIMENSIONS:
            yield Refusal(line, field, "there is no such dimension", _meant(name, DIMENSIONS))
        elif isinstance(number, bool) or not isinstance(number, int | float):
            yield Refusal(line, field, "not a number", "write a number from 0 to 1")
        elif not 0 <= number <= 1:
            yield Refusal(line, field, f"{number} is not from 0 to 1", "divide by the full mark")


def _meant(name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"the fields are {', '.join(known)}"


def _document(value: JsonValue) -> Document:
    assert isinstance(value, dict)  # noqa: S101  # `_wrong` looked
    return value


def _number(value: JsonValue) -> float:
    assert isinstance(value, int | float)  # noqa: S101  # `_wrong` looked
    return float(value)
