"""Faults of the reference generator: each does what its label says, and only that."""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import pytest

from tdsys.reference import (
    DOMAINS,
    HARD_FAULTS,
    SOFT_FAULTS,
    Fault,
    Problem,
    ReferenceGenerator,
)
from tdsys.reference.faults import INJECTIONS
from tdsys.reference.stories import TOPICS

COUNT = 2_700
ANNOTATION = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
SAMPLE_RATE = 0.5

OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def exact(text: str) -> Fraction:
    """The value of an expression by a reader that shares no code with the generator."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant)
        return Fraction(str(ast.get_source_segment(text, node)))

    return value(ast.parse(text, mode="eval").body)


def wrong_steps(solution: str) -> int:
    return sum(exact(work) != exact(result) for work, result in ANNOTATION.findall(solution))


def last_result(solution: str) -> str:
    return str(ANNOTATION.findall(solution)[-1][1])


def folded(problem: Problem) -> tuple[object, ...]:
    """What stays of a problem when spaces and letter case are ignored."""
    outputs = problem.outputs
    texts = (outputs["problem"], outputs["solution"], outputs["answer"], *outputs["hints"])
    return (
        problem.domain,
        *problem.inputs.values(),
        *(" ".join(t.lower().split()) for t in texts),
    )


@cache
def streams() -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """The same stream without faults and with every second problem spoilt."""
    clean = ReferenceGenerator(seed=4).stream(list(DOMAINS), COUNT)
    spoilt = ReferenceGenerator(seed=4, fault_rate=SAMPLE_RATE).stream(list(DOMAINS), COUNT)
    return tuple(clean), tuple(spoilt)


def spoilt(fault: Fault) -> list[tuple[Problem, Problem]]:
    """Pairs of a clean problem and what a fault made of it."""
    pairs = [(a, b) for a, b in zip(*streams(), strict=True) if b.fault == fault]
    assert len(pairs) > 20
    return pairs


def changed(clean: Problem, bad: Problem) -> set[str]:
    """Names of the outputs that differ."""
    pairs = zip(clean.outputs.items(), bad.outputs.values(), strict=True)
    return {name for (name, value), other in pairs if value != other}


def test_a_stream_without_faults_has_no_labels() -> None:
    clean, _ = streams()
    assert {problem.fault for problem in clean} == {None}


def test_a_faulty_stream_leaves_the_other_problems_as_they_are() -> None:
    clean, faulty = streams()
    assert all(a == b for a, b in zip(clean, faulty, strict=True) if b.fault is None)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_faults_come_at_their_rate_mostly_hard_and_evenly_over_the_kinds(rate: float) -> None:
    made = ReferenceGenerator(seed=9, fault_rate=rate).stream(list(DOMAINS), COUNT)
    kinds = Counter(Fault(problem.fault) for problem in made if problem.fault is not None)
    faulty = sum(kinds.values())
    hard = sum(kinds[fault] for fault in HARD_FAULTS)
    assert abs(faulty / COUNT - rate) < 0.03
    assert abs(hard / faulty - 0.85) < 0.03
    assert all(abs(kinds[f] / hard - 1 / len(HARD_FAULTS)) < 0.05 for f in HARD_FAULTS)
    assert all(abs(kinds[f] / (faulty - hard) - 1 / 3) < 0.1 for f in SOFT_FAULTS)


def test_a_faulty_stream_is_reproducible() -> None:
    generator = ReferenceGenerator(seed=6, fault_rate=0.3)
    domains = ("fractions", "rates")
    assert list(generator.stream(domains, 200)) == list(generator.stream(domains, 200))


def test_a_fault_rate_outside_of_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fault_rate is 1\.5"):
        ReferenceGenerator(fault_rate=1.5)


def test_hard_and_soft_faults_are_all_faults() -> None:
    assert frozenset(Fault) == HARD_FAULTS | SOFT_FAULTS
    assert not HARD_FAULTS & SOFT_FAULTS


@pytest.mark.parametrize("fault", sorted(set(Fault) - {Fault.DUPLICATE}))
def test_a_fault_keeps_domain_and_inputs(fault: Fault) -> None:
    for clean, bad in spoilt(fault):
        assert (bad.domain, bad.inputs) == (clean.domain, clean.inputs)


def test_a_wrong_answer_differs_from_the_last_step_and_nothing_else_changes() -> None:
    for clean, bad in spoilt(Fault.WRONG_ANSWER):
        assert changed(clean, bad) == {"answer"}
        assert Fraction(bad.outputs["answer"]) != Fraction(clean.outputs["answer"])
        assert Fraction(bad.outputs["answer"]) > 0


def test_a_wrong_step_is_a_single_false_computation_and_the_answer_follows_the_solution() -> None:
    carried = 0
    for clean, bad in spoilt(Fault.WRONG_STEP):
        assert changed(clean, bad) <= {"solution", "answer"}
        assert wrong_steps(bad.outputs["solution"]) == 1
        assert bad.outputs["answer"] == last_result(bad.outputs["solution"])
        carried += bad.outputs["answer"] != clean.outputs["answer"]
    assert 0 < carried < len(spoilt(Fault.WRONG_STEP))


def breaks_off(text: str) -> bool:
    """Whether a text ends inside of a step or a sentence."""
    return text.count("<<") > text.count(">>") or text[-1] not in ".!?>"


def test_a_truncated_problem_lacks_the_end_of_the_solution_or_the_answer() -> None:
    shapes: Counter[tuple[bool, bool]] = Counter()
    for clean, bad in spoilt(Fault.TRUNCATED):
        assert changed(clean, bad) <= {"solution", "answer"}
        short, whole = bad.outputs["solution"], clean.outputs["solution"]
        assert bad.outputs["answer"] in {"", clean.outputs["answer"]}
        assert whole.startswith(short)
        assert short == whole or breaks_off(short)
        shapes[short == whole, bad.outputs["answer"] == ""] += 1
    assert set(shapes) == {(True, True), (False, True), (False, False)}


def test_a_hint_leak_puts_the_answer_into_one_hint() -> None:
    for clean, bad in spoilt(Fault.HINT_LEAK):
        assert changed(clean, bad) == {"hints"}
        answer = re.escape(clean.outputs["answer"])
        leaks = [re.search(rf"(?<![\d./]){answer}(?![\d/])", h) for h in bad.outputs["hints"]]
        assert sum(leak is not None for leak in leaks) == 1
        assert len(bad.outputs["hints"]) == len(clean.outputs["hints"])


def test_a_duplicate_repeats_an_earlier_clean_problem_up_to_spaces_and_letter_case() -> None:
    seen: set[tuple[object, ...]] = set()
    disguised = 0
    originals = {p.outputs["problem"] for p in streams()[0]}
    for problem in streams()[1]:
        if problem.fault == Fault.DUPLICATE:
            assert folded(problem) in seen
            disguised += problem.outputs["problem"] not in originals
        if problem.fault is None:
            seen.add(folded(problem))
    assert 0 < disguised < len(spoilt(Fault.DUPLICATE))


def test_clean_problems_never_repeat() -> None:
    texts = [problem.outputs["problem"] for problem in streams()[0]]
    assert len(set(texts)) == len(texts)


def test_an_injection_adds_an_order_to_the_problem_or_the_solution() -> None:
    used: Counter[str] = Counter()
    for clean, bad in spoilt(Fault.INJECTION):
        (where,) = changed(clean, bad)
        assert where in {"problem", "solution"}
        text = bad.outputs["problem"] if where == "problem" else bad.outputs["solution"]
        (order,) = [o for o in INJECTIONS if o in text]
        rest = " ".join(text.replace(order, " ").split())
        assert rest == clean.outputs[where]  # type: ignore[literal-required]
        used[order] += 1
    assert len(used) == len(INJECTIONS) >= 10


def test_an_off_topic_problem_is_correct_but_belongs_to_another_domain() -> None:
    words = {(t.domain, t.name): t.words for topics in TOPICS.values() for t in topics}
    recognised = 0
    for clean, bad in spoilt(Fault.OFF_TOPIC):
        assert wrong_steps(bad.outputs["solution"]) == 0
        assert last_result(bad.outputs["solution"]) == bad.outputs["answer"]
        text = bad.outputs["problem"].lower()
        assert clean.inputs["context"].partition(" ")[2] in text
        recognised += not any(w in text for w in words[clean.domain, clean.inputs["topic"]])
    assert recognised / len(spoilt(Fault.OFF_TOPIC)) > 0.95


def test_a_semantic_fault_is_consistent_in_form_and_wrong_in_substance() -> None:
    for clean, bad in spoilt(Fault.SEMANTIC):
        assert changed(clean, bad) == {"solution", "answer"}
        assert wrong_steps(bad.outputs["solution"]) == 0
        assert last_result(bad.outputs["solution"]) == bad.outputs["answer"]
        old, new = clean.outputs["solution"], bad.outputs["solution"]
        assert len(ANNOTATION.findall(old)) == len(ANNOTATION.findall(new))


def test_a_missing_datum_is_gone_from_the_problem_but_used_in_the_steps() -> None:
    number = re.compile(r"\d+(?:\.\d+)?(?:/\d+)?")
    for clean, bad in spoilt(Fault.MISSING_DATUM):
        assert changed(clean, bad) == {"problem"}
        before, after = clean.outputs["problem"], bad.outputs["problem"]
        (gone,) = set(number.findall(before)) - set(number.findall(after))
        assert "some" in after
        works = [work for work, _ in ANNOTATION.findall(clean.outputs["solution"])]
        assert any(re.search(rf"(?<![\d.]){re.escape(gone)}(?![\d.])", w) for w in works)


def test_a_swapped_solution_is_a_correct_solution_of_another_problem_of_the_topic() -> None:
    for clean, bad in spoilt(Fault.SWAPPED_SOLUTION):
        assert bad.outputs["problem"] == clean.outputs["problem"]
        assert bad.outputs["solution"] != clean.outputs["solution"]
        assert wrong_steps(bad.outputs["solution"]) == 0
        assert last_result(bad.outputs["solution"]) == bad.outputs["answer"]


@pytest.mark.parametrize("seed", [13, 21, 22])
def test_a_long_stream_with_many_faults_never_runs_out_of_ways_to_spoil(seed: int) -> None:
    stream = ReferenceGenerator(seed=seed, fault_rate=0.9).stream(tuple(DOMAINS), 3000)
    assert sum(problem.fault is not None for problem in stream) > 2500
