"""The program a domain trains, as DSPy sees it: one `dspy.Predict` on the policy's fields.

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


def problem_program(signature: Signature) -> Any:
    """A `dspy.Predict` with these fields, in order; it carries no model of its own."""
    fields = {name: (TYPES[kind], dspy.InputField()) for name, kind in signature.inputs.items()}
    fields |= {name: (TYPES[kind], dspy.OutputField()) for name, kind in signature.outputs.items()}
    return dspy.Predict(dspy.Signature(fields, signature.instructions))


def restored_program(signature: Signature, state: Mapping[str, JsonValue] | None) -> Any:
    """The program with a stored state, or the unoptimized one for None.

    InvalidInput when the state is of other fields; DSPy itself would load it without a word.
    """
    program = problem_program(signature)
    if state is not None:
        if _fields(state) != _fields(program.dump_state()):
            raise InvalidInput(
                f"the stored program has other fields than {', '.join(program.signature.fields)}",
                remedy="optimize again with the current policy",
            )
        program.load_state({name: part for name, part in state.items() if name != "metadata"})
    return program


def _fields(state: Mapping[str, Any]) -> list[str]:
    return [field["prefix"] for field in state["signature"]["fields"]]


def as_example(item: Item, signature: Signature) -> Any:
    """The item as a `dspy.Example` with its inputs marked."""
    content = {name: item.inputs.get(name) for name in signature.inputs}
    content |= {name: item.outputs.get(name) for name in signature.outputs}
    return dspy.Example(**content, dspy_uid=item.uid).with_inputs(*signature.inputs)


def produced_by(prediction: Any, signature: Signature) -> Document:
    """What a program answered, as plain data."""
    return {name: prediction.get(name) for name in signature.outputs}
