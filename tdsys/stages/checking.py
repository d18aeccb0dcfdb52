"""Try the verifier on examples whose label is known: our own faults, or a file of solutions.

The file is OpenAI's `example_model_solutions.jsonl` of GSM8K or one of its form: on each line an
object with `question` and, for each model, an object with `solution` and `is_correct`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from tdsys.core.example import Document
from tdsys.core.precision import Labelled, Precision, Tally
from tdsys.core.rubric import Verifier
from tdsys.errors import InvalidInput
from tdsys.reference import DOMAINS, Problem, ReferenceGenerator

SEED = 4
FAULT_RATE = 0.5
WRONG = "wrong"
ANSWER_MARKS = ("\nA:", "\n####")
SPOKEN_FORM = '{"question": "...", "MODEL": {"solution": "...", "is_correct": true}}'


class Solved(NamedTuple):
    """One model's solution of one problem."""

    domain: str
    inputs: Document
    outputs: Document
    kind: str | None


def on_reference(
    verifier: Verifier, *, count: int, looked: Callable[[int], None] = lambda _: None
) -> Precision:
    """The record on so many problems of the reference generator, half of them spoilt."""
    stream = ReferenceGenerator(seed=SEED, fault_rate=FAULT_RATE).stream(list(DOMAINS), count)
    return _tried(verifier, map(_generated, stream), looked)


def on_solutions(
    verifier: Verifier, path: Path, *, looked: Callable[[int], None] = lambda _: None
) -> dict[str, Precision]:
    """The record on a file's solutions, for all models and each; InvalidInput for another form."""
    tallies = {"all models": Tally()}
    for number, (model, solved) in enumerate(solutions(path), 1):
        one = _labelled(verifier, solved)
        tallies["all models"].add(one)
        tallies.setdefault(model, Tally()).add(one)
        looked(number)
    return {name: tally.result() for name, tally in tallies.items()}


def solutions(path: Path) -> Iterator[tuple[str, Solved]]:
    """Every solution of a file with the name of its model."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield from _of_line(line, f"{path}, line {number}")
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not UTF-8 text", remedy=f"write {SPOKEN_FORM}") from None


def _of_line(line: str, where: str) -> Iterator[tuple[str, Solved]]:
    try:
        row = json.loads(line)
        question = row["question"]
        told = {m: (one["solution"], one["is_correct"]) for m, one in row.items() if _is_told(one)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        told, question = {}, ""
    if not told or not isinstance(question, str):
        raise InvalidInput(f"{where} holds no labelled solution", remedy=f"write {SPOKEN_FORM}")
    for model, (solution, is_correct) in told.items():
        reasoning, answer = _divided(str(solution))
        outputs: Document = {"problem": question, "solution": reasoning, "answer": answer}
        yield str(model), Solved("", {}, outputs, None if is_correct else WRONG)


def _is_told(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one["is_correct"], bool)


def _divided(solution: str) -> tuple[str, str]:
    """The reasoning, and the answer behind its mark; without a mark there is none."""
    for mark in ANSWER_MARKS:
        reasoning, found, answer = solution.rpartition(mark)
        if found:
            return reasoning, answer.strip()
    return solution, ""


def _generated(problem: Problem) -> Solved:
    inputs, outputs = cast(Document, problem.inputs), cast(Document, problem.outputs)
    return Solved(problem.domain, inputs, outputs, problem.fault and str(problem.fault))


def _tried(
    verifier: Verifier, examples: Iterable[Solved], looked: Callable[[int], None]
) -> Precision:
    tally = Tally()
    for number, one in enumerate(examples, 1):
        tally.add(_labelled(verifier, one))
        looked(number)
    return tally.result()


def _labelled(verifier: Verifier, one: Solved) -> Labelled:
    return Labelled(one.kind, verifier.verify(one.domain, one.inputs, one.outputs))
