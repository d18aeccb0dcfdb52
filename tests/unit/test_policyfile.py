"""A policy as a document: what is written is read back, and every mistake has its place."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from tdsys.core.example import Source, level
from tdsys.core.policy import Difference, PerDimension, Policy, Shares, Signature, differences
from tdsys.core.sections import (
    AlertRules,
    CellException,
    Cells,
    Embedding,
    Lifecycle,
    Purges,
    Trigger,
)
from tdsys.parsing.policyfile import ANYTHING, Mistake, Refused, _models, policy_from, text_of

SHARE = st.floats(0, 1)
LETTERS = st.characters(categories=["L", "Nd"])
HERE = "topic: A, difficulty: ' b'"
DIMENSIONS = ("accuracy", "coherence", "relevance", "educational_value")


def mistakes(text: str) -> list[Mistake]:
    with pytest.raises(Refused) as refused:
        policy_from(text)
    return refused.value.mistakes


def told(text: str) -> list[tuple[int, int, str]]:
    return [(one.line, one.column, one.field) for one in mistakes(text)]


def test_the_first_document_is_the_default_policy_with_every_field_explained() -> None:
    text = text_of("algebra", Policy(), heading="The rules.")
    assert policy_from(text) == ("algebra", Policy())
    for name, field in Policy.model_fields.items():
        assert f"\n{name}:" in text or f"\n# {name}:" in text
        assert field.description
        assert field.description.split()[0] in text
    assert "(light | medium | heavy)" in text


LIFECYCLE = Lifecycle(
    retire_after_days=365,
    retire_sources={Source.SYNTHETIC: 180},
    max_admitted=20_000,
    max_megabytes=100,
    max_alike=20,
    purge_after_days=Purges(retired=90, rejected=180, parked=180),
)


def test_what_is_shut_in_the_first_document_can_be_opened() -> None:
    text = text_of("algebra", Policy(), heading="The rules.")
    for name, opened in (
        ("signature", Policy(signature=Signature())),
        ("lifecycle", Policy(lifecycle=LIFECYCLE)),
        ("cluster_cap", Policy(cluster_cap=3)),
        ("embedder", Policy(embedder=Embedding(model="openai/text-embedding-3-small"))),
        ("max_daily_calls", Policy(max_daily_calls=20_000)),
    ):
        shut = text[text.index(f"# {name}:") :].split("\n\n")[0]
        plain = "\n".join(line.removeprefix("# ") for line in shut.splitlines())
        assert policy_from(text.replace(shut, plain)).policy == opened
    assert policy_from(text.replace("  # max: 40", "  max: 40")).policy.cells.max == 40


def test_every_field_of_a_section_is_explained_where_it_stands() -> None:
    text = text_of("algebra", Policy(), heading="The rules.")
    for section in (Cells, Lifecycle, AlertRules, Trigger):
        for name, field in section.model_fields.items():
            assert re.search(rf"^(# )?  (# )?{name}:", text, re.MULTILINE)
            assert field.description
            assert f"  # {field.description}" in text


def test_a_rule_that_is_off_is_read_back_as_off() -> None:
    policy = Policy(alerts=AlertRules(parked=None), lifecycle=Lifecycle(max_admitted=60))
    text = text_of("algebra", policy, heading="The rules.")
    assert "\n  parked: null\n" in text
    assert "\n  # retire_after_days: 365\n" in text
    assert policy_from(text).policy == policy


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("topics: [sums, ' SUMS ']\n", (2, 9), "twice, letter case and blanks aside: sums"),
        ("topics: sums\n", (2, 9), "valid"),
        ("topics: [' ']\n", (2, 10), "1 to 100 characters"),
        ("cells: {min: 5, max: 4}\n", (2, 8), "min, 5, is above max, 4"),
        ("cells: {mn: 5}\n", (2, 9), "no such field"),
        (f"cells: {{exceptions: [{{{HERE}, min: -1}}]}}\n", (2, 56), "greater"),
        (f"cells: {{exceptions: [{{{HERE}, mx: 1}}]}}\n", (2, 51), "no such field"),
        (f"cells: {{exceptions: [{{{HERE}}}, {{{HERE}}}]}}\n", (2, 8), "a cell twice: a, b"),
        ("alerts: {parked: many}\n", (2, 18), "integer"),
        ("lifecycle: {max_admited: 9}\n", (2, 13), "no such field"),
        ("cluster_cap: 0\n", (2, 14), "greater"),
        ("trigger: {quiet_hours: {starts: 22:00, ends: 6:00}}\n", (2, 46), "time of day"),
        ("trigger: {quiet_hours: {starts: 22:00, ends: 22:00}}\n", (2, 24), "ends when it starts"),
        (
            "trigger: {quiet_hours: {starts: 22:00, ends: 06:00, timezone: B}}\n",
            (2, 63),
            "no time zone",
        ),
    ],
)
def test_a_mistake_in_a_section_has_its_place(
    text: str, place: tuple[int, int], message: str
) -> None:
    (one,) = mistakes("domain: a\n" + text)
    assert (one.line, one.column) == place
    assert message in one.message


def test_a_wanted_label_is_the_label_examples_have() -> None:
    policy = policy_from("domain: a\ntopics: ['Linear  Equations', ÄPFEL]\n").policy
    assert policy.topics == ("linear equations", "äpfel")


@pytest.mark.parametrize(
    "text", ["0E0", "1e3", "0o7", "0x1f", "-1", ".5", ".inf", "no", "Null", "~"]
)
def test_a_text_that_looks_like_something_else_stays_a_text(text: str) -> None:
    policy = Policy(signature=Signature(instructions=text))
    assert policy_from(text_of("a", policy, heading="Again.")).policy == policy


def test_a_text_that_would_rule_a_terminal_is_written_escaped_and_read_back() -> None:
    policy = Policy(signature=Signature(instructions="a \u202e b \x1b[2J é\x85"))
    text = text_of("a", policy, heading="by \x1b]0;owned\x07 ann")
    assert not set(text) & {"\u202e", "\x1b", "\x07", "\x85"}
    assert policy_from(text).policy == policy


@settings(deadline=None)
@given(
    domain=st.from_regex(r"[a-z][a-z 0-9]{0,20}[a-z]", fullmatch=True),
    instructions=st.text(
        st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300
    ).filter(str.strip),
    lowest=st.tuples(*[SHARE] * 4),
    growth=st.floats(0.01, 100),
    smallest=st.integers(40, 10_000),
    labels=st.lists(st.text(LETTERS, min_size=1, max_size=20), max_size=4, unique_by=level),
    number=st.none() | st.integers(5000, 10**9),
    on=st.booleans(),
)
def test_a_policy_that_is_written_is_read_back(
    domain: str,
    instructions: str,
    lowest: tuple[float, ...],
    growth: float,
    smallest: int,
    labels: list[str],
    number: int | None,
    on: bool,  # noqa: FBT001  # drawn
) -> None:
    bounds = PerDimension(**dict(zip(DIMENSIONS, lowest, strict=True)))
    policy = Policy(
        signature=Signature(instructions=instructions),
        reject_below=bounds,
        admit_from=bounds,
        growth=growth,
        min_examples=smallest,
        max_examples=smallest,
        max_calls=10**9,
        topics=tuple(labels),
        cells=Cells(
            max=number,
            exceptions=tuple(CellException(topic=one, difficulty="x") for one in labels),
        ),
        cluster_cap=number,
        lifecycle=Lifecycle(retire_after_days=number),
        alerts=AlertRules(parked=number, short_cell=on, no_capture_hours=number),
    )
    assert policy_from(text_of(domain, policy, heading="Again.")) == (domain, policy)


def test_every_mistake_is_told_at_once_with_its_place_and_a_remedy() -> None:
    text = """domain: algebra
