"""The reference generator: what it makes is right, grounded, varied and reproducible."""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest

from tdsys.reference import DIFFICULTIES, DOMAINS, STEPS, Problem, ReferenceGenerator
from tdsys.reference.contexts import CONTEXTS
from tdsys.reference.steps import Number, Redraw, Style, constant, literal
from tdsys.reference.stories import TOPICS

CELLS = [(d, t, level) for d, topics in DOMAINS.items() for t in topics for level in DIFFICULTIES]
SEEDS = (1, 7, 2024)
PER_CELL = 12

ANNOTATION = re.compile(r"<<([^<>=]+)=([^<>=]+)>>(\S*)")
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:/\d+)?")
METHOD_CONSTANTS = {"1", "2", "100"}
NUMBER_WORDS = re.compile(
    r"\b(two|three|four|five|six|seven|eight|nine|ten|twelve|dozen|twice|thrice|half|double)\b",
    re.IGNORECASE,
)

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


def problems(
    *, seeds: tuple[int, ...] = SEEDS, each: int = PER_CELL
) -> Iterator[tuple[tuple[str, str, str], Problem]]:
    for seed in seeds:
        generator = ReferenceGenerator(seed=seed)
        for cell in CELLS:
            for index in range(each):
                yield cell, generator.generate(*cell, index)


@pytest.fixture(scope="module")
def made() -> list[tuple[tuple[str, str, str], Problem]]:
    return list(problems())


def steps(problem: Problem) -> list[tuple[str, str, str]]:
    return ANNOTATION.findall(problem.outputs["solution"])


def test_there_are_at_least_eight_domains_with_three_topics_and_three_difficulties() -> None:
    assert len(DOMAINS) >= 8
    assert all(len(topics) >= 3 for topics in DOMAINS.values())
    assert DIFFICULTIES == ("easy", "medium", "hard")
    assert len({context.setting for context in CONTEXTS}) >= 16


def test_every_step_is_exactly_right(made: list[tuple[tuple[str, str, str], Problem]]) -> None:
    for _, problem in made:
        for work, result, _ in steps(problem):
            assert exact(work) == exact(result), problem


