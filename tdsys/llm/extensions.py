"""What a customer installs beside tdsys: programs and metrics, found as entry points.

Its rule: an extension is a stranger. What it is must be clear before a call is paid for; what it
raises or returns later is an error of one item, and nothing it does becomes a score by accident.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import dspy

from tdsys.core.policy import Signature
from tdsys.core.program import Grade, Item
from tdsys.errors import InvalidInput
from tdsys.llm.generation import problem_program, signature_of

PROGRAMS, METRICS = "tdsys.programs", "tdsys.metrics"
FEEDBACK_SHOWN = 2000


class Ungradable(ValueError):
    """A metric gave something that is no score; the item has none."""


class InstalledMetric:
    """A customer's metric as a Grader: `metric(example, prediction, trace=None)`, as DSPy has it.

    It may give a number in [0, 1], a bool, or a mapping or `dspy.Prediction` of `score` and
    `feedback`; the feedback is what GEPA learns from.
    """

    def __init__(self, name: str, metric: Any) -> None:
        self.name = name
        self._metric = metric

    def __call__(self, item: Item, produced: Mapping[str, Any]) -> Grade:
        """The grade; whatever the metric raises, or Ungradable for what is no score."""
        example = dspy.Example(**item.inputs, **item.outputs, dspy_uid=item.uid)
        told = self._metric(example.with_inputs(*item.inputs), dspy.Prediction(**produced), None)
        score, feedback = _parts(told)
        return Grade(value=_number(score), parts={}, feedback=feedback)


def metric(name: str) -> InstalledMetric:
    """The installed metric of that name; InvalidInput when there is none that could be one."""
    loaded = _loaded(METRICS, name)
    found = loaded() if inspect.isclass(loaded) else loaded
    if not callable(found) or not _takes(found, ("example", "prediction", "trace")):
        raise InvalidInput(
            f"{METRICS} {name!r} cannot be called as metric(example, prediction, trace)",
            remedy="define `def metric(example, prediction, trace=None)`; it returns a number",
        )
    return InstalledMetric(name, found)


def program(name: str | None, signature: Signature) -> Any:
    """A new program of that name, the built-in one for None; InvalidInput when it is none.

    The entry point is a `dspy.Module`, or is called to make one: with the policy's `signature`
    when it takes an argument of that name, else without any.
    """
    if name is None:
        return problem_program(signature)
    made = _made(name, _loaded(PROGRAMS, name), signature)
    if not isinstance(made, dspy.Module):
        raise InvalidInput(
            f"{PROGRAMS} {name!r} is a {type(made).__name__}, not a dspy.Module",
            remedy="register a subclass of dspy.Module, or a function that returns one",
        )
    if not made.predictors():
        raise InvalidInput(
            f"{PROGRAMS} {name!r} has no predictor: there is nothing to optimize",
            remedy="keep each dspy.Predict as an attribute of the module",
        )
    forward = object.__getattribute__(made, "forward")  # DSPy warns of any other look at it
    if not isinstance(made, dspy.Predict) and not _takes_named(forward, signature.inputs):
        raise InvalidInput(
            f"{PROGRAMS} {name!r}: forward{inspect.signature(forward)} does not take "
            f"{', '.join(signature.inputs)}",
            remedy="give forward the inputs of the policy's signature by name",
        )
    return made


def installed(group: str) -> list[str]:
    """The names there are."""
    return sorted({point.name for point in entry_points(group=group)})


class Extension(NamedTuple):
    """An installed program or metric, and what keeps it from being used; empty: nothing."""

    kind: str
    name: str
    why_not: str


def survey(signature: Signature | None) -> list[Extension]:
    """Everything installed, tried without a call; programs on these fields, or on the usual."""
    fields = signature or Signature()
    found = [
        Extension("program", name, _obstacle(partial(program, name, fields)))
        for name in installed(PROGRAMS)
    ]
    return found + [
        Extension("metric", name, _obstacle(partial(metric, name))) for name in installed(METRICS)
    ]


def _obstacle(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except InvalidInput as refused:
        return str(refused)
    return ""


def _made(name: str, loaded: Any, signature: Signature) -> Any:
    try:
        if isinstance(loaded, dspy.Module):
            return loaded.deepcopy()
        if not callable(loaded):
            return loaded
        wants = "signature" in inspect.signature(loaded).parameters
        return loaded(signature=signature_of(signature)) if wants else loaded()
    except Exception as broken:
        raise _broken(PROGRAMS, name, broken) from broken


def _loaded(group: str, name: str) -> Any:
    found = list(entry_points(group=group, name=name))
    if not found:
        known = ", ".join(installed(group))
        raise InvalidInput(
            f"{group} has no {name!r}",
            remedy=f"use one of: {known}" if known else f"install one as an entry point of {group}",
        )
    try:
        return found[0].load()
    except Exception as broken:
        raise _broken(group, name, broken) from broken


def _broken(group: str, name: str, broken: Exception) -> InvalidInput:
    return InvalidInput(
        f"{group} {name!r} cannot be loaded: {type(broken).__name__}: {broken}",
        remedy="it must be importable where the optimization worker runs",
    )


def _takes(called: Any, names: tuple[str, ...]) -> bool:
    try:
        inspect.signature(called).bind(*names)
    except (TypeError, ValueError):
        return False
    return True


def _takes_named(called: Any, names: Mapping[str, object]) -> bool:
    try:
        inspect.signature(called).bind(**dict.fromkeys(names))
    except TypeError:
        return False
    return True


def _parts(told: Any) -> tuple[Any, str]:
    if isinstance(told, Mapping | dspy.Prediction):
        return told.get("score"), str(told.get("feedback") or "")[:FEEDBACK_SHOWN]
    return told, ""


def _number(score: Any) -> float:
    """The score as a number in [0, 1]; Ungradable for None, text, NaN and what lies outside."""
    if score is None or isinstance(score, str | bytes):
        raise Ungradable(f"the metric gave {score!r}, not a number")
    try:
        value = float(score)
    except (TypeError, ValueError) as bad:
        raise Ungradable(f"the metric gave a {type(score).__name__}, not a number") from bad
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise Ungradable(f"the metric gave {value}; it must stay in [0, 1]")
    return value
