"""`tdsys policy`, as people type it: every run of a command is in this process, on real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tdsys.store import Store, policies
from tests.commanding import Shell, one_line
from tests.factories import make_capture
from tests.stored import ingest


def test_a_policy_is_shown_and_changed_field_by_field(store: Store, tdsys: Shell) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture(domain="sums")])
    said = tdsys("policy", "set", "--domain", "sums", "collection=manual", "min_examples=80")
    assert (said.code, said.out) == (0, "sums has policy version 2\n")
    assert tdsys("policy", "set", "--domain", "sums", "growth=0.5").out.endswith("version 3\n")
    shown = json.loads(tdsys("policy", "show", "--domain", "sums", "--json").out)
    assert shown["version"] == 3
    policy = shown["policy"]
    assert (policy["collection"], policy["min_examples"], policy["growth"]) == ("manual", 80, 0.5)
    assert "min_examples" in tdsys("policy", "show", "--domain", "sums").out


def test_a_domain_may_have_its_policy_before_its_first_example(store: Store, tdsys: Shell) -> None:
    assert "new domain" in tdsys("policy", "set", "--domain", "sums", "collection=off").out
    with store.begin() as tx:
        assert policies.current(tx, domain="sums")[1].collection == "off"


def test_of_a_section_one_field_is_set_and_the_others_stay(store: Store, tdsys: Shell) -> None:
    whole = 'lifecycle={"max_alike": 3, "retire_after_days": 30}'
    fields = ("lifecycle.max_admitted=500", "lifecycle.purge_after_days.retired=90",
              "lifecycle.retire_after_days=null")  # fmt: skip
    assert tdsys("policy", "set", "--domain", "sums", whole, *fields).code == 0
    with store.begin() as tx:
        found = policies.current(tx, domain="sums")[1].lifecycle
    assert (found.max_alike, found.max_admitted, found.retire_after_days) == (3, 500, None)
    assert found.purge_after_days
    assert found.purge_after_days.retired == 90


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("min_examples=1", "min_examples: it should be greater"),
        ("min_examples=[1", "min_examples: it should be a valid integer"),
        ("collection=sometimes", "collection: it should be 'automatic'"),
        ("shares.train=1", "shares.train: it should be less than 1"),
        ("shares=" + json.dumps({"train": 0.9, "val": 0.9, "test": 0.9}), "shares: "),
        ("min_examples=x", "— use a whole number (before the first version)"),
        ("growth=0", "— use more than 0 (share of new examples"),
        ("auto=huge", "— use 'light', 'medium' or 'heavy' (the optimizer's budget"),
        ("topics=easy", '— use a list such as ["easy", "hard"]'),
        ("blind_reviews=perhaps", "— use true or false"),
        ("shares=3", "— use an object of train, val, test"),
        ("min_exmples=50", "— did you mean min_examples?"),
        ("lifecycle.max_admited=50", "policy lifecycle.max_admited: there is no such field"),
        ("lifecycle.max_admited=50", "— did you mean max_admitted?"),
        ("lifecycle.size=50", "— the fields are retire_after_days, retire_sources, max_admitted"),
        ("lifecyle.max_admitted=50", "policy lifecyle: there is no such field"),
        ("seed.max_admitted=50", "policy seed: it should be a valid integer"),
        ("seed", "NAME=VALUE"),
    ],
)
def test_a_policy_that_is_none_names_the_field_and_changes_nothing(
    store: Store, tdsys: Shell, field: str, said: str
) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture(domain="sums")])
    refused = tdsys("policy", "set", "--domain", "sums", field)
    assert refused.code == 2
    assert said in one_line(refused)
    with store.begin() as tx:
        assert policies.current(tx, domain="sums")[0] == 1


def document(folder: Path, *lines: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.criterion("3.5")
def test_a_policy_is_printed_edited_compared_and_applied(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(tdsys("policy", "init", "--domain", "sums").out)
    assert tdsys("policy", "validate", path).out == "sums: a policy that can be applied\n"
    assert "sums, a new domain, has policy version 1" in tdsys("policy", "apply", path).out
    path.write_text(path.read_text().replace("min_examples: 50", "min_examples: 80"))
    said = tdsys("policy", "diff", path)
    assert said.out == "min_examples: 50 -> 80\nsums would have policy version 2\n"
    assert tdsys("policy", "apply", path, "--dry-run").out == said.out
    with store.begin() as tx:
        assert policies.current(tx, domain="sums")[0] == 1
    assert tdsys("policy", "apply", path).out.endswith("sums has policy version 2\n")
    assert "has this policy already, as version 2" in tdsys("policy", "apply", path).out
    path.write_text(tdsys("policy", "show", "--domain", "sums").out)
    assert tdsys("policy", "apply", path, "--json").document == {
        "domain": "sums", "version": 2, "new_domain": False, "applied": False, "changed": [],
        "warnings": [],
    }  # fmt: skip


def test_a_refused_policy_names_every_place_and_ends_with_3(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    path = document(tmp_path, "domain: sums", "auto: hevy", "sed: 4")
    for command in ("validate", "diff", "apply"):
        said = tdsys("policy", command, path)
        assert said.code == 3
        assert [line.split(" ")[0] for line in said.out.splitlines()] == [
            "policy.yaml:2:7:",
            "policy.yaml:3:1:",
        ]
        assert "policy.yaml is refused for 2 mistakes" in said.err
    said = tdsys("policy", "validate", path, "--json")
    assert (said.code, said.document["valid"]) == (3, False)
    assert [one["line"] for one in said.document["mistakes"]] == [2, 3]
    with store.begin() as tx:
        assert policies.domains(tx) == []


def test_a_document_is_checked_without_a_server(
    process: pytest.MonkeyPatch, shell: Shell, tmp_path: Path
) -> None:
    process.setenv("TDSYS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    process.setenv("TDSYS_REDIS_URL", "redis://127.0.0.1:1")
    path = document(tmp_path, "domain: sums", "max_calls: 10")
    said = shell("policy", "validate", path)
    assert (said.code, said.out.startswith("policy.yaml:2:12: max_calls: ")) == (3, True)
    assert shell("policy", "init", "--domain", "sums").code == 0


def test_a_document_that_is_no_text_is_one_line(tdsys: Shell, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"domain: \xff\xfe")
    said = tdsys("policy", "validate", path)
    assert (said.code, "byte 9 is no UTF-8" in one_line(said)) == (2, True)


def test_a_document_that_never_ends_is_refused_for_its_length(tdsys: Shell, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("é" * 3_000_000)
    said = tdsys("policy", "validate", path)
    assert (said.code, "at most 65,536" in said.out) == (3, True)


def test_versions_are_listed_and_an_earlier_one_comes_back_as_the_next(
    store: Store, tdsys: Shell
) -> None:
    tdsys("policy", "set", "--domain", "sums", "seed=5")
    tdsys("policy", "set", "--domain", "sums", "seed=6", "growth=0.5")
    listed = tdsys("policy", "history", "--domain", "sums", "--json").document["versions"]
    assert [(one["version"], [c["field"] for c in one["changed"]]) for one in listed] == [
        (3, ["growth", "seed"]),
        (2, ["seed"]),
        (1, []),
    ]
    assert listed[-1]["author"] == "default"
    history = tdsys("policy", "history", "--domain", "sums").out
    assert "growth: 0.2 -> 0.5" in history
    assert "seed: 5 -> 6" in history
    assert "\\n" not in history
    rollback = ("policy", "rollback", "--domain", "sums", "--to")
    assert "would have policy version 4" in tdsys(*rollback, "2", "--dry-run").out
    said = tdsys(*rollback, "2")
    assert said.out == "growth: 0.5 -> 0.2\nseed: 6 -> 5\nsums has policy version 4\n"
    with store.begin() as tx:
        assert policies.current(tx, domain="sums")[1].seed == 5
    old = tdsys("policy", "show", "--domain", "sums", "--version", "3", "--json").document
    assert (old["version"], old["policy"]["seed"]) == (3, 6)
    refused = tdsys(*rollback, "9")
    assert (refused.code, "use 1 to 4" in one_line(refused)) == (2, True)


def test_a_field_that_conflicts_with_the_others_is_not_set(store: Store, tdsys: Shell) -> None:
    said = tdsys("policy", "set", "--domain", "sums", "max_calls=10")
    assert (said.code, "max_calls: 10 are fewer" in one_line(said)) == (2, True)
    with store.begin() as tx:
        assert policies.domains(tx) == []


def test_the_policy_of_an_unknown_domain_names_the_known_ones(store: Store, tdsys: Shell) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture(domain="sums")])
    said = tdsys("policy", "show", "--domain", "summs")
    assert (said.code, "use one of: sums" in one_line(said)) == (2, True)


@pytest.mark.criterion("3.4")
def test_a_field_that_no_example_holds_is_warned_of_when_a_policy_is_compared(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture(domain="sums")])
    path = document(
        tmp_path,
        "domain: sums",
        "signature:",
        "  inputs: {topic: text, grade: text}",
        "  outputs: {problem: text, solution: text, answer: text, hints: list}",
    )
    said = tdsys("policy", "diff", path)
    assert said.code == 0
    assert [line.split(":")[0] for line in said.err.splitlines()] == [
        "signature.inputs.grade",
        "signature.outputs.hints",
    ]
    assert "none of the newest 1 examples holds it as list" in said.err
    told = tdsys("policy", "apply", path, "--json").document
    assert (told["applied"], len(told["warnings"])) == (True, 2)
    assert tdsys("policy", "init", "--domain", "new").code == 0
    path.write_text(path.read_text().replace("domain: sums", "domain: empty"))
    assert tdsys("policy", "diff", path).err == ""