def test_the_value_of_every_step_follows_its_annotation_in_the_text(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    for _, problem in made:
        for _, result, after in steps(problem):
            assert after.rstrip(".") == result, problem


def test_the_answer_is_the_value_of_the_last_step(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    for _, problem in made:
        assert steps(problem)[-1][1] == problem.outputs["answer"]


def test_the_number_of_steps_grows_with_the_difficulty(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    for (_, _, difficulty), problem in made:
        fewest, most = STEPS[difficulty]
        assert fewest <= len(steps(problem)) <= most, problem
    assert STEPS == {"easy": (1, 2), "medium": (3, 3), "hard": (4, 5)}


def test_every_operand_is_in_the_problem_an_earlier_result_or_a_constant_of_the_method(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    grounded = total = 0
    for _, problem in made:
        known = set(NUMBER.findall(problem.outputs["problem"])) | METHOD_CONSTANTS
        known |= {part for text in known for part in text.split("/")}
        for work, result, _ in steps(problem):
            operands = re.findall(r"\(\d+/\d+\)|\d+(?:\.\d+)?", work)
            total += len(operands)
            grounded += sum(operand.strip("()") in known for operand in operands)
            known.add(result)
    assert grounded == total


def test_no_literal_stands_for_more_than_one_quantity(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    for _, problem in made:
        told = NUMBER.findall(problem.outputs["problem"])
        results = [result for _, result, _ in steps(problem)]
        assert len(set(results)) == len(results), problem
        assert not set(results) & set(told), problem


def test_the_words_around_the_steps_hold_no_numbers(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    shown = re.compile(r"[\d.+\-*/()]+=<<[^<>]*>>[\d./]+")
    for _, problem in made:
        assert not re.search(r"\d", shown.sub("", problem.outputs["solution"])), problem


def test_numbers_are_told_in_digits_and_never_in_words(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    for _, problem in made:
        assert not NUMBER_WORDS.search(problem.outputs["problem"]), problem


def test_hints_help_without_giving_the_answer_away(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    for _, problem in made:
        hints = problem.outputs["hints"]
        assert 2 <= len(hints) <= 3
        assert len(set(hints)) == len(hints)
        assert not any(re.search(r"\d", hint) for hint in hints), problem


def test_hints_belong_to_the_method_of_the_topic() -> None:
    hints = [set(topic.hints) for topics in TOPICS.values() for topic in topics]
    assert all(len(own) >= 3 for own in hints)
    assert len(set().union(*hints)) == sum(len(own) for own in hints)


def test_the_context_is_named_in_the_problem(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    for _, problem in made:
        setting = problem.inputs["context"].partition(" ")[2]
        assert setting in problem.outputs["problem"].lower(), problem


def test_the_topic_can_be_told_by_its_vocabulary(
    made: list[tuple[tuple[str, str, str], Problem]],
) -> None:
    words = {(t.domain, t.name): t.words for topics in TOPICS.values() for t in topics}
    for (domain, topic, _), problem in made:
        text = problem.outputs["problem"].lower()
        assert any(word in text for word in words[domain, topic]), problem


def test_the_inputs_say_what_was_asked_for() -> None:
    problem = ReferenceGenerator().generate("geometry", "area", "hard", 3)
    assert problem.domain == "geometry"
    assert (problem.inputs["topic"], problem.inputs["difficulty"]) == ("area", "hard")
    assert problem.inputs["context"] in {context.setting for context in CONTEXTS}
    assert problem.fault is None


def test_the_same_seed_and_index_give_the_same_problem_in_any_order() -> None:
    forwards = dict.fromkeys(range(6))
    first, second = ReferenceGenerator(seed=5), ReferenceGenerator(seed=5)
    made = {k: first.generate("rates", "speed", "hard", k) for k in forwards}
    again = {k: second.generate("rates", "speed", "hard", k) for k in reversed(forwards)}
    assert made == again


def test_another_seed_gives_other_problems() -> None:
    texts = {
        ReferenceGenerator(seed=seed).generate("rates", "speed", "hard", 0).outputs["problem"]
        for seed in range(20)
    }
    assert len(texts) == 20


@pytest.mark.parametrize(
    ("cell", "there"),
    [
        (("potions", "sorcery", "easy"), "the domains are arithmetic, "),
        (("algebra", "sorcery", "easy"), "the topics of algebra are linear equations, "),
        (("algebra", "linear equations", "vile"), "the difficulties are easy, medium, hard"),
    ],
)
def test_an_unknown_cell_is_refused_with_what_there_is(
    cell: tuple[str, str, str], there: str
) -> None:
    with pytest.raises(ValueError, match=f"no template of {'/'.join(cell)}: {there}"):
        ReferenceGenerator().generate(*cell, 0)


def test_a_stream_cycles_evenly_over_domains_topics_and_difficulties() -> None:
    domains = ("algebra", "geometry", "rates")
    made = list(ReferenceGenerator(seed=3).stream(domains, 270))
    assert [p.domain for p in made[:6]] == [*domains, *domains]
    cells = Counter((p.domain, p.inputs["topic"], p.inputs["difficulty"]) for p in made)
    assert len(cells) == 27
    assert set(cells.values()) == {10}


def trigrams(text: str) -> set[tuple[str, str, str]]:
    words = re.findall(r"[a-z]+|#", re.sub(r"\d+(?:[./]\d+)*", "#", text.lower()))
    return set(zip(words, words[1:], words[2:], strict=False))


def cluster_sizes(texts: list[str], threshold: float = 0.5) -> list[int]:
    """Sizes of the groups of texts that are linked by word-3-gram Jaccard >= threshold."""
    shingles = [trigrams(text) for text in texts]
    parent = list(range(len(texts)))

    def root(k: int) -> int:
        while parent[k] != k:
            k = parent[k]
        return k

    for a in range(len(texts)):
        for b in range(a):
            common = len(shingles[a] & shingles[b])
            if common >= threshold * (len(shingles[a]) + len(shingles[b]) - common):
                parent[root(a)] = root(b)
    return sorted(Counter(map(root, range(len(texts)))).values())


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("seed", [1, 11])
def test_a_hundred_problems_of_a_domain_are_many_clusters_and_none_is_large(
    domain: str, seed: int
) -> None:
    stream = ReferenceGenerator(seed=seed).stream([domain], 100)
    sizes = cluster_sizes([problem.outputs["problem"] for problem in stream])
    assert len(sizes) >= 40
    assert max(sizes) <= 12


def without_context(text: str, context_name: str) -> str:
    """The text with the people and things of its context taken out."""
    context = next(c for c in CONTEXTS if c.setting == context_name)
    nouns = [*context.people, *context.looks]
    nouns += [v for v in context if isinstance(v, str)]
    for noun in sorted(nouns, key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(noun.partition(' ')[2] or noun)}\b", "@", text)
    return re.sub(r"\d+(?:[./]\d+)*", "#", text)


@pytest.mark.parametrize(("domain", "topic"), [(d, t) for d, ts in DOMAINS.items() for t in ts])
def test_every_topic_is_told_in_at_least_six_shapes_even_when_nouns_are_ignored(
    domain: str, topic: str
) -> None:
    generator = ReferenceGenerator(seed=2)
    made = [generator.generate(domain, topic, "easy", k) for k in range(60)]
    sizes = cluster_sizes(
        [without_context(p.outputs["problem"], p.inputs["context"]) for p in made]
    )
    assert len(sizes) >= 6


def test_expressions_keep_their_meaning_when_they_are_written_out() -> None:
    a, b, c = Number(12), Number(5), Number(Fraction(3, 4), Style.FRACTION)
    for work in (2 * (a + b), a - (b - 2), a / (b * 2), (a - b) * c, a / c, 1 - c, a - b + 1):
        assert exact(work.source) == work.value


def test_a_value_is_written_in_one_way_for_each_style() -> None:
    assert literal(Fraction(27, 2)) == "13.5"
    assert literal(Fraction(27, 2), Style.MONEY) == "13.50"
    assert literal(Fraction(3, 4), Style.FRACTION) == "3/4"
    assert literal(Fraction(1, 3)) == "1/3"
    assert str(constant(2).source) == "2"
    with pytest.raises(Redraw):
        literal(Fraction(1, 3), Style.MONEY)