wieghts: {accuracy: 1}
auto: hevy
min_examples: '80'
shares:
  train: 0.5
  val: 0.4
weights: {accuracy: 2, coherence: 0, relevance: 1}
seed: 0
"""
    assert told(text) == [
        (2, 1, "wieghts"),
        (3, 7, "auto"),
        (4, 15, "min_examples"),
        (6, 3, "shares"),
        (8, 1, "weights.educational_value"),
        (8, 21, "weights.accuracy"),
        (9, 7, "seed"),
    ]
    assert all(one.message and one.remedy for one in mistakes(text))
    assert mistakes(text)[0].remedy == "did you mean weights?"
    assert "0 is refused because MIPROv2 ignores it" in mistakes(text)[-1].remedy


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        ("topics: ['']", 'use a text such as "fractions"'),
        ("topics: [a, A]", "name each once (what is wanted"),
        ("signature: {inputs: 3}", "use lines of `name: value`"),
        ("signature: {inputs: {a: text}, outputs: {a: text}}", "each name in one of the two"),
        ("judges: {panel: []}", "name at least one"),
        ("min_examples: 401", "min_examples of 400 or less, or max_examples of 401 or more"),
        ("cells: {min: 3, max: 2}", "a min of 2 or less, or a max of 3 or more"),
        ("trigger: {quiet_hours: {starts: 9pm, ends: '06:00'}}", "00:00 to 23:59, as in 06:30"),
        ("lifecycle: {retire_sources: {web: 3}}", "use 'captured', 'bootstrapped', 'synthetic'"),
        ("conversion: {defaults: {hints: 3}}", 'use a list such as ["easy", "hard"]'),
        ("collection: maybe", "use 'automatic', 'manual' or 'off'"),
    ],
)
def test_a_remedy_says_what_is_accepted(field: str, remedy: str) -> None:
    found = mistakes(f"domain: d\n{field}\n")
    assert any(remedy in one.remedy for one in found), found
    assert not any(one.field.endswith(("[key]", "list[str]")) for one in found)


WRONG: list[JsonValue] = [
    None, True, "x", "", -1, 0, 1.5, 10**20, [], ["a"], [1], ["a", "A"], [""], [{"a": 1}],
    {}, {"a": 1}, {"a": "b"}, {"": "text"}, "25:99", "x" * 3000,
]  # fmt: skip


def places(model: type[BaseModel] = Policy) -> Iterator[list[str]]:
    """Every field of the policy, at any depth."""
    for name, field in model.model_fields.items():
        yield [name]
        for inner in _models(field.annotation):
            yield from ([name, *rest] for rest in places(inner))


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:12])
def test_no_field_whatever_is_wrong_with_it_is_left_without_a_word_of_what_it_takes(
    value: JsonValue,
) -> None:
    for place in places():
        document = value
        for name in reversed(place):
            document = {name: document}
        assert isinstance(document, dict)
        with suppress(pytest.fail.Exception):  # some of them fit somewhere
            for one in mistakes(json.dumps({"domain": "d", **document})):
                assert one.remedy, (place, one)
                assert ANYTHING not in one.remedy, (place, one)


def test_conflicts_are_told_together_with_mistakes_but_not_those_that_rest_on_one() -> None:
    text = """domain: algebra
