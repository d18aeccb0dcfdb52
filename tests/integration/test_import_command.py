"""`tdsys import` and `tdsys benchmark` as somebody types them; a reader works beside."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tdsys import runtime
from tdsys.intake import GuardedIntake
from tdsys.stages import importing
from tdsys.store import Store, policies
from tests.commanding import Said, Shell
from tests.files import Gsm8k, csv, gsm8k, jsonl, records
from tests.stored import LEASE, count

YAML_RECORD = yaml.safe_dump(gsm8k(1), width=10_000).replace("\n", "\n  ").encode()


@pytest.fixture
def tdsys(
    store: Store, database_url: str, process: pytest.MonkeyPatch, shell: Shell
) -> Iterator[Shell]:
    """The command, with somebody who reads what is uploaded."""
    process.setenv("TDSYS_DATABASE_URL", database_url)
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            now = runtime.current().now
            importing.read_due(store, intake=GuardedIntake(), clock=now, lease=LEASE)

    worker = threading.Thread(target=work)
    worker.start()
    yield shell
    ended.set()
    worker.join()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Five good records as GSM8K writes them."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(jsonl(records(5)))
    return path


def counts(said: Said) -> tuple[int, int, int, int]:
    of = said.result
    assert of["read"] == of["new"] + of["duplicate"] + of["rejected"]
    return of["read"], of["new"], of["duplicate"], of["rejected"]


def imported(tdsys: Shell, path: Path, *words: str | Path) -> Said:
    return tdsys("import", path, "--domain", "sums", "--json", *words)


@pytest.mark.criterion("8.5")
@pytest.mark.parametrize(
    ("lines", "code", "expected"),
    [
        ([gsm8k(1), gsm8k(2)], 0, (2, 2, 0, 0)),
        ([gsm8k(1), "{broken", gsm8k(1)], 4, (3, 1, 1, 1)),
        (["{broken", {"question": "x", "answer": "y"}], 1, (2, 0, 0, 2)),
    ],
)
def test_the_exit_code_says_whether_all_some_or_none_came_in(
    tdsys: Shell, tmp_path: Path, lines: list[Any], code: int, expected: tuple[int, int, int, int]
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(jsonl(lines))
    said = imported(tdsys, path)
    assert (said.code, counts(said)) == (code, expected)
    assert "domain sums is new and has the default policy" in said.err
    assert said.result["state"] == "finished"
    plain = tdsys("import", path, "--domain", "other")
    assert plain.code == code
    assert f"{expected[0]} read, {expected[1]} new" in plain.out


def test_a_file_that_is_no_import_file_ends_with_one_line(tdsys: Shell, tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    path.write_bytes(b"PK\x03\x04" + bytes(200))
    said = imported(tdsys, path)
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert " — " in line


def test_without_a_mapping_a_guess_is_shown_used_and_can_be_saved(
    tdsys: Shell, tmp_path: Path, file: Path, store: Store
) -> None:
    saved = tmp_path / "mapping.json"
    words = ("--license", "mit", "--attribution", "OpenAI", "--save-mapping", saved)
    said = imported(tdsys, file, *words)
    assert (said.code, counts(said)) == (0, (5, 5, 0, 0))
    assert "--map question=problem --map answer=solution" in said.err
    assert "2. problem: Ann has 1 bags" in said.err
    assert "answer: 4 | topic: quantities | difficulty: easy" in said.err
    document = json.loads(saved.read_text())
    assert document == {
        "mapping": {"question": "problem", "answer": "solution"},
        "license": "MIT",
        "attribution": "OpenAI",
    }
    as_yaml = tmp_path / "mapping.yaml"
    as_yaml.write_text("mapping: {question: problem, answer: solution}\nlicense: CC0-1.0\n")
    again = imported(tdsys, file, "--mapping", as_yaml, "--set", "topic=sums")
    assert (counts(again), "guessed" in again.err) == ((5, 5, 0, 0), False)
    with store.begin() as tx:
        licences = tx.exec_driver_sql(
            "SELECT DISTINCT payload #>> '{metadata,provenance,license}' FROM example_bodies"
        )
        assert {row[0] for row in licences} == {"MIT", "CC0-1.0"}


def test_a_file_without_anything_like_a_problem_says_which_fields_it_has(
    tdsys: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("left,right\n1,2\n3,4\n")
    said = imported(tdsys, path)
    assert (said.code, counts(said)) == (1, (2, 0, 0, 2))
    assert "no field looks like problem, solution, answer (there are left, right)" in said.err
    assert "--map" in said.err


@pytest.mark.criterion("8.5")
def test_an_errors_file_is_mended_and_imported_again(
    tdsys: Shell, tmp_path: Path, store: Store
) -> None:
    path, errors = tmp_path / "in.jsonl", tmp_path / "errors.jsonl"
    wrong = {**gsm8k(3), "question": 7, "note": "keep"}
    path.write_bytes(jsonl([gsm8k(1), "{broken", {**wrong, "answer": None}]))
    said = imported(tdsys, path, "--errors", errors)
    assert (said.code, counts(said)) == (4, (3, 1, 0, 2))
    unread, unmapped = map(json.loads, errors.read_text().splitlines())
    assert set(unread) == {"_rejected"}
    assert (unread["_rejected"]["raw"], unread["_rejected"]["line"]) == ("{broken", 2)
    assert unmapped["note"] == "keep"
    assert set(unmapped["_rejected"]) == {
        "record", "line", "column", "field", "code", "message", "remedy",
    }  # fmt: skip
    mended = [{**unread, **gsm8k(2)}, {**unmapped, **gsm8k(3)}]
    errors.write_bytes(jsonl(mended))
    repaired = imported(tdsys, errors, "--errors", errors)
    assert (repaired.code, counts(repaired)) == (0, (2, 2, 0, 0))
    assert errors.read_text() == ""
    with store.begin() as tx:
        assert count(tx, "examples WHERE source = 'imported'") == 3
        assert not count(tx, "example_bodies WHERE payload::text LIKE '%%_rejected%%'")
    assert counts(imported(tdsys, path)) == (3, 0, 1, 2)


IN_ANOTHER_FORM: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "nested.json": (
        json.dumps(
            {"v": [{"x": 1}], "data": {"items": [gsm8k(1), {**gsm8k(2), "question": ""}]}}
        ).encode(),
        ("--at", "data.items", "--format", "json"),
    ),
    "cells.txt": (
        f'question~answer\n"{gsm8k(1)["question"]}"~"{gsm8k(1)["answer"]}"\n~"caf\xe9"\n'.encode(
            "latin-1"
        ),
        ("--format", "csv", "--delimiter", "~", "--encoding", "latin-1"),
    ),
}


@pytest.mark.criterion("8.5")
@pytest.mark.parametrize("name", IN_ANOTHER_FORM)
def test_an_errors_file_is_read_as_what_it_is_whatever_was_said_of_the_file_it_came_from(
    tdsys: Shell, tmp_path: Path, name: str
) -> None:
    content, words = IN_ANOTHER_FORM[name]
    path, errors = tmp_path / name, tmp_path / "errors.jsonl"
    path.write_bytes(content)
    words = (*words, "--map", "question=problem", "--map", "answer=solution")
    said = imported(tdsys, path, *words, "--errors", errors)
    assert (said.code, counts(said)) == (4, (2, 1, 0, 1))
    mended = {**json.loads(errors.read_text()), **gsm8k(3)}
    errors.write_bytes(jsonl([mended]))
    repaired = imported(tdsys, errors, *words, "--errors", errors)
    assert (repaired.code, counts(repaired)) == (0, (1, 1, 0, 0))
    assert repaired.result["how"] == "it is an errors file, one rejected record a line"


def test_a_field_that_was_named_and_is_not_there_is_named_beside_those_that_are(
    tdsys: Shell, file: Path
) -> None:
    said = imported(tdsys, file, "--map", "nope=problem", "--map", "answer=solution")
    assert (said.code, counts(said)) == (1, (5, 0, 0, 5))
    first, *_ = said.err.splitlines()
    assert first == (
        "--map nope=problem: none of the first 5 records has a field 'nope' "
        "(there are question, answer)"
    )
    assert "there is no field 'nope' in this record (there are question, answer)" in said.err
    assert "nothing came in: domain sums is there now, and empty" in said.err


def test_a_strict_import_makes_its_domain_only_when_all_comes_in(
    tdsys: Shell, file: Path, store: Store
) -> None:
    good = file.read_bytes()
    file.write_bytes(good + b"\n{broken")
    said = imported(tdsys, file, "--strict")
    assert (said.code, counts(said)) == (1, (6, 0, 0, 6))
    assert "domain sums is new and is made, with the default policy, once the whole" in said.err
    assert "nothing came in: domain sums is not made" in said.err
    with store.begin() as tx:
        assert not policies.domains(tx)
    file.write_bytes(good)
    assert counts(imported(tdsys, file, "--strict")) == (5, 5, 0, 0)
    with store.begin() as tx:
        assert policies.domains(tx) == ["sums"]


@pytest.mark.parametrize("content", [b"", b" \n", b"[]", b"question,answer\n"])
@pytest.mark.parametrize("words", [(), ("--map", "question=problem")])
def test_a_file_without_a_record_is_refused_with_one_sentence_and_makes_no_domain(
    tdsys: Shell, tmp_path: Path, store: Store, content: bytes, words: tuple[str, ...]
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    said = imported(tdsys, path, *words)
    assert said.code == 2
    assert "the file holds no records" in said.err
    with store.begin() as tx:
        assert not policies.domains(tx)


LONG: Gsm8k = {"question": "Ann counts. " * 150_000, "answer": "#### 1"}


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("in.jsonl", jsonl([LONG, gsm8k(1)]), 1),
        ("in.json", json.dumps([LONG, gsm8k(1)]).encode(), 1),
        ("in.csv", csv([LONG, gsm8k(1)]), 2),
        ("in.yaml", b"- question: " + LONG["question"].encode() + b"\n- " + YAML_RECORD, 1),
    ],
)
def test_a_first_record_that_is_longer_than_the_sample_is_told_and_the_others_are_guessed_by(
    tdsys: Shell, tmp_path: Path, name: str, content: bytes, line: int
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = imported(tdsys, path)
    assert (said.code, counts(said)) == (4, (2, 1, 0, 1))
    assert "it is guessed: --map question=problem --map answer=solution" in said.err
    assert f"line {line}, column " in said.err
    assert "longer than 1,048,576 characters (record_too_large)" in said.err


def test_records_behind_a_megabyte_of_nothing_are_found(tdsys: Shell, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n" * 1_500_000 + jsonl([gsm8k(1)]))
    said = imported(tdsys, path, "--format", "jsonl")
    assert (said.code, counts(said)) == (0, (1, 1, 0, 0))
    path.write_bytes(b"\n" * 1_500_000)
    assert "the file holds no records" in imported(tdsys, path, "--format", "jsonl").err


def test_where_no_record_is_in_sight_nothing_is_guessed_and_that_is_told(
    tdsys: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"{broken\n" * 3)
    said = imported(tdsys, path, "--format", "jsonl", "--dry-run")
    assert "no mapping is guessed, for no record of the first 16 MB could be read" in said.err
    assert "name the fields with --map THEIRS=OURS" in said.err


@pytest.mark.parametrize(
    ("content", "kind"), [("42", "a number"), ('" "', "a text"), ("null", "null")]
)
def test_a_lone_value_is_a_record_that_is_no_object(
    tdsys: Shell, tmp_path: Path, content: str, kind: str
) -> None:
    path = tmp_path / "in"
    path.write_text(content)
    said = imported(tdsys, path, "--dry-run")
    assert (said.code, counts(said)) == (1, (1, 0, 0, 1))
    assert f"{kind}, not an object of fields (not_an_object)" in said.err
    assert "domain sums would be new" in said.err


def test_the_same_file_again_says_that_nothing_is_added(tdsys: Shell, file: Path) -> None:
    assert counts(imported(tdsys, file)) == (5, 5, 0, 0)
    again = imported(tdsys, file)
    assert (again.code, counts(again), again.result["again"]) == (0, (5, 0, 5, 0), True)
    assert "was imported in the same way" in again.err


def test_a_dry_run_stores_nothing_and_writes_the_same_errors(
    tdsys: Shell, tmp_path: Path, store: Store
) -> None:
    path, errors = tmp_path / "in.jsonl", tmp_path / "errors.jsonl"
    path.write_bytes(jsonl([gsm8k(1), "{broken"]))
    said = imported(tdsys, path, "--dry-run", "--errors", errors)
    assert (said.code, counts(said), said.result["state"]) == (4, (2, 1, 0, 1), "dry_run")
    with store.begin() as tx:
        assert not any(count(tx, table) for table in ("examples", "imports", "domains"))
    tried = errors.read_text()
    imported(tdsys, path, "--errors", errors)
    assert errors.read_text() == tried


def test_a_strict_import_says_that_nothing_came_in(tdsys: Shell, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(jsonl([gsm8k(1), gsm8k(2), "{broken"]))
    said = imported(tdsys, path, "--strict")
    assert (said.code, counts(said), said.result["faulty"]) == (1, (3, 0, 0, 3), 1)
    assert "--strict: nothing was imported, for 1 records are wrong" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--license", "mti"), "did you mean MIT"),
        (("--delimiter", "ab"), "not one character"),
        (("--detach", "--dry-run"), "--detach does not wait"),
        (("--mapping", "nowhere.json"), "cannot be read"),
        (("--map", "a=problem", "--set", "problem=x"), "2 sources"),
    ],
)
def test_wrong_usage_is_one_line_and_stores_nothing(
    tdsys: Shell, file: Path, store: Store, words: tuple[str, ...], said: str
) -> None:
    refused = imported(tdsys, file, *words)
    assert refused.code == 2
    (line,) = refused.err.splitlines()
    assert said in line
    assert " — " in line
    with store.begin() as tx:
        assert not policies.domains(tx)


def test_a_mapping_file_with_anything_else_is_refused(
    tdsys: Shell, file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mapping.json"
    path.write_text('{"mappings": {"question": "problem"}}')
    refused = imported(tdsys, file, "--mapping", path)
    assert refused.code == 2
    assert "mappings" in refused.err


def test_what_is_no_file_is_refused_at_once_and_a_link_is_followed(
    tdsys: Shell, tmp_path: Path, file: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (
        (tmp_path / "pipe", "a pipe"),
        (tmp_path, "a folder"),
        (Path("/dev/zero"), "a device"),
    ):
        refused = imported(tdsys, path)
        assert refused.code == 2
        assert f"is {kind}, not a file" in refused.err
    assert "No such file" in imported(tdsys, tmp_path / "missing").err
    link = tmp_path / "link"
    link.symlink_to(file)
    assert counts(imported(tdsys, link)) == (5, 5, 0, 0)


def test_a_benchmark_is_registered_listed_and_removed(
    tdsys: Shell, tmp_path: Path, file: Path
) -> None:
    tests = tmp_path / "tests.csv"
    tests.write_text(f'q\n"{gsm8k(2)["question"]}"\n')
    assert (
        "1 problems registered"
        in tdsys("benchmark", "add", "mine", tests, "--map", "q=problem").err
    )
    (listed,) = json.loads(tdsys("benchmark", "list", "--json").out)
    assert (listed["name"], listed["problems"], listed["filename"]) == ("mine", 1, "tests.csv")
    assert "tests.csv" in tdsys("benchmark", "list").out
    said = imported(tdsys, file)
    assert (said.code, counts(said)) == (4, (5, 4, 0, 1))
    assert "this problem is in the benchmark mine (contaminated)" in said.err
    assert tdsys("benchmark", "add", "mine", tests, "--map", "q=problem").code == 2
    assert tdsys("benchmark", "add", "else", file, "--map", "nothing=problem").code == 2
    assert tdsys("benchmark", "remove", "mine").code == 0
    assert "there is no benchmark" in tdsys("benchmark", "remove", "mine").err
    assert counts(imported(tdsys, file)) == (5, 1, 4, 0)


def test_a_benchmarks_problems_are_guessed_and_nothing_else_is_asked_of_them(
    tdsys: Shell, file: Path
) -> None:
    said = tdsys("benchmark", "add", "mine", file)
    assert said.code == 0
    assert "guessed: --map question=problem" in said.err
    assert "solution" not in said.err
