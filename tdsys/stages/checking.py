"""Try the verifier on examples whose label is known: our own faults, or a file of solutions.

The file is OpenAI's `example_model_solutions.jsonl` of GSM8K or one of its form: on each line an
object with `question` and, for each model, an object with `solution` and `is_correct`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple, cast

from tdsys.core.answers import compare
from tdsys.core.corroboration import Calibrated, Stated, calibrate
from tdsys.core.example import Document
from tdsys.core.precision import Labelled, Precision, Tally
from tdsys.core.resolving import MOST_SOLUTIONS, SOLUTIONS, Compare, agreed, is_split, passes
from tdsys.core.rubric import Verifier
from tdsys.core.screening import text_of
from tdsys.errors import InvalidInput
from tdsys.reference import DOMAINS, Problem, ReferenceGenerator

SEED = 4
FAULT_RATE = 0.5
FEWEST_QUESTIONS = 20
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


def on_agreement(verifier: Verifier, path: Path) -> Calibrated | None:
    """What a file's solutions of one question say of each other, and what that is worth.

    Each solution is the stated answer once, in every order in which the other models' could be
    asked; what a check refutes is left out, for nobody would solve it again. None where there are
    not enough solutions of enough questions.
    """
    by_question: dict[str, list[tuple[str, Solved]]] = {}
    for model, one in solutions(path):
        by_question.setdefault(str(one.outputs["problem"]), []).append((model, one))
    same = lru_cache(1 << 16)(compare)
    stated = [
        found
        for number, held in enumerate(by_question.values())
        for found in _stated(verifier, number, held, same)
    ]
    both = {one.right for one in stated}
    enough = len({one.question for one in stated}) >= FEWEST_QUESTIONS and len(both) > 1
    return calibrate(stated, passing=passes) if enough else None


def _stated(
    verifier: Verifier, number: int, held: Sequence[tuple[str, Solved]], same: Compare
) -> Iterator[Stated]:
    answers = [text_of(one.outputs["answer"]).strip() or None for _, one in held]
    for place, (model, one) in enumerate(held):
        answer = answers[place]
        solvers = answers[:place] + answers[place + 1 :]
        if answer is None or len(solvers) < SOLUTIONS or _labelled(verifier, one).verdict.failed():
            continue
        orders = list(permutations(solvers, min(len(solvers), MOST_SOLUTIONS)))
        for order in orders:
            asked = list(order[:SOLUTIONS])
            if is_split(answer, asked, same):
                asked = list(order)
            said = agreed(answer, asked, same)
            yield Stated(number, model, said, one.kind is None, 1 / len(orders))


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