seed: 0
max_calls: 10
signature:
  inputs: {items: text}
"""
    both = [(2, 7, "seed"), (3, 12, "max_calls"), (5, 19, "signature.inputs.items")]
    assert told(text) == both
    unknown = text.replace("max_calls: 10", "max_calls: many")
    assert told(unknown) == both
    assert "valid integer" in mistakes(unknown)[1].message
    assert told(text + "min_examples: 1\n") == [both[0], both[2], (6, 15, "min_examples")]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", (1, 1), "nothing in it"),
        ("# only a comment\n", (1, 1), "nothing in it"),
        ("- a\n- b\n", (1, 1), "field: value"),
        ("auto: light\n", (1, 1), "name is missing"),
        ("domain: 7\n", (1, 9), "not a text"),
        ('domain: " a "\n', (1, 9), "not a domain name"),
        ("domain: a\nauto: [light\nseed: 3\n", (3, 5), "flow"),
        ("domain: a\nauto: light\nauto: heavy\n", (3, 1), "twice"),
        ("domain: a\nseed: &x 3\n", (2, 7), "anchor"),
        ("domain: a\nseed: !!int 3\n", (2, 7), "tag"),
        ("domain: a\n---\ndomain: b\n", (2, 1), "second document"),
        ("domain: a\nseed: \x07\n", (2, 7), "character"),
        ("domain: a\nseed: .inf\n", (2, 7), "finite"),
        ("domain: a\n" + "# long\n" * 10_000, (1, 1), "at most"),
        ("domain: a\nsignature: {outputs: {problem: prose}}\n", (2, 32), "'text' or 'list'"),
        ("domain: a\nmin_examples: 90\nmax_examples: 60\n", (1, 1), "min_examples is above"),
    ],
)
def test_a_document_that_is_none_says_where(
    text: str, place: tuple[int, int], message: str
) -> None:
    (one,) = mistakes(text)
    assert (one.line, one.column) == place
    assert message in one.message


def test_a_hopelessly_nested_document_is_refused_at_once() -> None:
    began = time.process_time()
    (one,) = mistakes("domain: a\nweights: " + "[" * 60_000)
    assert "deeper" in one.message
    assert time.process_time() - began < 1


def test_a_conflict_of_one_exception_stands_at_it() -> None:
    text = """domain: a
topics: [sums]
cells:
  exceptions:
    - {topic: sums, difficulty: easy, max: 3}
    - {difficulty: easy, topic: angles, max: 3}
"""
    assert told(text) == [(6, 33, "cells.exceptions.1.topic")]


def test_a_conflict_stands_where_its_field_does() -> None:
    text = """domain: a
min_examples: 50
shares:
  train: 0.89
  val: 0.06
  test: 0.05
signature:
  outputs: {problem: text, keys: text}
"""
    assert told(text) == [
        (5, 8, "shares.val"),
        (6, 9, "shares.test"),
        (8, 12, "signature.outputs.answer"),
        (8, 12, "signature.outputs.solution"),
        (8, 34, "signature.outputs.keys"),
    ]


def test_differences_name_the_field_and_both_values() -> None:
    before = Policy().model_dump(mode="json")
    after = Policy(seed=3, shares=Shares(train=0.4, val=0.3)).model_dump(mode="json")
    assert differences(before, before) == []
    assert differences(before, after) == [
        Difference("shares.train", 0.35, 0.4),
        Difference("shares.val", 0.35, 0.3),
        Difference("seed", 9, 3),
    ]
    del after["seed"]
    assert differences(before, after)[-1] == ("seed", 9, None)
