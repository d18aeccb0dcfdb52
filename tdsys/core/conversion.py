"""Turn one foreign record into an example: field mapping, final-answer conventions, labels."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core import labelling
from tdsys.core.answers import final_answer
from tdsys.core.example import Document, Malformed

INPUT_FIELDS = ("topic", "difficulty", "context")
OUTPUT_FIELDS = ("problem", "solution", "answer", "hints")


class ImportOptions(BaseModel):
    """How a file's fields become an example's: `mapping` is foreign name -> ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mapping: dict[str, str] = {}
    constants: dict[str, str] = {}


class Converted(BaseModel):
    """A foreign record in our form."""

    model_config = ConfigDict(frozen=True)

    inputs: Document
    outputs: Document
    metadata: Document


def convert(record: JsonValue, options: ImportOptions) -> Converted:
    """Map, complete and label one record; Malformed names the field that is missing."""
    if not isinstance(record, dict):
        raise Malformed(
            "not_an_object",
            "",
            f"a {type(record).__name__}, not an object of fields",
            remedy="write one JSON object per line",
        )
    named = {options.mapping.get(name, name): value for name, value in record.items()}
    named.update(options.constants)
    outputs = {name: named[name] for name in OUTPUT_FIELDS if name in named}
    _complete(outputs)
    given = {name: named[name] for name in INPUT_FIELDS if name in named}
    inputs = _labelled(given, outputs)
    rest = {n: v for n, v in named.items() if n not in OUTPUT_FIELDS and n not in INPUT_FIELDS}
    if rule := sorted(set(inputs) - set(given)):
        rest["labelled_by"] = f"{labelling.VERSION}: {', '.join(rule)}"
    return Converted(inputs=inputs, outputs=outputs, metadata=rest)


def _complete(outputs: Document) -> None:
    """Take the final answer out of the solution where the file keeps it there (`#### 18`)."""
    solution = outputs.get("solution")
    if "answer" not in outputs and isinstance(solution, str):
        answer = final_answer(solution)
        if answer is not None:
            outputs["answer"] = answer
            outputs["solution"] = solution.split("####")[0].rstrip()
    for name in ("problem", "answer"):
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
