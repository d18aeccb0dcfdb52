"""What an optimizer would silently score 0.0 or crash on late, found before a single call is paid.

Its rule: every finding says where it is and what to do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec

from pydantic import JsonValue

from tdsys.core.compatibility import misnamed
from tdsys.core.example import Document, canonical
from tdsys.core.policy import FieldType, Signature
from tdsys.core.program import Grade, Grader, Item
from tdsys.errors import ConfigurationError

SAMPLE = 12
SHOWN = 10


def require_optuna(*, load: bool = True) -> None:
    """MIPROv2 notices its absence only after bootstrap and proposals are paid for.

    Without `load` it is only looked for, which costs nothing.
    """
    try:
        found = find_spec("optuna") is not None
        if found and load:
            import_module("optuna")
    except ImportError:
        found = False
    if not found:
        raise ConfigurationError(
            "MIPROv2 needs optuna, which is not installed", remedy="pip install 'dspy[optuna]'"
        )


def blockers(
    signature: Signature, train: Sequence[Item], val: Sequence[Item], grader: Grader
) -> list[str]:
    """Everything that stands in the way, at most ten findings; empty when ready."""
    if not train or not val:
        sizes = f"{len(train)} train and {len(val)} val examples"
        return [f"{sizes}: each split needs at least one; admit more examples"]
    found = [
        *_unnameable(signature),
        *_incomplete("train", train, signature),
        *_incomplete("val", val, signature),
        *_repeated([*train, *val]),
        *_leaks(train, val, signature),
    ]
    return (found or list(_ungradable([*train, *val], signature, grader)))[:SHOWN]


def _unnameable(signature: Signature) -> Iterator[str]:
    """Fields read off the examples may have names that no policy would be allowed."""
    for one in misnamed(signature):
        yield (
            f"{one.field}: {one.message}: {one.remedy}, in the policy's signature or by "
            "conversion.rename"
        )


def _incomplete(split: str, items: Sequence[Item], signature: Signature) -> Iterator[str]:
    for index, item in enumerate(items):
        for kind, held, fields in (
            ("input", item.inputs, signature.inputs),
            ("output", item.outputs, signature.outputs),
        ):
            yield from (
                f"{split}[{index}] ({item.uid}): {kind} {name!r} {problem}"
                for name, problem in _misfits(held, fields)
            )


def _misfits(held: Document, fields: Mapping[str, FieldType]) -> Iterator[tuple[str, str]]:
    for name, kind in fields.items():
        value = held.get(name)
        if value is None or value in ("", []):
            yield name, "is missing; DSPy would drop it as a demo: complete or retire the example"
        elif kind == "text" and not isinstance(value, str):
            yield name, f"is a {type(value).__name__}, not text: convert it or change the policy"
        elif kind == "list" and not _is_texts(value):
            yield name, "is not a list of texts: convert it or change the policy"


def _is_texts(value: JsonValue) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _repeated(items: Sequence[Item]) -> Iterator[str]:
    for uid, times in Counter(item.uid for item in items).items():
        if times > 1:
            yield f"example {uid} is used {times} times; splits must not share examples"


def _leaks(train: Sequence[Item], val: Sequence[Item], signature: Signature) -> Iterator[str]:
    known = {_content(item, signature): item.uid for item in train}
    for item in val:
        if twin := known.get(_content(item, signature)):
            yield f"val example {item.uid} has the content of train example {twin}: retire one"


def _content(item: Item, signature: Signature) -> bytes:
    return canonical(
        [
            [item.inputs.get(name) for name in signature.inputs],
            [item.outputs.get(name) for name in signature.outputs],
        ]
    )


def _ungradable(items: Sequence[Item], signature: Signature, grader: Grader) -> Iterator[str]:
    """Try the metric without the model: on every example's own outputs, on some empty ones.

    Compared part by part, because a metric that asks for something new gives a copy 0 as well.
    """
    blank: Document = {
        name: "" if kind == "text" else [] for name, kind in signature.outputs.items()
    }
    told_apart = False
    metric: Callable[[Item, Document], object] = grader  # whoever wrote it may give anything
    for number, item in enumerate(items):
        try:
            own = metric(item, item.outputs)
        except Exception as error:  # noqa: BLE001  # DSPy would turn any of them into a score of 0
            yield (
                f"the metric fails on example {item.uid} with {type(error).__name__}: {error}; "
                "DSPy would count that as 0.0: mend the metric"
            )
            return
        if not isinstance(own, Grade):
            yield (
                f"the metric gives a {type(own).__name__} on example {item.uid}, not a grade; "
                "DSPy would count that as 0.0: mend the metric"
            )
            return
        if not (math.isfinite(own.value) and 0 <= own.value <= 1):
            yield (
                f"the metric gives {own.value} on example {item.uid}; "
                "it must stay in [0, 1]: mend the metric"
            )
            return
        if number < SAMPLE and not told_apart:
            empty = _graded(grader, item, blank)
            told_apart = empty is None or _differ(own, empty)
    if not told_apart:
        yield (
            "flat metric: an empty answer scores like a real one on all "
            f"{len(items[:SAMPLE])} examples tried; nothing could be learned"
        )


def _graded(grader: Grader, item: Item, blank: Document) -> Grade | None:
    """The grade of an empty answer; None where the metric refuses to grade it."""
    try:
        return grader(item, blank)
    except Exception:  # noqa: BLE001  # an error of an answer that should not come
        return None


def _differ(one: Grade, other: Grade) -> bool:
    return (one.value, one.parts) != (other.value, other.parts)
