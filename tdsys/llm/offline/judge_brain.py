"""The offline model as a judge: answers the criteria of the rubric, in the rubric's order.

Its rule: the candidate is data. Whatever it says about scores or instructions is only more text,
and text that addresses the judge costs a criterion.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from tdsys.core.arithmetic import (
    NotArithmetic,
    Step,
    StepOutcome,
    check_steps,
    evaluate,
    numbers,
    stated_value,
)
from tdsys.core.example import level
from tdsys.llm.offline import lexicon
from tdsys.llm.offline.prompt import Asked, Draw

OUTPUT = "assessment"
FENCE = re.compile(r"<<<DATA (\w+)\n(.*)\nDATA \1>>>", re.DOTALL)
ASKING = re.compile(
    r"\?|\b(?:find|calculate|compute|determine|work out|solve|show|how|what)\b", re.IGNORECASE
)
ADDRESSING = re.compile(
    r"\b(?:ignore|disregard|override|forget)\b.{0,40}\b(?:instruction|rule|rubric)"
    r"|\b(?:scores?|rat(?:e|ing)s?|grades?)\b.{0,40}\b(?:full|maximum|highest|perfect|dimension)"
    r"|\b(?:the|this) example\b.{0,30}\b(?:perfect|correct|verified|approved)"
    r"|\bas an ai\b|\bsystem(?: prompt\b|\s*:)|\bevery dimension\b"
    r"|\[\s*\[\s*#|\"(?:scores|counts|answers)\"|>>>",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W\d_]{3,}")
ENDING = re.compile(r"[.?!…:)\]»”\"']\s*$")
STEPS_OF = {"easy": (1, 3), "medium": (2, 5), "hard": (3, 12)}
SAID = {True: "yes", False: "no", None: "unsure"}
WORDS_PER_STEP = 3
WORDS_OF_A_HINT = 12
MARKS = re.compile(r"<<[^<>]*>>")
# What a solution may use although the problem does not say it.
KNOWN = frozenset(
    Fraction(n) for n in (1, 2, 3, 4, 5, 7, 10, 12, 24, 30, 52, 60, 90, 100, 180, 360, 365, 1000)
)


class Seen(NamedTuple):
    """The example as the judge reads it."""

    request: dict[str, str]
    problem: str
    solution: str
    answer: str
    hints: tuple[str, ...]
    steps: tuple[Step, ...]
    outcomes: dict[str, str]
    is_talking: bool


def judge(asked: Asked, draw: Draw) -> dict[str, Any]:  # noqa: ARG001  # one shape for all brains
    """Answers and rationales for the example in the prompt."""
    seen = _read(asked.inputs)
    criteria: dict[str, Mapping[str, bool | None]] = {
        "accuracy": _accuracy(seen),
        "coherence": _coherence(seen),
        "relevance": _relevance(seen),
        "educational_value": _educational_value(seen),
    }
    return {
        OUTPUT: {
            "answers": {
                name: [SAID[holds] for holds in held.values()] for name, held in criteria.items()
            },
            "rationales": {name: _rationale(held) for name, held in criteria.items()},
        }
    }


def _read(inputs: Mapping[str, str]) -> Seen:
    """The example without the lines that address the judge: those are not mathematics."""
    request, example = _object(inputs.get("request", "")), _object(inputs.get("example", ""))
    hints = example.get("hints")
    texts = {
        "problem": _text(example, "problem", "question"),
        "solution": _text(example, "solution", "explanation", "answer"),
        "answer": _text(example, "answer", "final_answer"),
        "hints": "\n".join(map(str, hints)) if isinstance(hints, list) else "",
    }
    plain = {name: _without_talk(text) for name, text in texts.items()}
    return Seen(
        request={str(k): v for k, v in request.items() if isinstance(v, str)},
        problem=plain["problem"],
        solution=plain["solution"],
        answer=plain["answer"],
        hints=tuple(plain["hints"].splitlines()),
        steps=tuple(check.step for check in check_steps(plain["solution"])),
        outcomes={
            str(c["check"]): str(c["outcome"]) for c in _data(inputs.get("evidence", "")) or []
        },
        is_talking=plain != texts,
    )


def _without_talk(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(line for line in lines if not ADDRESSING.search(line))


def _accuracy(seen: Seen) -> dict[str, bool | None]:
    checked = [check.outcome for check in check_steps(seen.solution)]
    return {
        "no check failed": "failed" not in seen.outcomes.values(),
        "the steps are right": StepOutcome.WRONG not in checked if checked else None,
        "the answer is the last step's result": _ends_in_answer(seen),
        "the question is answered": bool(seen.answer.strip()),
        "the quantities make sense": bool(numbers(seen.problem)),
    }


def _ends_in_answer(seen: Seen) -> bool | None:
    if seen.outcomes.get("answer") == "passed":
        return True
    last = stated_value(seen.steps[-1]) if seen.steps else None
    return None if last is None else last in _values(seen.answer)


def _values(text: str) -> set[Fraction]:
    found = {number.value for number in numbers(text)}
    try:
        return found | {evaluate(text)}
    except NotArithmetic:
        return found


def _coherence(seen: Seen) -> dict[str, bool]:
    given = _values(seen.problem)
    used = {n.value for step in seen.steps for n in numbers(step.expression)}
    return {
        "it asks for something": bool(ASKING.search(seen.problem)),
        "the given numbers are used": not used or bool(used & given),
        "no number comes from nowhere": len(used - given - _results(seen) - KNOWN) <= 1,
        "nothing is cut off": bool(ENDING.search(seen.problem)) and bool(seen.solution.strip()),
        "nothing is out of place": not seen.is_talking,
    }


def _results(seen: Seen) -> set[Fraction]:
    return {value for step in seen.steps if (value := stated_value(step)) is not None}


def _relevance(seen: Seen) -> dict[str, bool]:
    topic = seen.request.get("topic", "")
    fit = lexicon.judge(topic, seen.problem) if topic else lexicon.Fit.UNCLEAR
    differs = fit is lexicon.Fit.DIFFERS
    return {
        "the topic's mathematics is called for": not differs,
        "no other topic is the subject": not differs,
        "it would be filed there": fit is lexicon.Fit.FITS or not topic,
        "the difficulty suits": not differs and _suits(seen),
        "the context is the requested one": _in_context(seen),
    }


def _suits(seen: Seen) -> bool:
    wanted = STEPS_OF.get(level(seen.request.get("difficulty", "")))
    count = len(seen.steps)
    return wanted is None or count == 0 or wanted[0] <= count <= wanted[1]


def _in_context(seen: Seen) -> bool:
    asked = {
        word
        for name, value in seen.request.items()
        if name not in {"topic", "difficulty", "domain"}
        for word in WORD.findall(value.casefold())
    }
    return not asked or bool(asked & set(WORD.findall(seen.problem.casefold())))


def _educational_value(seen: Seen) -> dict[str, bool]:
    words = WORD.findall(MARKS.sub("", seen.solution))
    answer = _values(seen.answer)
    return {
        "there are worked steps": bool(seen.steps),
        "the steps are explained": len(words) >= WORDS_PER_STEP * max(1, len(seen.steps)),
        "there is a hint": bool(seen.hints) or len(words) >= WORDS_OF_A_HINT,
        "no hint gives the answer away": not any(_values(hint) & answer for hint in seen.hints),
        "it takes more than one calculation": len(seen.steps) > 1,
    }


def _rationale(held: Mapping[str, bool | None]) -> str:
    missing = [name for name, holds in held.items() if holds is False]
    open_ = [name for name, holds in held.items() if holds is None]
    told = [f"Does not hold: {'; '.join(missing)}."] if missing else []
    told += [f"Cannot be told: {'; '.join(open_)}."] if open_ else []
    return " ".join(told) or "All five criteria hold."


def _data(text: str) -> Any:
    found = FENCE.search(text)
    try:
        return json.loads(found[2]) if found else None
    except ValueError:
        return None


def _object(text: str) -> dict[str, Any]:
    data = _data(text)
    return data if isinstance(data, dict) else {}


def _text(example: Mapping[str, Any], *names: str) -> str:
    return next((v for name in names if isinstance(v := example.get(name), str)), "")
