"""Turn one foreign record into an example: field mapping, final-answer conventions, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, JsonValue, model_validator

from tdsys.core import labelling
from tdsys.core.answers import final_answer
from tdsys.core.example import Document, Malformed
from tdsys.errors import InvalidInput

INPUT_FIELDS = ("topic", "difficulty", "context")
OUTPUT_FIELDS = ("problem", "solution", "answer", "hints")
FIELDS = (*INPUT_FIELDS, *OUTPUT_FIELDS)
# The verifier rejects every example without one of these, so such a record is not taken in.
NEEDED_FIELDS = ("problem", "solution", "answer")


class ImportOptions(BaseModel):
    """How a file's fields become an example's: `mapping` is foreign name -> ours.

    InvalidInput for a name of ours that does not exist or that two sources would fill.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mapping: dict[str, str] = {}
    constants: dict[str, str] = {}

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


class Converted(BaseModel):
    """A foreign record in our form."""

    model_config = ConfigDict(frozen=True)

    inputs: Document
    outputs: Document
    metadata: Document


def convert(record: JsonValue, options: ImportOptions) -> Converted:
    """Map, complete and label one record; Malformed names the field that is wrong."""
    if not isinstance(record, dict):
        raise Malformed(
            "not_an_object",
            "",
            f"a {type(record).__name__}, not an object of fields",
            remedy="write one JSON object per line",
        )
    named = {**dict(_renamed(record, options.mapping)), **options.constants}
    outputs = {name: named[name] for name in OUTPUT_FIELDS if name in named}
    _complete(outputs)
    given = {name: named[name] for name in INPUT_FIELDS if name in named}
    inputs = _labelled(given, outputs)
    rest = {n: v for n, v in named.items() if n not in FIELDS}
    if rule := sorted(set(inputs) - set(given)):
        rest["labelled_by"] = f"{labelling.VERSION}: {', '.join(rule)}"
    return Converted(inputs=inputs, outputs=outputs, metadata=rest)


def _renamed(
    record: Mapping[str, JsonValue], mapping: Mapping[str, str]
) -> Iterator[tuple[str, JsonValue]]:
    for name, value in record.items():
        ours = mapping.get(name, name)
        if ours != name and ours in record and ours not in mapping:
            raise Malformed(
                "ambiguous_field",
                ours,
                f"the record has this field and {name!r}, which is mapped to it",
                remedy="remove or rename one of them in the file",
            )
        yield ours, value


def _complete(outputs: Document) -> None:
    """Take the final answer out of the solution where the file keeps it there (`#### 18`)."""
    solution = outputs.get("solution")
    if "answer" not in outputs and isinstance(solution, str):
        answer = final_answer(solution)
        if answer is not None:
            outputs["answer"] = answer
            outputs["solution"] = solution.split("####")[0].rstrip()
    for name in NEEDED_FIELDS:
        value = outputs.get(name)
        if not isinstance(value, str) or not value.strip():
            raise Malformed(
                "missing_field",
                name,
                "no text in this field",
                remedy=f"say which field of the file holds it: --map FIELD={name}",
            )


def _labelled(given: Mapping[str, JsonValue], outputs: Document) -> Document:
    found = labelling.labels(str(outputs["problem"]), str(outputs.get("solution", "")))
    return {**found, **given}
