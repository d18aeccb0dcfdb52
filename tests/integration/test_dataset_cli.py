"""`tdsys dataset`: versions are frozen, listed, shown, compared and written on the command line."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from tdsys.core.policy import Signature
from tdsys.store import Store
from tests.commanding import Shell, one_line
from tests.integration.test_dataset_versions import latest, placed, retire, unlike
from tests.stepping import captured, ready, score


@pytest.mark.criterion("7.2")
def test_a_version_is_tried_frozen_listed_shown_and_compared(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    clock = ready(store)
    of = ("--domain", "d")
    tried = tdsys("dataset", "build", *of, "--dry-run", "--json").document
    assert (tried["major"], tried["counts"]["train"], tried["missing"]) == (True, 32, [])
    assert tdsys("dataset", "list", *of, "--json").document == []
    built = tdsys("dataset", "build", *of, "--json").document
    assert (built["name"], built["fingerprint"]) == ("1.0", tried["fingerprint"])
    assert "nothing changed since" in tdsys("dataset", "build", *of).out
    captured(store, [unlike(n) for n in range(300, 310)], batch="more")
    score(store, clock)
    gone = min(placed(store, latest(store)))
    retire(store, gone, clock)
    again = tdsys("dataset", "build", *of).out
    assert "version 1.1 of d" in again
    assert "10 came to train, 1 left" in again
    newest, first = tdsys("dataset", "list", *of, "--json").document
    assert (newest["name"], newest["parent_id"], first["name"]) == ("1.1", first["id"], "1.0")
    assert (newest["in_force"], first["in_force"]) == (True, False)
    with store.begin() as tx:  # as going back does
        tx.execute(text("UPDATE dataset_versions SET frozen_at = frozen_at + interval '1 day' "
                        "WHERE id = :id"), {"id": first["id"]})  # fmt: skip
    assert "1.0, in force" in tdsys("dataset", "list", *of).out
    with store.begin() as tx:
        tx.execute(text("UPDATE dataset_versions SET frozen_at = created_at"))
    shown = tdsys("dataset", "show", *of)
    assert f"{gone}" in shown.out
    assert "░" in shown.out
    told = tdsys("dataset", "show", *of, "--json").document
    assert sum(one["examples"] for one in told["cells"]) == 99
    assert [one["example_id"] for one in told["tombstones"]] == [gone]
    compared = tdsys("dataset", "diff", *of, "--json").document
    assert (len(compared["added"]), len(compared["removed"]), compared["same"]) == (10, 1, 89)
    assert "10 came, 1 went" in tdsys("dataset", "diff", *of, "--from", "1.0").out
    assert "follows no other" in one_line(tdsys("dataset", "diff", *of, "--version", "1.0"))
    for name in ("1.0", str(first["id"]), first["fingerprint"], first["fingerprint"][:8]):
        out = tmp_path / "old.jsonl"
        assert tdsys("dataset", "export", *of, "--version", name, "--out", out).code == 0
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(rows) == 90
    assert "no dataset version 9" in one_line(tdsys("dataset", "show", *of, "--version", "9"))


def test_a_major_begins_by_word_and_too_few_examples_make_none(store: Store, tdsys: Shell) -> None:
    ready(store)
    assert tdsys("dataset", "build", "--domain", "d").code == 0
    with store.begin() as tx:
        tx.execute(text("DELETE FROM examples WHERE id IN (SELECT min(id) FROM examples)"))
    begun = tdsys("dataset", "build", "--domain", "d", "--major").out
    assert "version 2.0 of d" in begun
    assert "asked for it" in begun
    with store.begin() as tx:
        tx.execute(text("DELETE FROM examples WHERE id > 20"))
    said = tdsys("dataset", "build", "--domain", "d")
    assert said.code == 3
    assert "more needed" in one_line(said)
    assert "not yet" in tdsys("dataset", "build", "--domain", "d", "--dry-run").out


FIELDS = Signature(
    inputs={"topic": "text", "difficulty": "text"},
    outputs={"problem": "text", "solution": "text", "answer": "text"},
)


@pytest.mark.criterion("5.3")
@pytest.mark.criterion("5.5")
def test_what_does_not_fit_is_listed_by_field_and_the_printed_commands_mend_it(
    store: Store, tdsys: Shell
) -> None:
    clock = ready(store, signature=FIELDS)
    odd = [unlike(n) for n in range(300, 308)]
    for one in odd[:5]:
        one["outputs"] = {**one["outputs"], "answer": 36}
    for one in odd[5:7]:
        one["inputs"] = {"theme": "ratios", "difficulty": "easy", "topic": " "}
    odd[7]["outputs"] = {"problem": odd[7]["outputs"]["problem"], "answer": "36"}
    captured(store, odd, batch="odd")
    score(store, clock)
    said = tdsys("dataset", "check", "--domain", "d", "--json")
    found = said.document
    assert (said.code, found["ready"], found["unfit"]) == (0, True, 8)
    told = Counter((one["field"], one["code"]) for one in found["problems"])
    assert told == {("outputs.answer", "wrong_type"): 5, ("inputs.topic", "empty"): 2,
                    ("outputs.solution", "missing"): 1}  # fmt: skip
    assert all(one["reason"] and one["recovery"] for one in found["problems"])
    assert "the number 36" in tdsys("dataset", "check", "--domain", "d").out
    commands = tdsys("dataset", "check", "--domain", "d", "--fix").out.splitlines()
    assert commands == found["commands"]
    for command in commands:
        assert tdsys(*shlex.split(command)[1:]).code == 0, command
    mended = tdsys("dataset", "check", "--domain", "d", "--json").document
    assert (mended["unfit"], mended["commands"]) == (0, [])
    assert sum(mended["counts"].values()) == 97
    light, heavy = (mended["plans"][auto] for auto in ("light", "heavy"))
    assert light["calls"] < heavy["calls"]
    assert light["tokens"] > 300 * light["calls"]
    assert tdsys("dataset", "build", "--domain", "d").code == 0
    rows = tdsys("dataset", "export", "--domain", "d").out.splitlines()
    answers = {json.loads(row)["outputs"]["answer"] for row in rows}
    assert answers == {"36"}, "as text, like all others"


@pytest.mark.criterion("5.3")
def test_a_domain_that_is_not_ready_says_so_and_ends_with_three(store: Store, tdsys: Shell) -> None:
    ready(store, 12)
    said = tdsys("dataset", "check", "--domain", "d", "--json")
    assert said.code == 3
    assert said.document["missing"][0] == "12 usable examples, 28 more needed"
    assert "is not ready" in one_line(said)
