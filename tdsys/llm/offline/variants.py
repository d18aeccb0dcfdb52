"""The offline model as a maker of new problems from old ones, and as a solver.

Its rule: new stories come from the reference templates and old ones are only retold, turned around
or recomputed, so what it makes is a simulation and labelled as one. It slips now and then, so that
the checks have something to find.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from tdsys.core.arithmetic import (
    NotArithmetic,
    Step,
    evaluate,
    format_number,
    numbers,
    stated_value,
    steps,
)
from tdsys.core.example import level
from tdsys.llm.offline import problems
from tdsys.llm.offline.problems import Written
from tdsys.llm.offline.prompt import Asked, Demo, Draw
from tdsys.reference import DIFFICULTIES, DOMAINS, ReferenceGenerator

REQUEST, MATERIAL, CALCULATION = "request", "material", "calculation"
RESULT = "answer"
FENCE = re.compile(r"<<<DATA (\w+)\n(.*)\nDATA \1>>>", re.DOTALL)
SLIPS = 0.08
EXCHANGED = 0.7
PLACES = 60
MOST_STEPS = 8
QUESTION = re.compile(r"[^.?!]*\?")
PLAIN = re.compile(r"([\d.]+)\s*([-+*/])\s*([\d.]+)")
SUM = re.compile(
    r"(?:what is|calculate|compute|work out)\s+(\d[\d.]*(?:\s*[-+*/]\s*\d[\d.]*)+)\s*[?.]?\s*\Z",
    re.IGNORECASE,
)
WORDS = (
    ("altogether", "in total"),
    ("in total", "taken together"),
    ("How many", "What number of"),
    ("How much", "What amount of"),
    ("buys", "purchases"),
    ("each", "every one"),
    ("left over", "remaining"),
)
LEADS = ("Picture the following.", "This is what happened.", "Here is a small story.")
PROMPTS = ("Now answer:", "Here is what we want to know:", "The task:")


class Link(NamedTuple):
    """One step of a solution as `left operator right = value`."""

    left: Fraction
    operator: str
    right: Fraction
    value: Fraction


def can_vary(asked: Asked) -> bool:
    """Whether a strategy asks for a problem."""
    return REQUEST in asked.inputs and MATERIAL in asked.inputs and problems.can_write(asked)


def vary(asked: Asked, draw: Draw) -> dict[str, Any]:
    """A new problem by the strategy that the request names."""
    request, material = _data(asked.inputs[REQUEST]), _data(asked.inputs[MATERIAL])
    request = {k: str(v) for k, v in request.items()} if isinstance(request, dict) else {}
    olds = [_written(one) for one in material if isinstance(one, dict)] if material else []
    retold = RETOLD.get(request.get("strategy", ""))
    made = retold(olds[0], draw) if retold and olds else None
    made = made or _fresh(request, olds, asked, draw)
    if CALCULATION in asked.outputs:
        made = made._replace(others=((CALCULATION, _calculation(made)),))
    if draw.unit("slips") < SLIPS:
        made = problems.slipped(made, draw)
    return problems.as_fields(made, asked)


def can_solve(asked: Asked) -> bool:
    """Whether a problem is to be solved and nothing else."""
    return set(asked.inputs) == {"problem"} and set(asked.outputs) == {"solution", "answer"}


def solve(asked: Asked, draw: Draw) -> dict[str, Any]:  # noqa: ARG001  # one shape for all brains
    """It can calculate what is written out; a story it does not understand is unknown to it."""
    data = _data(asked.inputs["problem"])
    told = str(data.get("problem", "")) if isinstance(data, dict) else ""
    if found := SUM.search(told):
        try:
            value = format_number(evaluate(found[1]))
        except NotArithmetic:
            value = "unknown"
        return {"solution": f"{found[1]} = <<{found[1]}={value}>>{value}", "answer": value}
    return {"solution": "The story does not say what to calculate.", "answer": "unknown"}


def _fresh(
    request: Mapping[str, str], olds: Sequence[Written], asked: Asked, draw: Draw
) -> Written:
    """A new story of the requested topic; of an unknown topic, the material with other numbers."""
    topic, wanted = request.get("topic", ""), level(request.get("context", ""))
    difficulty = request.get("difficulty", "")
    domain = next((name for name, topics in DOMAINS.items() if topic in topics), None)
    if domain is None or difficulty not in DIFFICULTIES:
        return problems.told(_like(asked, request, olds), draw)
    first = draw.integer(10**6, 10**9, "story")
    generator = ReferenceGenerator()
    found = generator.generate(domain, topic, difficulty, first)
    for place in range(1, PLACES):
        if not wanted or level(found.inputs["context"]) == wanted:
            break
        found = generator.generate(domain, topic, difficulty, first + place)
    return _written(dict(found.outputs))


def _calculation(made: Written) -> str:
    """Its steps as the lines of a program."""
    lines = [f"step_{n} = {step.expression}" for n, step in enumerate(steps(made.solution), 1)]
    last = f"step_{len(lines)}" if lines else made.answer
    return "\n".join([*lines, f"{RESULT} = {last}"])


def _like(asked: Asked, request: Mapping[str, str], olds: Sequence[Written]) -> Asked:
    """The same request with the material as worked examples."""
    inputs = {k: v for k, v in request.items() if k in {"topic", "difficulty", "context"}}
    demos = tuple(
        Demo(inputs, {"problem": o.problem, "solution": o.solution, "answer": o.answer})
        for o in olds
    )
    return asked._replace(inputs=inputs, demos=demos)


def _rephrased(old: Written, draw: Draw) -> Written:
    """Other words, the question set apart; every number stays."""
    problem = old.problem
    for word, other in WORDS:
        if draw.unit("word", word) < EXCHANGED:
            problem = problem.replace(word, other)
    asked = QUESTION.search(problem)
    question = asked[0].strip() if asked else ""
    rest = " ".join(problem.replace(question, " ").split())
    lead, prompt = draw.pick(LEADS, "lead"), draw.pick(PROMPTS, "prompt")
    return old._replace(problem=f"{lead} {rest} {prompt} {question}".strip())


def _solved_anew(old: Written, draw: Draw) -> Written:
    lead = draw.pick(("Take it slowly.", "Write down what is given first.", "One step at a time."))
    tail = "Going back from the result leads to the given numbers again."
    return old._replace(solution=f"{lead} {old.solution} {tail}")


def _turned_around(old: Written, draw: Draw) -> Written | None:
    """One number is x, the answer is known: every step undone, from the last to the first."""
    return _inverted(old, draw, "x", "If the answer to this is {answer}, what is x?")


def _hidden(old: Written, draw: Draw) -> Written | None:
    """The same, told as a fact with a condition that nobody remembers."""
    told = "The result was {answer}. Which number is the one that nobody remembers?"
    return _inverted(old, draw, "(some number)", told)


def _inverted(old: Written, draw: Draw, sign: str, asks: str) -> Written | None:
    links = [_link(step) for step in steps(old.solution)]
    chain = [link for link in links if link is not None]
    if not chain or len(chain) != len(links) or len(chain) > MOST_STEPS:
        return None
    fit = [number for number in numbers(old.problem) if _path(number.value, old, chain)]
    if not fit:
        return None
    hidden = draw.pick(fit, "hidden")
    path = _path(hidden.value, old, chain)
    lines = [_line(link) for place, link in enumerate(chain) if place not in path]
    known, solution = chain[-1].value, [f"We know {line}." for line in lines]
    for place in reversed(path):
        link = chain[place]
        is_left = link.left == (hidden.value if place == path[0] else _before(chain, path, place))
        undone = _undo(link, known, is_left=is_left)
        if undone is None:
            return None
        solution.append(f"Going back, {_line(undone)}.")
        known = undone.value
    start, end = hidden.span
    problem = f"{old.problem[:start]}{sign}{old.problem[end:]}"
    answer = format_number(chain[-1].value)
    return Written(
        problem=f"{problem} {asks.format(answer=answer)}",
        solution=" ".join(solution),
        answer=format_number(hidden.value),
        hints=("Start from what is known in the end.", "Undo the last calculation first."),
    )


def _path(value: Fraction, old: Written, chain: Sequence[Link]) -> list[int]:
    """The steps from a number to the result, each needing the one before; empty: not unique."""
    if sum(number.value == value for number in numbers(old.problem)) != 1:
        return []
    path: list[int] = []
    wanted = value
    while True:
        start = path[-1] + 1 if path else 0
        users = [
            place
            for place, link in enumerate(chain)
            if place >= start and wanted in {link.left, link.right}
        ]
        if len(users) != 1 or chain[users[0]].left == chain[users[0]].right:
            return []
        path.append(users[0])
        wanted = chain[users[0]].value
        if users[0] == len(chain) - 1:
            return path


def _before(chain: Sequence[Link], path: Sequence[int], place: int) -> Fraction:
    return chain[path[path.index(place) - 1]].value


def _undo(link: Link, known: Fraction, *, is_left: bool) -> Link | None:
    """The calculation that gives one side of a step from its result and the other side."""
    other = link.right if is_left else link.left
    inverse: dict[str, tuple[Fraction, str, Fraction]] = {
        "+": (known, "-", other),
        "*": (known, "/", other),
        "-": (known, "+", other) if is_left else (other, "-", known),
        "/": (known, "*", other) if is_left else (other, "/", known),
    }
    left, operator, right = inverse[link.operator]
    try:
        value = evaluate(f"{_literal(left)}{operator}{_literal(right)}")
    except NotArithmetic:
        return None
    return Link(left, operator, right, value)


def _line(link: Link) -> str:
    sum_ = f"{_literal(link.left)}{link.operator}{_literal(link.right)}"
    value = format_number(link.value)
    return f"{sum_}=<<{sum_}={value}>>{value}"


def _literal(value: Fraction) -> str:
    text = format_number(value)
    return f"({text})" if "/" in text else text


def _link(step: Step) -> Link | None:
    found, value = PLAIN.fullmatch(step.expression.strip()), stated_value(step)
    if found is None or value is None:
        return None
    return Link(Fraction(found[1]), found[2], Fraction(found[3]), value)


def _written(content: Mapping[str, Any]) -> Written:
    hints = content.get("hints")
    return Written(
        problem=str(content.get("problem") or ""),
        solution=str(content.get("solution") or ""),
        answer=str(content.get("answer") or ""),
        hints=tuple(map(str, hints)) if isinstance(hints, list) else (),
    )


def _data(text: str) -> Any:
    found = FENCE.search(text)
    try:
        return json.loads(found[2]) if found else None
    except ValueError:
        return None


RETOLD: Mapping[str, Callable[[Written, Draw], Written | None]] = {
    "rephrase": _rephrased,
    "answer-augmentation": _solved_anew,
    "backward": _turned_around,
    "self-verification": _hidden,
}
