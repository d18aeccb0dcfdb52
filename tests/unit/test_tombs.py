"""What a program loses when an example is forgotten: the same in its state and in its envelope."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tdsys.core.tombs import ERASED, Gone, Loss, Spared, losses, spared
from tests.factories import NOW

FIELDS: JsonValue = {"inputs": {"topic": "text", "context": "text"}, "outputs": {"problem": "text"}}
ASKED = {"topic": "sums", "context": "a bakery"}
OWN = "The red heron of Marlow borrowed buttons"
GONE = Gone(frozenset({"a"}), frozenset({OWN}), (ASKED,))


def labeled(uid: str, **fields: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {**fields, "dspy_uid": uid}, {"uid": uid, "role": "labeled"}


def bootstrapped(uid: str | None, **fields: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {**fields, "augmented": True}, {"uid": uid, "role": "bootstrapped"}


def without(*demos: tuple[dict[str, Any], dict[str, Any]], gone: Gone = GONE) -> Spared:
    """What is left of a program with these demos, each beside its origin."""
    state: dict[str, JsonValue] = {"demos": [demo for demo, _ in demos], "lm": None}
    envelope: dict[str, JsonValue] = {"signature": FIELDS, "demos": [one for _, one in demos]}
    return spared(state, envelope, gone, at=NOW)


def test_a_bootstrapped_demo_goes_with_its_origin_though_it_says_nothing_of_it() -> None:
    kept, same = bootstrapped("b", problem="1"), labeled("c", problem="2")
    left = without(kept, bootstrapped("a", problem="a model's"), same, labeled("a", problem="x"))
    assert left.state["demos"] == [kept[0], same[0]]
    assert left.envelope["demos"] == [kept[1], same[1]]
    assert left.demos == 2


def test_a_demo_of_another_example_goes_only_for_what_the_forgotten_one_alone_says() -> None:
    same_request = bootstrapped("b", **ASKED, problem="mine")
    quoting = bootstrapped("c", problem=f"Again: {OWN}")
    left = without(same_request, quoting)
    assert (left.state["demos"], left.envelope["demos"]) == ([same_request[0]], [same_request[1]])


def test_a_demo_of_unknown_origin_goes_when_it_asks_for_the_very_same() -> None:
    others = [bootstrapped(None, **{**ASKED, "context": "a harbour"}),
              bootstrapped(None, topic="sums")]  # fmt: skip
    left = without(bootstrapped(None, **ASKED, problem="mine"), *others)
    assert left.envelope["demos"] == [origin for _, origin in others]
    assert left.state["demos"] == [demo for demo, _ in others]


def test_each_predictor_of_a_program_has_its_own_demos() -> None:
    state: dict[str, JsonValue] = {
        "plan": {"demos": [{"p": "1"}, {"p": "2"}]},
        "write": {"demos": [{"w": "1"}]},
        "metadata": {"demos": 3},
    }
    origins: list[JsonValue] = [
        {"uid": "b", "role": "bootstrapped", "predictor": "plan"},
        {"uid": "a", "role": "bootstrapped", "predictor": "write"},
        {"uid": "a", "role": "bootstrapped", "predictor": "plan"},
    ]
    left = spared(state, {"demos": origins}, GONE, at=NOW)
    assert left.state == {
        "plan": {"demos": [{"p": "1"}]}, "write": {"demos": []}, "metadata": {"demos": 3},
    }  # fmt: skip
    assert (left.envelope["demos"], left.demos) == (origins[:1], 2)


def test_where_demos_and_origins_do_not_match_each_is_looked_at_by_itself() -> None:
    demos: list[JsonValue] = [{"dspy_uid": "a"}, {"problem": "b's"}, {**ASKED, "augmented": True}]
    origins: list[JsonValue] = [{"uid": "b"}, {"uid": "a"}]
    left = spared({"demos": demos}, {"signature": FIELDS, "demos": origins}, GONE, at=NOW)
    assert left.state["demos"] == demos[1:2]
    assert (left.envelope["demos"], left.demos) == (origins[:1], 2)


def test_what_an_instruction_quotes_is_erased_and_the_signature_stays_whole() -> None:
    fields: JsonValue = [{"prefix": "Problem:", "description": f"like {OWN}"}]
    state: dict[str, JsonValue] = {
        "demos": [],
        "train": [{"problem": OWN, "answer": "12"}],
        "signature": {"instructions": f"Write: {OWN}.", "fields": fields},
    }
    left = spared(state, {"instruction": OWN}, GONE, at=NOW)
    assert left.state["signature"] == {
        "instructions": f"Write: {ERASED}.",
        "fields": [{"prefix": "Problem:", "description": f"like {ERASED}"}],
    }
    assert (left.state["train"], left.envelope["instruction"]) == ([], ERASED)
    assert losses(left.envelope) == [Loss(NOW, 0)]


def test_a_program_says_when_its_prompt_lost_something_and_nothing_of_what_it_was() -> None:
    first = without(bootstrapped("a", problem="x"), bootstrapped("b", problem="y"))
    assert losses(first.envelope) == [Loss(NOW, 1)]
    assert first.envelope["forgotten"] == [{"at": NOW.isoformat(), "demos": 1}]
    untouched = spared(first.state, first.envelope, GONE, at=NOW)
    assert untouched == (first.state, first.envelope, 0)
    again = GONE._replace(uids=frozenset({"b"}))
    assert losses(spared(first.state, first.envelope, again, at=NOW).envelope) == [Loss(NOW, 1)] * 2


TEXTS = st.sampled_from(["", "x", OWN, f"so {OWN}"])
UIDS = st.sampled_from(["a", "b", "c"])
DEMOS = st.one_of(
    st.builds(lambda uid, text: labeled(uid, problem=text), UIDS, TEXTS),
    st.builds(
        lambda uid, text, topic: bootstrapped(uid, problem=text, context="a bakery", topic=topic),
        st.none() | UIDS,
        TEXTS,
        st.sampled_from(["sums", "ratios"]),
    ),
)


@given(st.lists(DEMOS, max_size=6))
def test_state_and_envelope_always_lose_the_same_demos(
    demos: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    numbered = [({**demo, "n": n}, {**origin, "n": n}) for n, (demo, origin) in enumerate(demos)]
    left = without(*numbered)
    shown, named = left.state["demos"], left.envelope["demos"]
    assert isinstance(shown, list)
    assert isinstance(named, list)
    kept = [one["n"] for one in shown if isinstance(one, dict)]
    assert kept == [one["n"] for one in named if isinstance(one, dict)]
    assert left.demos == len(demos) - len(kept)
    assert all(origin["uid"] != "a" for _, origin in (demos[int(str(n))] for n in kept))
    assert OWN not in str(left.state)
