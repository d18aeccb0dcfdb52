"""The command line: what it echoes is harmless, what it refuses changes nothing, and every state
has a way out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tdsys import runtime
from tdsys.__main__ import main
from tdsys.cli import cli
from tdsys.cli import importing as cli_importing
from tdsys.core.lifecycle import Move, State
from tdsys.core.patience import Patience
from tdsys.core.printable import printable
from tdsys.core.rubric import Decision
from tdsys.demo import report
from tdsys.demo.result import DomainResult, Heat, summary
from tdsys.demo.story import refuse_used
from tdsys.errors import NotReady
from tdsys.runtime import Runtime
from tdsys.settings import Settings
from tdsys.stages import importing, monitoring
from tdsys.store import Store, examples, policies, runs
from tdsys.store.imports import Import
from tests.commanding import Said, Shell, one_line
from tests.factories import NOW, PROBLEM, make_capture, make_captures
from tests.stored import LEASE, admit, claim, count, decide, enqueue, freeze, ingest, keep

MARKUP = "[/x]"
TITLE = "\x1b]0;owned\x07"  # sets a terminal's title
REVIEW = Decision(move=Move.REVIEW, reason="suspicious", quality=0.5)
GOOD = {"problem": "1 + 1?", "solution": "<<1+1=2>>2", "answer": "2"}


def written(path: Path, *records: object) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def uploaded(path: Path) -> uuid.UUID:
    """The file, uploaded by the command."""
    with pytest.raises(SystemExit):
        main(("import", str(path), "--domain", "sums", "--yes", "--detach"))
    with runtime.current().store.begin() as tx:
        found = tx.exec_driver_sql("SELECT id FROM imports ORDER BY created_at DESC").first()
    assert found
    return uuid.UUID(str(found[0]))


def parsed(store: Store) -> Import:
    here = runtime.current()
    (done,) = importing.read_due(store, intake=here.intake, clock=here.now, lease=LEASE)
    return done


# What is echoed


@given(st.text())
def test_nothing_a_terminal_obeys_is_left_in_printable_text(text: str) -> None:
    shown = printable(text)
    assert all(c.isprintable() or c.isspace() for c in shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3 × ½ = 1,5 €, naïve 数学 👍", "3 × ½ = 1,5 €, naïve 数学 👍"),
        (TITLE, r"\x1b]0;owned\x07"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b31m \u202eegami \u200b", r"\x9b31m \u202eegami \u200b"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_control_characters_are_written_out_and_all_others_stay(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_domain_that_looks_like_markup_is_shown_as_it_is(store: Store, tdsys: Shell) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture(domain=MARKUP), make_capture(domain="sums")])
    said = tdsys("optimize", "status")
    assert said.code == 0, said
    assert MARKUP in said.out
    assert "sums" in said.out


def test_what_a_model_answered_cannot_steer_the_terminal(store: Store, tdsys: Shell) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(9))
        run_id = enqueue(tx, freeze(tx))
        assert run_id
        reason = f"the model refused us: {MARKUP} {TITLE}"
        runs.finish(tx, run_id=run_id, state="failed", reason=reason, outcome=None, now=NOW)
    said = tdsys("optimize", "status")
    assert said.code == 0, said
    assert rf"{MARKUP} \x1b]0;owned\x07" in said.out
    assert "\x1b" not in said.out
    assert json.loads(tdsys("optimize", "status", "--json").out)[0]["run"]["reason"] == reason


def test_a_file_may_have_any_name_and_its_keys_are_shown_harmlessly(
    here: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uploaded(written(tmp_path / f"[red]{TITLE}.jsonl", GOOD, {TITLE: "\x00"}))
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli_importing.show(parsed(here), as_json=False)
    said = Said(int(ended.value.code or 0), *capsys.readouterr())
    assert said.code == 4
    assert r"[red]\x1b]0;owned\x07.jsonl: 2 read, 1 new" in said.out
    assert r"line 2, column 27, record 2, field \x1b]0;owned\x07" in said.err
    assert "\x1b" not in said.out + said.err


def test_an_error_is_one_harmless_line(tdsys: Shell) -> None:
    said = tdsys("policy", "set", "--domain", "sums", f"{TITLE}\n{MARKUP}=1")
    assert said.code == 2
    assert r"\x1b]0;owned\x07\n[/x]" in one_line(said)


# Importing


def test_without_a_worker_an_import_says_so_once_and_goes_on_waiting(
    here: Store, tmp_path: Path
) -> None:
    import_id = uploaded(written(tmp_path / "[red].jsonl", GOOD))
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        parsed(here)  # somebody starts a worker

    done = cli_importing.follow(import_id, patience=0.2, tell=tell)
    assert (done.state, done.new) == ("finished", 1)
    (line,) = said
    assert "no worker seems to be running" in line
    assert "tdsys up" in line


def test_a_standstill_is_told_once_and_progress_starts_the_wait_anew() -> None:
    patience = Patience(10)
    looks = [("a", 0.0), ("a", 9.9), ("a", 10.0), ("a", 30.0), ("b", 31.0), ("b", 40.0), ("b", 41)]
    assert [patience.is_out(mark, now=now) for mark, now in looks] == [
        False, False, True, False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("domain", ["algebra ", "", " ", "a" * 101, "a\nb", "a\x1bb"])
def test_a_name_no_worker_could_take_is_refused_before_anything_is_stored(
    store: Store, tdsys: Shell, tmp_path: Path, domain: str
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(GOOD))
    said = tdsys("import", str(path), "--domain", domain, "--detach")
    assert said.code == 2
    assert "domain name" in one_line(said)
    with store.begin() as tx:
        assert not policies.domains(tx)
        assert not count(tx, "imports")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--map", "question=probelm"), "'probelm'"),
        (("--set", "grade=5"), "'grade'"),
        (("--map", "a=problem", "--map", "b=problem"), "2 sources"),
        (("--map", "a=problem", "--map", "a=solution"), "'a' twice"),
        (("--map", "problem"), "NAME=VALUE"),
    ],
)
def test_a_mapping_that_would_lose_data_is_one_line_and_exit_2(
    store: Store, tdsys: Shell, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(GOOD))
    refused = tdsys("import", str(path), "--domain", "sums", *words)
    assert refused.code == 2
    assert said in one_line(refused)
    assert " — " in refused.err
    with store.begin() as tx:
        assert not policies.domains(tx)


# Exporting


@pytest.mark.parametrize("kind", ["dataset", "program"])
def test_an_export_that_has_nothing_to_write_leaves_the_file_alone(
    store: Store, tdsys: Shell, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "out.json"
    path.write_text("precious")
    with store.begin() as tx:
        ingest(tx, [make_capture(domain="sums")])
    said = tdsys(kind, "export", "--domain", "sums", "--out", str(path))
    assert said.code == 3
    assert "yet" in one_line(said)
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def frozen(store: Store) -> Any:
    words = {**PROBLEM, "problem": "Wie viele Brötchen? 多少"}
    captures = [make_capture(outputs={**words, "answer": str(n)}) for n in range(9)]
    with store.begin() as tx:
        admit(tx, captures)
        return freeze(tx)


@pytest.mark.parametrize("form", ["jsonl", "dspy"])
def test_a_dataset_in_a_file_is_what_is_printed_without_one(
    store: Store, tdsys: Shell, tmp_path: Path, form: str
) -> None:
    frozen(store)
    words = ("dataset", "export", "--domain", "arithmetic", "--format", form)
    path = tmp_path / "out.json"
    path.write_text("older")
    assert tdsys(*words, "--out", str(path)).code == 0
    assert "多少" in path.read_text(encoding="utf-8")
    first, second = tdsys(*words), tdsys(*words)
    assert first.out == second.out == path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_a_program_is_written_with_its_provenance(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    version = frozen(store)
    with store.begin() as tx:
        keep(tx, version, state={"x": "多少"}, envelope={"seed": 9})
    path = tmp_path / "program.json"
    said = tdsys("program", "export", "--domain", "arithmetic", "--out", str(path))
    assert said.code == 0, said
    assert json.loads(path.read_text(encoding="utf-8")) == {"x": "多少"}
    assert json.loads((tmp_path / "program.envelope.json").read_text())["seed"] == 9
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_cannot_be_written_is_one_line(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    frozen(store)
    nowhere = str(tmp_path / "nowhere" / "out.json")
    said = tdsys("dataset", "export", "--domain", "arithmetic", "--out", nowhere)
    assert said.code == 2
    assert "nowhere" in one_line(said)


# Runs


def test_a_run_can_be_cancelled_and_another_one_asked_for(store: Store, tdsys: Shell) -> None:
    version = frozen(store)
    none = tdsys("optimize", "cancel", "--domain", "arithmetic")
    assert (none.code, "no open run" in one_line(none)) == (3, True)
    queued = tdsys("optimize", "retry", "--domain", "arithmetic")
    assert (queued.code, "is queued" in queued.out) == (0, True), queued
    assert tdsys("optimize", "retry", "--domain", "arithmetic").code == 3
    assert tdsys("optimize", "cancel", "--domain", "arithmetic").code == 0
    with store.begin() as tx:
        run = runs.last_for(tx, domain="arithmetic")
    assert run
    assert (run.version_id, run.cancel_requested) == (version.id, True)


# Examples


def in_review(store: Store, count: int = 2, **over: Any) -> list[int]:
    with store.begin() as tx:
        ingest(tx, make_captures(count, **over))
        claimed = claim(tx)
        assert all(decide(tx, candidate, REVIEW) for candidate in claimed)
    return [candidate.id for candidate in claimed]


def test_what_waits_for_a_person_is_listed_harmlessly(store: Store, tdsys: Shell) -> None:
    ids = in_review(store, 1, domain=MARKUP)
    in_review(store, 1, domain="sums")
    said = tdsys("examples", "list", "--state", "in_review")
    assert said.code == 0, said
    assert all(word in said.out for word in (MARKUP, "sums", "suspicious", "A bakery sells"))
    words = ("examples", "list", "--state", "in_review", "--domain", MARKUP, "--json")
    (one,) = json.loads(tdsys(*words).out)
    assert (one["id"], one["state"], one["domain"]) == (ids[0], "in_review", MARKUP)
    assert json.loads(tdsys("examples", "list", "--state", "parked", "--json").out) == []


def test_a_long_list_says_that_there_may_be_more(store: Store, tdsys: Shell) -> None:
    in_review(store, 3)
    said = tdsys("examples", "list", "--state", "in_review", "--limit", "2")
    assert "--limit shows more" in one_line(said)


def test_a_person_moves_examples_and_one_that_cannot_does_not_hold_up_the_others(
    store: Store, tdsys: Shell
) -> None:
    first, second = map(str, in_review(store))
    assert tdsys("examples", "move", first, "--to", "reject", "--reason", "wrong").code == 0
    said = tdsys("examples", "move", first, second, "--to", "approve", "--reason", "it is fine")
    assert (said.code, said.out) == (1, f"example {second}: admitted\n")
    assert f"example {first}: " in one_line(said)
    with store.begin() as tx:
        (kept,) = examples.listed(tx, state=State.ADMITTED, domain=None, limit=9)
    assert (str(kept.id), kept.reason) == (second, "it is fine")


def test_a_move_of_nothing_or_without_a_reason_is_refused(tdsys: Shell) -> None:
    said = tdsys("examples", "move", "4711", "--to", "approve", "--reason", "it is fine")
    assert (said.code, "no example 4711" in one_line(said)) == (2, True)
    assert tdsys("examples", "move", "1", "--to", "approve", "--reason", " ").code == 2
    assert tdsys("examples", "move", "1", "--to", "admit", "--reason", "x").code == 2


# The demo, and the models


def test_a_kept_demo_refuses_a_store_that_is_in_use(store: Store) -> None:
    refuse_used(store)
    with store.begin() as tx:
        ingest(tx, make_captures(3))
    with pytest.raises(NotReady, match="3 examples") as refused:
        refuse_used(store)
    assert "TDSYS_HOME" in refused.value.remedy


def demo_report(store: Store, *, simulated: tuple[str, ...]) -> str:
    """What the demo prints about this store."""
    result = summary(
        monitoring.funnel(store),
        [DomainResult(name=MARKUP, why=f"{MARKUP}{TITLE}")],
        stages={},
        simulated=simulated,
        model="openai/writer",
        judge="openai/judge",
        seconds=1,
    )
    assert result.simulated is bool(simulated)
    console = Console(file=io.StringIO(), width=200)
    heat = Heat(MARKUP, monitoring.cells(store, domain=MARKUP))
    report.show(console, result, [heat], folder="here")
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_demo_shows_foreign_text_harmlessly(store: Store) -> None:
    with store.begin() as tx:
        fault = {"fault": f"{MARKUP}{TITLE}"}
        admit(tx, [make_capture(domain=MARKUP, inputs={"topic": MARKUP}, metadata=fault)])
    told = demo_report(store, simulated=())
    assert r"[/x]\x1b]0;owned\x07" in told
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("simulated", "said"),
    [
        (("program", "judge"), "SIMULATED by the offline model"),
        (("program",), "SIMULATED: the program runs on the offline model, openai/judge judges"),
        (("judge",), "SIMULATED in part: the program runs on openai/writer, the offline model"),
        ((), "measured on openai/writer"),
    ],
)
def test_the_demo_says_which_part_is_simulated(
    store: Store, simulated: tuple[str, ...], said: str
) -> None:
    assert said in demo_report(store, simulated=simulated)


@pytest.mark.parametrize(
    ("lm", "judge", "simulated"),
    [
        ("offline", None, ("program", "judge")),
        ("offline", "openai/judge", ("program",)),
        ("openai/writer", "offline", ("judge",)),
        ("openai/writer", None, ()),
    ],
)
def test_whoever_plays_offline_makes_it_a_simulation(
    tmp_path: Path, lm: str, judge: str | None, simulated: tuple[str, ...]
) -> None:
    assert Runtime(Settings(home=tmp_path, lm=lm, judge_lm=judge)).simulated == simulated


@pytest.mark.parametrize(
    ("judge", "own", "address"),
    [
        (None, None, "http://here"),
        ("openai/writer", None, "http://here"),
        ("anthropic/judge", None, None),
        ("openai/judge", None, None),
        ("anthropic/judge", "http://there", "http://there"),
    ],
)
def test_the_key_of_the_judge_never_goes_to_the_host_of_another_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    judge: str | None,
    own: str | None,
    address: str | None,
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "none")
    settings = Settings(
        home=tmp_path,
        lm="openai/writer",
        lm_api_base="http://here",
        judge_lm=judge,
        judge_lm_api_base=own,
    )
    here = Runtime(settings)
    assert here.judge_model.api_base == address
    assert here.program_model.api_base == "http://here"


def piped(*words: str, into: int) -> subprocess.CompletedProcess[bytes]:
    """A command whose output goes to that descriptor, on a machine that says no width."""
    without = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        [sys.executable, "-m", "tdsys", *words],
        stdout=into,
        stderr=subprocess.PIPE,
        env=without,
        check=False,
    )


def test_a_file_gets_each_row_of_a_table_on_one_line_whole_and_without_colour(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    with told.open("wb") as sink:
        assert piped("strategy", "list", into=sink.fileno()).returncode == 0
    _, titles, _, *rows, _ = told.read_text().splitlines()
    wanted = json.loads(CliRunner().invoke(cli, ["strategy", "list", "--json"]).output)
    assert "\x1b" not in told.read_text()
    assert [row.split("│")[1].strip() for row in rows] == [one["name"] for one in wanted]
    assert {len(row) for row in rows} == {len(titles)}
    assert all(one["source"] in row for one, row in zip(wanted, rows, strict=True))


@pytest.mark.parametrize("words", [("strategy", "list"), ("policy", "init", "--domain", "d")])
def test_a_reader_that_goes_away_ends_a_command_without_a_traceback(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = piped(*words, into=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
