"""Where a policy asks for what DSPy or the metric cannot do: every conflict, before anything runs.

The facts are DSPy 3.4.1's; tests hold the reserved names and the calls against the library.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from tdsys.core import budget
from tdsys.core.dataset import SMALLEST_SPLIT, holds
from tdsys.core.example import Document
from tdsys.core.policy import PerDimension, Policy, Signature
from tdsys.core.screening import NEEDED

_MEMBERS = """
append append_instructions completions construct copy delete dict dump_state equals fields
from_completions from_orm get get_lm_usage inputs insert instructions items json keys labels
load_state model_computed_fields model_config model_construct model_copy model_dump
model_dump_json model_extra model_fields model_fields_set model_json_schema
model_parametrized_name model_post_init model_rebuild model_validate model_validate_json
model_validate_strings parse_file parse_obj parse_raw prepend schema schema_json set_lm_usage
signature toDict update_forward_refs validate values with_inputs with_instructions
with_updated_fields without
"""
# Of dspy.Example, Prediction and Signature: a field of the name would hide it, or is refused.
RESERVED = frozenset(_MEMBERS.split())
# dspy.Predict takes arguments of these names for itself: the model never sees the value.
TAKEN = frozenset({"config", "demos", "lm", "new_signature"})
# DSPy hides fields that begin like this from prompts.
HIDDEN = "dspy_"


class Conflict(NamedTuple):
    """One thing that cannot work: at which field of the policy, and what would mend it."""

    field: str
    message: str
    remedy: str


class Check(NamedTuple):
    """Finds conflicts of one kind, which depend on the fields it reads and on no other."""

    reads: frozenset[str]
    find: Callable[[Policy], Iterable[Conflict]]


def conflicts(policy: Policy, *, unknown: Collection[str] = ()) -> list[Conflict]:
    """All of them, in the order of the policy's fields; empty when a run can follow it.

    Of fields whose values are `unknown` nothing is said, nor of what depends on them.
    """
    able = [one for one in CHECKS if one.reads.isdisjoint(unknown)]
    return [conflict for one in able for conflict in one.find(policy)]


def unlabelled(signature: Signature, examples: Sequence[Document]) -> list[Conflict]:
    """Fields that no example of a domain holds as the signature wants them.

    No mistake of the document, since examples may come; but as it is no version would.
    """
    sides = (("inputs", signature.inputs), ("outputs", signature.outputs))
    return [
        Conflict(
            f"signature.{side}.{name}",
            f"none of the newest {len(examples)} examples holds it as {kind}; none would fit",
            f"capture it, import it with --map THEIRS={name}, or take it out",
        )
        for side, fields in sides
        for name, kind in fields.items()
        if examples and not any(holds(one[side], name, kind) for one in examples)
    ]


def misnamed(signature: Signature) -> Iterator[Conflict]:
    """Fields that DSPy cannot have by their names, whoever named them."""
    for side, fields in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for name in fields:
            if why := _unfit(name) or _taken(side, name):
                yield Conflict(f"signature.{side}.{name}", why, "give the field another name")


def _in_signature(policy: Policy) -> Iterator[Conflict]:
    if (signature := policy.signature) is None:
        return
    yield from misnamed(signature)
    if not signature.instructions.strip():
        yield Conflict(
            "signature.instructions",
            "nothing is said; DSPy would write `Given the fields ..., produce the fields ...`",
            "say what the program does, or leave the line out",
        )
    for name in NEEDED:
        if signature.outputs.get(name) != "text":
            yield Conflict(
                f"signature.outputs.{name}",
                f"without a text `{name}` the verifier fails every answer: each grade would be 0",
                f"add `{name}: text`",
            )


def _unfit(name: str) -> str:
    """Why DSPy cannot have a field of this name; empty when it can."""
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        return "not a name that Python takes for a field"
    if name.startswith("_"):
        return "pydantic refuses names that begin with _"
    if name.startswith(HIDDEN):
        return f"DSPy hides fields that begin with {HIDDEN} from the model"
    taken = "the name of a member of dspy.Example, dspy.Prediction or dspy.Signature"
    return taken if name in RESERVED else ""


def _taken(side: str, name: str) -> str:
    swallowed = side == "inputs" and name in TAKEN
    return "dspy.Predict takes it for itself, the model would never see it" if swallowed else ""


def _in_cells(policy: Policy) -> Iterator[Conflict]:
    cells, complete = policy.cells, bool(policy.topics and policy.difficulties)
    for number, one in enumerate(cells.exceptions):
        if axis := policy.outside(one.cell):
            yield Conflict(
                f"cells.exceptions.{number}.{axis}",
                f"{getattr(one, axis)} is not among the {axis} labels the domain wants",
                "add it to `topics` or `difficulties`, or take the exception out",
            )
    if not complete:
        if any(one.min for one in (cells, *cells.exceptions)):
            yield Conflict(
                "cells",
                "which cells must hold their minimum is not said",
                "list both topics and difficulties, or set min to 0",
            )
        return
    wanted = policy.wanted_cells()
    least = sum(cells.least(cell) for cell in wanted)
    if least > policy.max_examples:
        yield Conflict(
            "max_examples",
            f"{policy.max_examples} are fewer than the {least} that the minima of "
            f"{len(wanted)} cells come to",
            f"raise it to {least} or lower cells.min",
        )
    most = [cells.most(cell) for cell in wanted]
    together = sum(one for one in most if one is not None)
    if None not in most and together < policy.min_examples:
        yield Conflict(
            "cells",
            f"the maxima of {len(wanted)} cells come to {together}, min_examples is "
            f"{policy.min_examples}: there would never be a version",
            f"raise cells.max, or lower min_examples to {together}",
        )


def _in_comparison(policy: Policy) -> Iterator[Conflict]:
    """A run keeps the best of its trials: of few examples that is the luckiest."""
    held = round(policy.shares.val * policy.min_examples)
    method = "miprov2" if policy.optimizer == "auto" else policy.optimizer
    if method == "gepa":  # it keeps what is best on most single items, and checks few in full
        return
    trials = budget.plan(1, held, policy.auto, method=method).trials
    if SMALLEST_SPLIT <= held < trials:
        yield Conflict(
            "auto",
            f"{policy.auto} compares {trials} programs on the {held} val examples that "
            f"min_examples, {policy.min_examples}, leaves: it would keep the luckiest",
            f"raise min_examples to {math.ceil(trials / policy.shares.val)} or take a smaller auto",
        )


def _in_lifecycle(policy: Policy) -> Iterator[Conflict]:
    most = policy.lifecycle.max_admitted
    if most is None:
        return
    cells = sum(map(policy.cells.least, policy.wanted_cells()))
    least, why = max((policy.min_examples, "min_examples"), (cells, "what the cells' minima need"))
    if most < least:
        yield Conflict(
            "lifecycle.max_admitted",
            f"{most} are fewer than {least}, {why}, below which nothing is retired",
            f"raise it to {least} or more",
        )


def _in_thresholds(policy: Policy) -> Iterator[Conflict]:
    for dimension in PerDimension.model_fields:
        lowest, enough = policy.reject_below.of(dimension), policy.admit_from.of(dimension)
        if lowest > enough:
            yield Conflict(
                f"admit_from.{dimension}",
                f"{enough:g} is below reject_below, {lowest:g}: what is rejected would be admitted",
                f"use {lowest:g} or more",
            )


def _in_shares(policy: Policy) -> Iterator[Conflict]:
    examples, least = policy.min_examples, policy.trigger.min_per_split
    for split, share in policy.shares.model_dump().items():
        if (held := round(share * examples)) < least:
            yield Conflict(
                f"shares.{split}",
                f"of min_examples, {examples}, it is {held}; a split needs {least}",
                f"raise min_examples to {math.ceil(least / share)} or the share",
            )


def _in_calls(policy: Policy) -> Iterator[Conflict]:
    for limit in ("min_examples", "max_examples"):
        examples: int = getattr(policy, limit)
        train, val = (round(s * examples) for s in (policy.shares.train, policy.shares.val))
        calls = budget.planned(policy, train, val).calls_at_most
        if calls > policy.max_calls:
            yield Conflict(
                "max_calls",
                f"{policy.max_calls:,} are fewer than the {calls:,} calls that a run with "
                f"auto: {policy.auto} may take at {limit}, {examples}; it would not be queued",
                f"raise max_calls, lower {limit} or take a smaller auto",
            )
            return
    if policy.max_daily_calls is not None and policy.max_daily_calls < policy.max_calls:
        yield Conflict(
            "max_daily_calls",
            f"{policy.max_daily_calls:,} are fewer than max_calls, {policy.max_calls:,}: "
            "a run that may be queued would wait for ever",
            f"raise it to {policy.max_calls} or lower max_calls",
        )


_SPLITS = frozenset({"min_examples", "shares"})
_CELLS = frozenset({"min_examples", "cells", "topics", "difficulties"})
CHECKS = (
    Check(frozenset({"signature"}), _in_signature),
    Check(_CELLS | {"max_examples"}, _in_cells),
    Check(frozenset({"reject_below", "admit_from"}), _in_thresholds),
    Check(_SPLITS | {"trigger"}, _in_shares),
    Check(_SPLITS | {"optimizer", "auto"}, _in_comparison),
    Check(
        _SPLITS | {"optimizer", "auto", "max_examples", "max_calls", "max_daily_calls"}, _in_calls
    ),
    Check(_CELLS | {"lifecycle"}, _in_lifecycle),
)
