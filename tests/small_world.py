"""A tiny problem source and metric for the tests of the model layer: six topics, three lengths."""

from __future__ import annotations

import json
import random
from statistics import fmean

from tdsys.core.arithmetic import (
    NotArithmetic,
    StepOutcome,
    check_steps,
    evaluate,
    stated_value,
    steps,
)
from tdsys.core.example import Document, level
from tdsys.core.policy import Signature
from tdsys.core.program import Grade, Item

SIGNATURE = Signature(
    inputs={"topic": "text", "difficulty": "text", "context": "text"},
    outputs={"problem": "text", "solution": "text", "answer": "text", "hints": "list"},
)
CONTEXTS = ("bakery", "zoo", "library", "harbour", "museum", "orchard")
DIFFICULTIES = {"easy": 1, "medium": 2, "hard": 3}
STORIES = {
    "perimeter": (
        "In the {c} a rectangular fence has sides of {a} and {b} metres.",
        "What is its perimeter",
        "2*({a}+{b})",
    ),
    "area": (
        "In the {c} a floor is {a} metres long and {b} metres in width.",
        "What is its area in square metres",
        "{a}*{b}",
    ),
    "averages": (
        "In the {c} two days bring {a} and {b} visitors. We want the average, doubled.",
        "What is twice the average",
        "{a}+{b}",
    ),
    "probability": (
        "In the {c} {a} red and {b} blue balls wait for a random draw.",
        "How many outcomes does the probability count",
        "{a}+{b}",
    ),
    "volume": (
        "In the {c} a tank of {a} by {b} by 2 metres is filled.",
        "What is its volume in cubic metres",
        "{a}*{b}*2",
    ),
    "ages": (
        "In the {c} a keeper is {a} years old and a helper is {b} years younger.",
        "What do twice the age and the gap make",
        "2*{a}+{b}",
    ),
}
TOPICS = tuple(STORIES)


def problem(topic: str, difficulty: str, context: str, draw: random.Random) -> Document:
    """One correct problem with as many steps as its difficulty asks for."""
    tale, question, expression = STORIES[topic]
    a, b = draw.randint(11, 60), draw.randint(61, 99)
    first = expression.format(a=a, b=b)
    value = evaluate(first)
    lines = [f"First {first} = <<{first}={value}>>{value}."]
    extras = []
    for number in range(2, DIFFICULTIES[difficulty] + 1):
        more = draw.randint(101, 180) + 100 * number
        extras.append(f"Then {more} are added.")
        worked = f"{value}+{more}"
        value += more
        lines.append(f"Then {worked} = <<{worked}={value}>>{value}.")
    told = " ".join([tale.format(c=context, a=a, b=b), *extras, f"{question} in the end?"])
    return {
        "problem": told,
        "solution": "\n".join(lines),
        "answer": str(value),
        "hints": ["Write down what is given before you calculate."],
    }


def items(
    count: int,
    *,
    seed: int,
    topics: tuple[str, ...] = TOPICS[:3],
    difficulties: tuple[str, ...] = ("easy", "medium"),
) -> list[Item]:
    """Examples over all cells, in a fixed order."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        inputs: Document = {
            "topic": topics[number % len(topics)],
            "difficulty": difficulties[number // len(topics) % len(difficulties)],
            "context": CONTEXTS[number // 2 % len(CONTEXTS)],
        }
        outputs = problem(
            str(inputs["topic"]), str(inputs["difficulty"]), str(inputs["context"]), draw
        )
        made.append(Item(uid=f"{seed}-{number}", inputs=inputs, outputs=outputs))
    return made


def requests(asked: list[Item]) -> list[str]:
    """What each item asks for; equal requests get equal answers."""
    return [json.dumps(item.inputs, sort_keys=True) for item in asked]


def grade(item: Item, produced: Document) -> Grade:
    """Right x not copied x (topic + length + context) / 3; the length is the example's own."""
    told, solution = str(produced.get("problem") or ""), str(produced.get("solution") or "")
    right = _is_right(solution, str(produced.get("answer") or ""))
    new = level(told) != level(str(item.outputs["problem"]))
    wanted = (
        float(_vocabulary(str(item.inputs["topic"])) in told),
        float(len(steps(solution)) == len(steps(str(item.outputs["solution"])))),
        float(str(item.inputs["context"]) in told),
    )
    parts = {"right": float(right), "new": float(new), "wanted": fmean(wanted)}
    return Grade(value=parts["right"] * parts["new"] * parts["wanted"], parts=parts)


def _vocabulary(topic: str) -> str:
    return {"averages": "average", "ages": "years"}.get(topic, topic)


def _is_right(solution: str, answer: str) -> bool:
    checked = check_steps(solution)
    if not checked or any(check.outcome is not StepOutcome.EXACT for check in checked):
        return False
    try:
        return evaluate(answer) == stated_value(checked[-1].step)
    except NotArithmetic:
        return False
