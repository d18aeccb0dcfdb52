"""Make an example's fields those of the program: rename, write out, complete; say what misfits.

One rule: nothing is guessed. What is changed is what the policy's `conversion` says; what is only
likely is told as a way to mend it, with the command that does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple, cast

from pydantic import JsonValue

from tdsys.core.dataset import Admitted, kind_of
from tdsys.core.example import Document, Source
from tdsys.core.policy import FieldType, Signature
from tdsys.core.sections import Conversion

ALIKE = 0.6
SHOWN = 80


class Recovery(NamedTuple):
    """One way to mend it; `changes` are those of the policy's `conversion`, if that is the way."""

    option: str
    says: str
    changes: Conversion | None = None


class Misfit(NamedTuple):
    """Why one field of one example is not what the program wants, and the ways to mend it."""

    example_id: int
    field: str
    code: str
    reason: str
    recovery: tuple[Recovery, ...]


def renamed(example: Admitted, rules: Conversion) -> Admitted:
    """The example with fields under the program's names, where nothing is under them yet."""
    return _with(example, *(_moved(held, rules) for held in (example.inputs, example.outputs)))


def fitted(example: Admitted, signature: Signature, rules: Conversion) -> Admitted:
    """The example with what is written out and completed by the rules."""
    sides = ((example.inputs, signature.inputs), (example.outputs, signature.outputs))
    return _with(example, *(_completed(held, fields, rules) for held, fields in sides))


def misfits(example: Admitted, signature: Signature) -> list[Misfit]:
    """Every field of the signature this example cannot fill; empty when it fits."""
    sides = (
        ("inputs", signature.inputs, example.inputs),
        ("outputs", signature.outputs, example.outputs),
    )
    return [
        _misfit(example, f"{side}.{name}", kind, held, frozenset(fields))
        for side, fields, held in sides
        for name, kind in fields.items()
        if kind_of(held.get(name)) != kind
    ]


def together(found: Sequence[Misfit], rules: Conversion) -> Conversion:
    """The rules with the likely changes for all of these: of two for one field the commoner.

    A default is never among them: only a person knows what a missing field should say.
    """
    wanted = Counter(
        one.changes.model_dump_json()
        for misfit in found
        for one in misfit.recovery
        if one.changes and not one.changes.defaults
    )
    rename, write_out = dict(rules.rename), rules.write_out
    for document, _ in reversed(wanted.most_common()):
        change = Conversion.model_validate_json(document)
        rename |= {
            theirs: ours for theirs, ours in change.rename.items() if ours not in rename.values()
        }
        write_out = write_out or change.write_out
    return Conversion(rename=rename, defaults=rules.defaults, write_out=write_out)


def _with(example: Admitted, inputs: Document, outputs: Document) -> Admitted:
    if (inputs, outputs) == (example.inputs, example.outputs):
        return example
    return example.model_copy(update={"inputs": inputs, "outputs": outputs, "converted": True})


def _moved(held: Document, rules: Conversion) -> Document:
    moves = {
        theirs: ours
        for theirs, ours in rules.rename.items()
        if theirs in held and kind_of(held.get(ours)) is None
    }
    if not moves:
        return held
    taken = set(moves.values())
    return {moves.get(n, n): value for n, value in held.items() if n in moves or n not in taken}


def _completed(held: Document, fields: Mapping[str, FieldType], rules: Conversion) -> Document:
    changed: Document = {}
    for name, kind in fields.items():
        value = held.get(name)
        if kind_of(value) == kind:
            continue
        if rules.write_out and (written := _written_out(value, kind)) is not None:
            changed[name] = written
        elif name in rules.defaults and kind_of(value) is None:
            changed[name] = cast("JsonValue", rules.defaults[name])
    return {**held, **changed} if changed else held


def _written_out(value: JsonValue, kind: FieldType) -> JsonValue:
    """A number as text, and one text as a list of one; None for what is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if kind_of(value) == "text":
        return value if kind == "text" else [value]
    return None


def _misfit(
    example: Admitted, field: str, kind: FieldType, held: Document, others: frozenset[str]
) -> Misfit:
    side, name = field.split(".", 1)
    value = held.get(name)
    found = {name: other for name, other in held.items() if name not in others}
    if value is None:
        code, reason = "missing", f"no {field}; it should be {_called(kind)}"
    elif value in ("", []) or (isinstance(value, str) and not value.strip()):
        code, reason = "empty", f"{field} is empty; it should be {_called(kind)}"
    else:
        code = "wrong_type"
        reason = f"{field} is {_called_as_it_is(value)}; it should be {_called(kind)}"
    ways = [
        *_renames(name, kind, found),
        *_writings(value, kind),
        *_defaults(side, name, kind, code),
        *_imports(example, name),
        Recovery("drop", f"retire example {example.id}"),
        Recovery("signature", f"take {name} out of the policy's signature"),
    ]
    return Misfit(example.id, field, code, reason, tuple(ways))


def _renames(name: str, kind: FieldType, found: Document) -> list[Recovery]:
    """Fields that nothing asks for and that could be it, the most alike first."""
    able = [n for n, value in found.items() if kind_of(value) == kind]
    near = get_close_matches(name, able, n=3, cutoff=ALIKE) or (able if len(able) == 1 else [])
    return [
        Recovery("rename", f"take {theirs!r} for {name}", Conversion(rename={theirs: name}))
        for theirs in near
    ]


def _writings(value: JsonValue, kind: FieldType) -> list[Recovery]:
    if _written_out(value, kind) is None:
        return []
    says = "write it out as text" if kind == "text" else "take the text as a list of one"
    return [Recovery("write_out", says, Conversion(write_out=True))]


def _defaults(side: str, name: str, kind: FieldType, code: str) -> list[Recovery]:
    """An input may have an ordinary value; an output that nobody wrote must not be made up."""
    if side != "inputs" or code == "wrong_type":
        return []
    value: str | list[str] = "any" if kind == "text" else ["any"]
    says = f"let {name} be {value!r}, or whatever is usual, where it lacks"
    return [Recovery("default", says, Conversion(defaults={name: value}))]


def _imports(example: Admitted, name: str) -> list[Recovery]:
    if example.source is not Source.IMPORTED:
        return []
    return [Recovery("import", f"import its file again with --map THEIRS={name}")]


def _called(kind: FieldType) -> str:
    return "text" if kind == "text" else "a list of texts"


def _called_as_it_is(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "text" if isinstance(value, str) else f"the number {str(value)[:SHOWN]}"
