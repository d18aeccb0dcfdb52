"""The offline model as a problem writer: it varies the nearest demo and recomputes its steps.

Its rule: it knows no mathematics problem of its own. Without a demo of the topic it can only add
two numbers, and the fewer fitting worked demos it sees, the more often its arithmetic slips.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from tdsys.core.arithmetic import (
    NotArithmetic,
    Number,
    evaluate,
    format_number,
    numbers,
    stated_value,
    steps,
)
from tdsys.core.example import level
from tdsys.core.replay import replay, rewrite
from tdsys.llm.offline import lexicon
from tdsys.llm.offline.prompt import Asked, Demo, Draw

ROLES = {
    "problem": ("problem", "question", "task", "exercise"),
    "solution": ("solution", "working", "steps", "explanation", "reasoning"),
    "answer": ("answer", "final_answer", "result"),
    "hints": ("hints", "hint"),
}
# A model that sees no worked example gets this share of its problems wrong.
SLIP_UNGUIDED = 0.4
# Demos of something else distract (Shi et al. 2023, "Large Language Models Can Be Easily
# Distracted by Irrelevant Context"): they make it worse than no demo at all.
SLIP_DISTRACTED = 0.7
SLIP_PER_DEMO = 0.6
CAREFUL_FACTOR = 0.5
CARELESS_FACTOR = 3.0
SLIPS_IN_ANSWER = 0.4
CAREFUL = re.compile(r"step by step|verif|check|recompute", re.IGNORECASE)
CARELESS = re.compile(r"creative|storytell|poet|quick|do not matter", re.IGNORECASE)
GENERIC = (
    ("Here are the numbers {a} and {b}. What do they make together?", "{a}+{b}"),
    ("Take the number {b} away from the number {c}. What is left?", "{c}-{b}"),
    ("Multiply the number {a} by the number {b}. What comes out?", "{a}*{b}"),
)
FRACTION = re.compile(r"(?<![\d/.])(\d{1,9})/(\d{1,9})(?![\d/])")
# Which preposition goes before a place, by its last word; all others are places one is in.
ON = frozenset({"farm", "hike", "island", "journey", "ship", "tour", "train", "trip", "voyage"})
AT = frozenset(
    {"bakery", "bank", "camp", "club", "festival", "market", "museum", "party", "pool", "station"}
)
ARTICLE = re.compile(r"^(?:(?:in|at|on|for|of|during)\s+)?(?:(?:a|an|the)\s+)?", re.IGNORECASE)


class Written(NamedTuple):
    """A problem as it is about to be answered; `others` are fields of no known role."""

    problem: str
    solution: str
    answer: str
    hints: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()


def can_write(asked: Asked) -> bool:
    """Whether the wanted fields are those of a mathematics problem."""
    return "problem" in _roles(asked.outputs)


def write(asked: Asked, draw: Draw) -> dict[str, Any]:
    """A value for every wanted field."""
    written = told(asked, draw)
    if draw.unit("slip") < slip_rate(asked, _fitting(asked)):
        written = slipped(written, draw)
    return as_fields(written, asked)


def told(asked: Asked, draw: Draw) -> Written:
    """A problem by analogy with the demos, without a slip."""
    fitting = _fitting(asked)
    return _by_analogy(fitting, asked, draw) if fitting else _generic(asked, draw)


def _fitting(asked: Asked) -> list[Demo]:
    return [demo for demo in asked.demos if _fits(demo, asked)]


def slip_rate(asked: Asked, fitting: list[Demo]) -> float:
    """How often the arithmetic goes wrong, from what the prompt offers."""
    if asked.demos and not fitting:
        return SLIP_DISTRACTED
    worked = sum("<<" in "".join(demo.outputs.values()) for demo in asked.demos)
    rate = SLIP_UNGUIDED * SLIP_PER_DEMO**worked
    if CAREFUL.search(asked.instruction):
        rate *= CAREFUL_FACTOR
    return rate * CARELESS_FACTOR if CARELESS.search(asked.instruction) else rate


def _roles(names: Mapping[str, object]) -> dict[str, str]:
    """Which field plays which role; the first known name wins."""
    return {
        role: next(n for n in known if n in names)
        for role, known in ROLES.items()
        if any(n in names for n in known)
    }


def _fits(demo: Demo, asked: Asked) -> bool:
    """Whether a demo is of the asked topic, by its label and by its text."""
    names = _roles(asked.outputs)
    if not all(
        _is_given(demo.outputs.get(names[r], "")) for r in ("problem", "answer") if r in names
    ):
        return False
    topic = asked.inputs.get("topic")
    if topic is None:
        return True
    same = lexicon.is_same(topic, demo.inputs.get("topic", ""))
    return same and lexicon.judge(topic, demo.outputs[names["problem"]]) is not lexicon.Fit.DIFFERS


def _is_given(value: str) -> bool:
    return bool(value) and not value.startswith("Not supplied for this particular example")


def _by_analogy(fitting: list[Demo], asked: Asked, draw: Draw) -> Written:
    """The nearest demo that can be told with other numbers; the nearest itself if none can."""
    ranked = _by_nearness(fitting, asked, draw)
    varied = (_varied(demo, asked, draw) for demo in ranked)
    return next((told for told in varied if told), None) or _as_written(ranked[0], asked)


def _by_nearness(fitting: list[Demo], asked: Asked, draw: Draw) -> list[Demo]:
    """The demos that share most with the request first: difficulty, then the other inputs."""

    def closeness(place: int) -> tuple[bool, float, float]:
        demo = fitting[place]
        same = _levelled(demo, "difficulty") == level(asked.inputs.get("difficulty", ""))
        return same, _overlap(demo.inputs, asked.inputs), draw.unit("nearest", place)

    return [fitting[i] for i in sorted(range(len(fitting)), key=closeness, reverse=True)]


def _levelled(demo: Demo, name: str) -> str:
    return level(demo.inputs.get(name, ""))


def _overlap(a: Mapping[str, str], b: Mapping[str, str]) -> float:
    same = [level(a[name]) == level(b[name]) for name in a if name in b]
    return sum(same) / len(same) if same else 0.0


def _varied(demo: Demo, asked: Asked, draw: Draw) -> Written | None:
    """The demo with other numbers in the asked setting; None when its numbers are fixed."""
    told = _with_other_numbers(_as_written(demo, asked), draw)
    return _moved(told, demo, asked) if told else None


def _as_written(demo: Demo, asked: Asked) -> Written:
    names = _roles(asked.outputs)
    texts = {role: demo.outputs.get(name, "") for role, name in names.items()}
    known = set(names.values())
    return Written(
        problem=texts["problem"],
        solution=texts.get("solution", texts.get("answer", "")),
        answer=texts.get("answer", ""),
        hints=tuple(_lines(texts.get("hints", ""))),
        others=tuple((n, demo.outputs.get(n, "")) for n in asked.outputs if n not in known),
    )


def _lines(text: str) -> list[str]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = text.splitlines()
    return [str(line) for line in parsed if str(line).strip()] if isinstance(parsed, list) else []


def _with_other_numbers(original: Written, draw: Draw) -> Written | None:
    for substitutions in _substitutions(original, draw):
        told = replay(original.problem, original.solution, substitutions)
        if told is not None and _is_variation(original.problem, told.problem):
            hints = [rewrite(hint, told.values) for hint in original.hints]
            return original._replace(
                problem=told.problem,
                solution=told.solution,
                answer=_answer_like(original, told.answer, told.values),
                hints=tuple(h for h in hints if not _mentions(h, told.answer)),
            )
    return None


def _is_variation(old: str, new: str) -> bool:
    """Whether other numbers tell the same kind of story: a part of a whole stays a part."""
    parts = zip(FRACTION.findall(old), FRACTION.findall(new), strict=False)
    return old != new and not any(int(a) < int(b) and int(c) >= int(d) for (a, b), (c, d) in parts)


def _mentions(hint: str, answer: str) -> bool:
    try:
        value = evaluate(answer)
    except NotArithmetic:
        return False
    return any(number.value == value for number in numbers(hint))


def _answer_like(original: Written, answer: str, values: Mapping[Fraction, Fraction]) -> str:
    """The new answer as the demo words it; a demo whose answer is off teaches to be off."""
    if original.answer == original.solution:
        return answer
    try:
        old, last = evaluate(original.answer), stated_value(steps(original.solution)[-1])
    except NotArithmetic:
        return rewrite(original.answer, values)
    return answer if last is None or old == last else format_number(evaluate(answer) + old - last)


def _substitutions(original: Written, draw: Draw) -> Iterator[dict[Fraction, Fraction]]:
    """Ever more cautious exchanges: all numbers anew, then one multiplied, then one anew."""
    values = _exchangeable(original)
    for attempt in range(10):
        yield {v: _other(v, draw, attempt, v) for v in values}
    for attempt in range(12 if values else 0):
        value = draw.pick(values, "scaled", attempt)
        yield {value: value * draw.integer(2, 4, "scale", attempt)}
    for attempt in range(12 if values else 0):
        value = draw.pick(values, "single", attempt)
        yield {value: _other(value, draw, "single", attempt)}


def _exchangeable(original: Written) -> list[Fraction]:
    """The problem's numbers that its steps calculate with, except percentages."""
    used = {n.value for step in steps(original.solution) for n in numbers(step.expression)}
    return sorted(
        {
            n.value
            for n in numbers(original.problem)
            if n.value in used and n.value > 1 and not _is_percent(original.problem, n)
        }
    )


