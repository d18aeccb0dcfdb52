"""Turn one foreign record into an example: field mapping, final-answer conventions, labels.

One rule: a record is mapped or refused whole, and what it says beside our fields is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from tdsys.core import labelling, licences
from tdsys.core.answers import MAX_CHARS, marked
from tdsys.core.example import Document, Malformed
from tdsys.core.wording import Wording
from tdsys.errors import InvalidInput

INPUT_FIELDS = ("topic", "difficulty", "context")
OUTPUT_FIELDS = ("problem", "solution", "answer", "hints")
FIELDS = (*INPUT_FIELDS, *OUTPUT_FIELDS)
# The verifier rejects every example without one of these, so such a record is not taken in.
NEEDED_FIELDS = ("problem", "solution", "answer")
# What an errors file adds to a record; stripped when the repaired record comes back.
REJECTED = "_rejected"
# Metadata that only the import writes; a file's own field of that name gets a prefix.
RESERVED = ("provenance", "labelled_by", "template")
THEIRS = "imported_"
# It goes into every example.
LONGEST_ATTRIBUTION = 1000
MISSING = object()
NAMES_SHOWN, NAME_SHOWN = 12, 40


class Reading(BaseModel):
    """What the caller says about the file's form; None leaves it to detection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    header: bool | None = None
    encoding: str | None = None
    at: str | None = None


