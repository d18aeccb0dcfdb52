"""An example's fields made the program's: by rule only, and every misfit with ways to mend it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from tdsys.core.dataset import Admitted, Member, Split, fingerprint, fits, item
from tdsys.core.example import Source
from tdsys.core.fitting import Misfit, fitted, misfits, renamed, together
from tdsys.core.policy import Signature
from tdsys.core.sections import Conversion
from tests.factories import make_admitted

WANTED = Signature(
    inputs={"topic": "text", "difficulty": "text", "context": "text"},
    outputs={"problem": "text", "answer": "text", "hints": "list"},
)
NONE = Conversion()


def example(**over: Any) -> Admitted:
    """Fits, but for what is said otherwise; None takes a field out."""
    held: dict[str, JsonValue] = {
        "topic": "sums", "difficulty": "easy", "context": "a bakery",
        "problem": "1 + 1?", "answer": "2", "hints": ["think"],
    }  # fmt: skip
    held = {name: value for name, value in (held | over).items() if value is not None}
    inputs = {name: v for name, v in held.items() if name not in WANTED.outputs and name != "clue"}
    outputs = {name: v for name, v in held.items() if name not in inputs}
    return make_admitted(1, inputs=inputs, outputs=outputs)


def one(found: list[Misfit]) -> Misfit:
    (misfit,) = found
    return misfit


@pytest.mark.criterion("5.5")
@pytest.mark.parametrize(
    ("over", "field", "code", "options"),
    [
        ({"context": None}, "inputs.context", "missing", ["default", "drop", "signature"]),
        ({"context": None, "contxt": "a zoo"}, "inputs.context", "missing",
         ["rename", "default", "drop", "signature"]),
        ({"context": " "}, "inputs.context", "empty", ["default", "drop", "signature"]),
        ({"answer": 2}, "outputs.answer", "wrong_type", ["write_out", "drop", "signature"]),
        ({"hints": "think"}, "outputs.hints", "wrong_type", ["write_out", "drop", "signature"]),
        ({"hints": [], "clue": ["x"]}, "outputs.hints", "empty", ["rename", "drop", "signature"]),
        ({"answer": {"x": 1}}, "outputs.answer", "wrong_type", ["drop", "signature"]),
    ],
)  # fmt: skip
def test_each_field_that_misfits_says_why_and_how_to_mend_it(
    over: dict[str, JsonValue], field: str, code: str, options: list[str]
) -> None:
    found = one(misfits(example(**over), WANTED))
    assert (found.field, found.code) == (field, code)
    assert field in found.reason
    assert [way.option for way in found.recovery] == options


def test_what_was_imported_can_be_imported_again() -> None:
    odd = example(answer=None).model_copy(update={"source": Source.IMPORTED})
    ways = {way.option: way.says for way in one(misfits(odd, WANTED)).recovery}
    assert ways["import"] == "import its file again with --map THEIRS=answer"


@pytest.mark.criterion("5.5")
@pytest.mark.parametrize(
    "over",
    [{"context": None, "contxt": "a zoo"}, {"answer": 2}, {"hints": "think"}, {"context": None}],
)
def test_every_way_that_is_a_rule_mends_what_it_is_for(over: dict[str, JsonValue]) -> None:
    odd = example(**over)
    for way in one(misfits(odd, WANTED)).recovery:
        if way.changes:
            mended = fitted(renamed(odd, way.changes), WANTED, way.changes)
            assert not misfits(mended, WANTED)
            assert fits(mended, WANTED)
            assert mended.converted
            assert mended.fingerprint == odd.fingerprint, "who it is stays"


def test_the_likely_rules_for_many_are_put_together_and_no_default_is_made_up() -> None:
    odd = [example(context=None, contxt="a zoo"), example(answer=2), example(context=None)]
    found = [misfit for e in odd for misfit in misfits(e, WANTED)]
    kept = Conversion(defaults={"difficulty": "any"})
    rules = together(found, kept)
    assert rules == Conversion(
        rename={"contxt": "context"}, write_out=True, defaults={"difficulty": "any"}
    )


documents = st.dictionaries(
    st.sampled_from([*WANTED.inputs, *WANTED.outputs, "theme", "clue"]),
    st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none(),
              st.lists(st.text(max_size=3), max_size=2)),
)  # fmt: skip
rules = st.builds(
    Conversion,
    rename=st.sampled_from([{}, {"theme": "topic"}, {"clue": "hints", "theme": "context"}]),
    write_out=st.booleans(),
    defaults=st.sampled_from([{}, {"context": "any", "hints": ["none"]}]),
)


@given(documents, documents, rules)
def test_conversion_only_ever_helps_and_done_twice_is_done_once(
    inputs: dict[str, JsonValue], outputs: dict[str, JsonValue], rules: Conversion
) -> None:
    odd = make_admitted(1, inputs=inputs, outputs=outputs)
    once = fitted(renamed(odd, rules), WANTED, rules)
    assert fitted(renamed(once, rules), WANTED, rules) == once
    before = {m.field for m in misfits(odd, WANTED)}
    after = {m.field for m in misfits(once, WANTED)}
    assert after <= before
    assert fits(once, WANTED) == (not after)
    if not rules.rename and not rules.write_out and not rules.defaults:
        assert once is odd


@pytest.mark.criterion("5.1")
def test_only_fields_of_the_signature_and_a_hidden_id_go_on() -> None:
    seen = item(fitted(example(secret="SECRET", clue="x"), WANTED, NONE), WANTED)
    assert set(seen.inputs) | set(seen.outputs) == {*WANTED.inputs, *WANTED.outputs}
    assert "SECRET" not in seen.model_dump_json()


def test_a_version_of_converted_content_has_another_name() -> None:
    plain = example(answer=2)
    mended = fitted(plain, WANTED, Conversion(write_out=True))

    def name(e: Admitted) -> str:
        return fingerprint([Member(example=e, split=Split.TRAIN, cluster=0)], WANTED)

    assert name(plain) != name(mended)


def test_two_fields_do_not_become_one() -> None:
    with pytest.raises(ValidationError, match="two fields would become topic"):
        Conversion(rename={"theme": "topic", "subject": "topic"})