def _is_percent(text: str, number: Number) -> bool:
    return bool(re.match(r"\s?(?:%|per ?cent)", text[number.span[1] :]))


def _other(value: Fraction, draw: Draw, *label: object) -> Fraction:
    """A number of the same kind and size: tens stay tens, cents stay cents."""
    unit = next(
        (
            u
            for u in (Fraction(10), Fraction(5), Fraction(1), Fraction(1, 2))
            if value % u == 0 and value > u
        ),
        Fraction(1, value.denominator),
    )
    count = int(value / unit)
    return unit * draw.integer(max(2, count * 3 // 5), count * 8 // 5 + 2, "other", *label)


def _moved(written: Written, demo: Demo, asked: Asked) -> Written:
    """The asked values in place of the demo's; what has no place is told first."""
    for name, wanted in asked.inputs.items():
        if name in {"topic", "difficulty"} or name not in demo.inputs:
            continue
        written = _exchanged(written, _core(demo.inputs[name]), wanted.strip())
    return written


def _core(phrase: str) -> str:
    return ARTICLE.sub("", phrase.strip())


def _exchanged(written: Written, old: str, wanted: str) -> Written:
    new = _core(wanted)
    if not old or not new or old.casefold() == new.casefold():
        return written
    pattern = re.compile(
        rf"(?:\b(?P<place>in|at|on) )?(?:\b(?P<article>an?|the) )?\b(?P<old>{re.escape(old)})\b",
        re.IGNORECASE,
    )

    def retold(text: str) -> str:
        return pattern.sub(lambda found: _placed(new, found), text)

    problem = retold(written.problem)
    if problem == written.problem:
        problem = f"A story about {new if new == wanted else f'the {new}'}. {problem}"
    return written._replace(
        problem=problem,
        solution=retold(written.solution),
        hints=tuple(retold(hint) for hint in written.hints),
    )


def _placed(new: str, found: re.Match[str]) -> str:
    """The new setting with the preposition and the article that suit it."""
    place, article = found["place"], found["article"]
    words = [_as_begun(new, found["old"])]
    if article:
        suited = article if article.casefold() == "the" else "an" if new[0] in "aeiou" else "a"
        words.insert(0, _as_begun(suited, article))
    if place:
        words.insert(0, _as_begun(_preposition(new) if article else place, place))
    return " ".join(words)


def _preposition(place: str) -> str:
    last = place.rpartition(" ")[2].casefold()
    return "on" if last in ON else "at" if last in AT else "in"


def _as_begun(text: str, model: str) -> str:
    """The text with a capital where the model has one."""
    return text[:1].upper() + text[1:] if model[:1].isupper() else text


def _generic(asked: Asked, draw: Draw) -> Written:
    """What it can do without a demo: one calculation, and not the one it was asked for."""
    topic = asked.inputs.get("topic", "")
    others = [form for form in GENERIC if lexicon.judge(topic, form[0]) is not lexicon.Fit.FITS]
    sentence, expression = draw.pick(others or GENERIC, "generic")
    a, b = draw.integer(3, 40, "a"), draw.integer(3, 40, "b")
    filled = {"a": a, "b": b, "c": a + b}
    worked = expression.format(**filled)
    value = format_number(evaluate(worked))
    return Written(sentence.format(**filled), f"{worked} = <<{worked}={value}>>{value}", value)


def slipped(written: Written, draw: Draw) -> Written:
    """The same with one mistake: in a step, or in the answer."""
    found = steps(written.solution)
    by = draw.integer(1, 9, "by")
    if not found or draw.unit("where") < SLIPS_IN_ANSWER:
        return written._replace(answer=_off(written.answer, by))
    step = draw.pick(found, "which")
    start, end = step.span
    spoilt = f"<<{step.expression}={_off(step.stated, by)}>>"
    tail = written.solution[end:]
    if tail.startswith(step.stated):
        tail = _off(step.stated, by) + tail[len(step.stated) :]
    return written._replace(solution=written.solution[:start] + spoilt + tail)


def _off(text: str, by: int) -> str:
    """The text with its first number off by that much."""
    found = numbers(text)
    if not found:
        return f"{text} {by}".strip()
    start, end = found[0].span
    return text[:start] + format_number(found[0].value + by) + text[end:]


def as_fields(written: Written, asked: Asked) -> dict[str, Any]:
    """A value for every wanted field of a problem that is written."""
    values: dict[str, Any] = {role: getattr(written, role) for role in ROLES}
    names = {name: role for role, name in _roles(asked.outputs).items()}
    others = dict(written.others)
    result: dict[str, Any] = {}
    for name, kind in asked.outputs.items():
        value = values[names[name]] if name in names else others.get(name, "")
        result[name] = _typed(value, kind)
    if "solution" not in names.values() and "answer" in names.values():
        # Without a field for it the working stands in the answer, as in GSM8K.
        result[_roles(asked.outputs)["answer"]] = written.solution
    return result


def _typed(value: str | tuple[str, ...], kind: str) -> str | list[str]:
    if kind.startswith("list"):
        return _lines(value) if isinstance(value, str) else list(value)
    return value if isinstance(value, str) else "\n".join(value)