class ImportOptions(BaseModel):
    """How a file's fields become an example's: `mapping` is foreign name or path -> ours.

    InvalidInput for a name of ours that does not exist or that two sources would fill.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mapping: dict[str, str] = {}
    constants: dict[str, str] = {}
    license: str = licences.UNSTATED
    attribution: str = Field(default="", max_length=LONGEST_ATTRIBUTION)
    reading: Reading = Reading()
    strict: bool = False
    trust: bool = False

    @field_validator("license")
    @classmethod
    def _the_licence_is_known(cls, name: str) -> str:
        return licences.known(name)

    @model_validator(mode="after")
    def _every_target_exists_and_has_one_source(self) -> ImportOptions:
        targets = Counter([*self.mapping.values(), *self.constants])
        for name, sources in targets.items():
            if name not in FIELDS:
                raise InvalidInput(
                    f"an example has no field {name!r}", remedy=f"use one of {', '.join(FIELDS)}"
                )
            if sources > 1:
                raise InvalidInput(
                    f"{sources} sources are given for the field {name}",
                    remedy="keep one --map or --set for it",
                )
        return self


class Converted(NamedTuple):
    """A foreign record in our form, with the template of its problem."""

    inputs: Document
    outputs: Document
    metadata: Document
    template: str


def convert(record: JsonValue, options: ImportOptions) -> Converted:
    """Map, complete and label one record; Malformed names the field that is wrong."""
    named = mapped(record, options)
    outputs = {name: named.pop(name) for name in OUTPUT_FIELDS if name in named}
    try:
        problem, solution = complete(outputs)
    except Malformed as bad:
        raise _named(bad, record, options.mapping) from None
    inputs = {name: _plain(named.pop(name)) for name in INPUT_FIELDS if name in named}
    for name in RESERVED:
        if name in named:
            named[f"{THEIRS}{name}"] = named.pop(name)
    wording = Wording(problem)
    if len(inputs) < len(INPUT_FIELDS):
        ruled = wording.labels(solution)
        missing = [name for name in sorted(INPUT_FIELDS) if name not in inputs]
        named["labelled_by"] = f"{labelling.VERSION}: {', '.join(missing)}"
        inputs = {name: inputs.get(name, ruled[name]) for name in INPUT_FIELDS}
    return Converted(inputs, outputs, named, wording.template())


def mapped(record: JsonValue, options: ImportOptions) -> Document:
    """The record under our names, with the constants; Malformed where two values meet."""
    if not isinstance(record, dict):
        raise Malformed(
            "not_an_object",
            "",
            f"{_kind(record)}, not an object of fields",
            remedy="make every record an object of named fields",
        )
    named = _renamed(record, options.mapping)
    for path, ours in options.mapping.items():
        if path not in record and (found := at_path(record, path)) is not MISSING:
            if ours in named:
                raise _ambiguous(ours, path)
            named[ours] = cast("JsonValue", found)
            _cut(named, path.split("."))
    named.pop(REJECTED, None)
    return {**named, **options.constants}


def _named(bad: Malformed, record: JsonValue, mapping: Mapping[str, str]) -> Malformed:
    """The same, and where the mapping names a field that is not there, which and what is."""
    if bad.code != "missing_field" or not isinstance(record, dict):
        return bad
    for theirs, ours in mapping.items():
        if ours == bad.path and at_path(record, theirs) is MISSING:
            what = f"there is no field {theirs!r} in this record (there are {names_of(record)})"
            return Malformed(bad.code, bad.path, what, remedy=bad.remedy)
    return bad


def names_of(fields: Iterable[str]) -> str:
    """The first names of a record, to be shown."""
    names = list(dict.fromkeys(name for name in fields if name != REJECTED))
    shown = [name[:NAME_SHOWN] for name in names[:NAMES_SHOWN]]
    return ", ".join([*shown, "..."] if len(names) > NAMES_SHOWN else shown) or "none"


def complete(outputs: Document) -> tuple[str, str]:
    """Take the final answer out of the text that marks it; the problem and the solution.

    Malformed where one of the fields that every example needs is missing or cannot be read.
    """
    for name in NEEDED_FIELDS:
        if name in outputs:
            outputs[name] = _plain(outputs[name])
    _split_marked(outputs)
    problem, solution, answer = (_text(name, outputs.get(name)) for name in NEEDED_FIELDS)
    if len(answer) > MAX_CHARS:
        raise Malformed(
            "unreadable_answer",
            "answer",
            f"{len(answer):,} characters, at most {MAX_CHARS}",
            remedy="keep the final answer alone here and the working in the solution",
        )
    return problem, solution


def at_path(record: Mapping[str, JsonValue], path: str) -> object:
    """What stands at `data.items.0`, MISSING where nothing does; a key with dots comes first."""
    if path in record:
        return record[path]
    found: object = record
    for step in path.split("."):
        if isinstance(found, Mapping) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return MISSING
    return found


def _renamed(record: Document, mapping: Mapping[str, str]) -> Document:
    named = {mapping.get(name, name): value for name, value in record.items()}
    if len(named) < len(record):
        for name in record:
            ours = mapping.get(name, name)
            if ours != name and ours in record and ours not in mapping:
                raise _ambiguous(ours, name)
    return named


def _ambiguous(ours: str, theirs: str) -> Malformed:
    return Malformed(
        "ambiguous_field",
        ours,
        f"the record has this field and {theirs!r}, which is mapped to it",
        remedy="remove or rename one of them in the file",
    )


def _cut(named: Document, steps: list[str]) -> None:
    """Leave out what moved elsewhere; what it stood in is copied, for it belongs to the caller."""
    inner = named.get(steps[0])
    if isinstance(inner, dict):
        named[steps[0]] = copy = dict(inner)
        if len(steps) == 2:  # noqa: PLR2004  # the last step but one
            copy.pop(steps[1])
        else:
            _cut(copy, steps[1:])
        if not copy:
            del named[steps[0]]


def _split_marked(outputs: Document) -> None:
    r"""`#### 18` or `\boxed{18}`: in the solution where there is no answer, or in the answer."""
    solution, answer = outputs.get("solution"), outputs.get("answer")
    if answer is None and isinstance(solution, str):
        final, working = marked(solution)
        if final is not None:
            outputs["answer"], outputs["solution"] = final, working
    elif isinstance(answer, str) and ("####" in answer or "box" in answer):
        final, working = marked(answer)
        if final is not None:
            if solution is None and _has_working(answer, final):
                outputs["solution"] = working
            outputs["answer"] = final


def _has_working(text: str, final: str) -> bool:
    """Whether more is said than the marked answer itself."""
    return len(text.strip()) > len(final) + len("\\boxed{}") + len("$$")


def _text(name: str, value: JsonValue) -> str:
    if isinstance(value, str) and value.strip():
        return value
    if value is None or isinstance(value, str):
        empty, lacks = "fill it in", f"say which field of the file holds it (--map FIELD={name})"
        raise Malformed(
            "missing_field",
            name,
            "no text in this field",
            remedy=f"{lacks if value is None else empty}, or leave the record out",
        )
    raise Malformed(
        "wrong_type",
        name,
        f"{_kind(value)}, not text",
        remedy=f"write the {name} as one text, or map another field: --map FIELD={name}",
    )


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", dict: "an object", list: "a list", str: "a text"}
    return kinds.get(type(value), "a number")


def _plain(value: JsonValue) -> JsonValue:
    """A number as text: 18 is as good an answer as "18"."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value
