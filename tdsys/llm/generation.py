"""The program a domain trains, as DSPy sees it: one `dspy.Predict` unless another is installed.

Its rule: only fields of the signature ever reach DSPy; the example's id travels as `dspy_uid`,
which DSPy hides from prompts, proposers and equality.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
from pydantic import JsonValue

from tdsys.core.example import Document
from tdsys.core.policy import FieldType, Signature
from tdsys.core.program import Item
from tdsys.errors import InvalidInput

TYPES: dict[FieldType, type] = {"text": str, "list": list[str]}


def signature_of(signature: Signature) -> Any:
    """The policy's fields as a `dspy.Signature`, in order."""
    fields = {name: (TYPES[kind], dspy.InputField()) for name, kind in signature.inputs.items()}
    fields |= {name: (TYPES[kind], dspy.OutputField()) for name, kind in signature.outputs.items()}
    return dspy.Signature(fields, signature.instructions)


def problem_program(signature: Signature) -> Any:
    """A `dspy.Predict` with these fields, in order; it carries no model of its own."""
    return dspy.Predict(signature_of(signature))


def restored(program: Any, state: Mapping[str, JsonValue] | None) -> Any:
    """The program with a stored state put in, or as it is for None.

    InvalidInput when the state is of other fields; DSPy itself would load it without a word.
    """
    if state is not None:
        theirs, ours = _fields(state), _fields(program.dump_state())
        if theirs != ours:
            raise InvalidInput(
                "the stored program has other fields: "
                f"{_listed(theirs)} instead of {_listed(ours)}",
                remedy="optimize again with the current policy",
            )
        program.load_state({name: part for name, part in state.items() if name != "metadata"})
    return program


def _fields(state: Mapping[str, Any]) -> dict[str, list[str]]:
    """The fields of each predictor; a program that is one has its state on the top level."""
    if isinstance(state.get("signature"), dict):
        return {"self": [field["prefix"] for field in state["signature"]["fields"]]}
    return {
        name: [field["prefix"] for field in part["signature"]["fields"]]
        for name, part in state.items()
        if isinstance(part, dict) and isinstance(part.get("signature"), dict)
    }


def _listed(fields: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{name}({', '.join(names)})" for name, names in fields.items())


def as_example(item: Item, signature: Signature) -> Any:
    """The item as a `dspy.Example` with its inputs marked."""
    content = {name: item.inputs.get(name) for name in signature.inputs}
    content |= {name: item.outputs.get(name) for name in signature.outputs}
    return dspy.Example(**content, dspy_uid=item.uid).with_inputs(*signature.inputs)


def produced_by(prediction: Any, signature: Signature) -> Document:
    """What a program answered, as plain data."""
    return {name: prediction.get(name) for name in signature.outputs}
