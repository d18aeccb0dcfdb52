"""Files become candidates and rejects on a real database, read by a real guarded child."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tdsys.core.conversion import ImportOptions
from tdsys.core.example import Candidate
from tdsys.core.intake import Benchmarks, Block, Faulty, Job
from tdsys.errors import Conflict, InvalidInput, StoreUnavailable
from tdsys.intake import Bounds, GuardedIntake
from tdsys.stages import benchmarks, importing, rehearsing, scoring, uploading
from tdsys.stages.scoring import Limits
from tdsys.store import Store, examples, imports
from tests.factories import NOW, make_assessment, make_verdict
from tests.files import (
    MAPPED,
    Gsm8k,
    csv,
    gsm8k,
    imported,
    in_every_format,
    jsonl,
    records,
    uploaded,
)
from tests.processes import children, wait_for
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier
from tests.stored import LEASE, count

LIMITS = Limits(block=100, lease=LEASE, max_attempts=3)


def counts(done: Any) -> tuple[int, int, int, int]:
    return done.read, done.new, done.duplicate, done.rejected


def rejects(store: Store, import_id: uuid.UUID) -> list[Faulty]:
    return list(importing.every_reject(store, import_id=import_id))


def candidates(store: Store) -> list[Candidate]:
    with store.begin() as tx:
        return examples.claim(tx, limit=100_000, lease=LEASE, now=NOW)


def metadata(store: Store) -> list[dict[str, Any]]:
    with store.begin() as tx:
        rows = tx.exec_driver_sql("SELECT payload->'metadata' FROM example_bodies ORDER BY 1::text")
        return [row[0] for row in rows]


# What comes in


@pytest.mark.criterion("8.1")
@pytest.mark.criterion("8.3")
@pytest.mark.criterion("8.4")
def test_every_format_becomes_the_same_examples(store: Store) -> None:
    files = in_every_format(7)
    first, *others = files
    assert counts(imported(store, files[first], filename=first, **MAPPED)) == (7, 7, 0, 0)
    for name in others:
        done = imported(store, files[name], filename=name, **MAPPED)
        assert counts(done) == (7, 0, 7, 0), name
        assert done.how
    found = sorted(candidates(store), key=lambda one: str(one.outputs["answer"]))
    assert [one.outputs["answer"] for one in found] == ["0", "12", "16", "20", "24", "4", "8"]
    assert {one.source for one in found} == {"imported"}
    assert found[1].outputs["solution"] == "She has 3*4=<<3*4=12>>12."
    assert found[1].cell == ("quantities", "easy")


@pytest.mark.criterion("8.3")
def test_every_example_says_which_file_record_licence_and_people_it_comes_from(
    store: Store,
) -> None:
    content = jsonl(["", {**gsm8k(1), "author": "x", "provenance": "theirs"}])
    done = imported(store, content, license="cc-by-4.0", attribution="Ann", **MAPPED)
    (found,) = metadata(store)
    assert found["provenance"] == {
        "file": "in.jsonl",
        "sha256": done.sha256,
        "import": str(done.id),
        "license": "CC-BY-4.0",
        "attribution": "Ann",
        "record": 1,
        "line": 2,
    }
    assert (found["author"], found["imported_provenance"]) == ("x", "theirs")
    assert found["labelled_by"] == "rules_v1: context, difficulty, topic"
    assert len(found["template"]) == 16


def test_problems_that_differ_in_numbers_and_names_are_counted_as_near_duplicates(
    store: Store,
) -> None:
    told = "{} packs {} boxes with 12 pens each. How many pens are that?"
    same = [
        {**gsm8k(1), "question": told.format(name, n)}
        for name, n in (("Ann", 3), ("Bob", 4), ("Eve", 5))
    ]
    done = imported(store, jsonl([*same, same[0], gsm8k(7)]), **MAPPED)
    assert (*counts(done), done.near_duplicate) == (5, 4, 1, 0, 2)
    later = imported(store, jsonl([{**gsm8k(2), "question": told.format("Tim", 9)}]), **MAPPED)
    assert (later.new, later.near_duplicate) == (1, 1)


# What does not


@pytest.mark.criterion("8.2")
@pytest.mark.criterion("8.5")
def test_every_rejected_record_says_where_what_and_how_to_mend_it(store: Store) -> None:
    lines: list[Any] = [
        gsm8k(1),
        "{broken",
        "[1]",
        "",
        {"question": "x"},
        '{"question": NaN}',
        '{"question": "\\u0000", "answer": "1"}',
        {**gsm8k(2), "question": ["a", "list"]},
        {"question": "What?", "answer": "1 + 1\n#### " + "9" * 401},
        {**gsm8k(3), "note": ["x" * 100_000] * 3},
        gsm8k(1),
    ]
    done = imported(store, jsonl(lines), **MAPPED)
    assert counts(done) == (10, 1, 1, 8)
    found = rejects(store, done.id)
    assert [(one.record, one.line, one.field, one.code) for one in found] == [
        (2, 2, "", "malformed"),
        (3, 3, "", "not_an_object"),
        (4, 5, "solution", "missing_field"),
        (5, 6, "question", "not_finite"),
        (6, 7, "question", "bad_character"),
        (7, 8, "problem", "wrong_type"),
        (8, 9, "answer", "unreadable_answer"),
        (9, 10, "", "too_large"),
    ]
    assert all(one.message and one.remedy for one in found)
    raw = {line if isinstance(line, str) else json.dumps(line) for line in lines}
    assert all(one.raw in raw for one in found if one.code != "too_large")


def test_a_csv_record_is_named_by_its_number_and_line(store: Store) -> None:
    wide = csv([gsm8k(1), gsm8k(2)]) + b'\n"one","two","three"\n'
    done = imported(store, wide, filename="in.csv", **MAPPED)
    (bad,) = rejects(store, done.id)
    assert (done.new, bad.record, bad.code) == (2, 3, "column_count")
    assert bad.line == 6  # answers of two lines
    assert bad.raw.strip() == '"one","two","three"'


def test_what_cannot_be_read_any_further_keeps_what_came_before(store: Store) -> None:
    whole = json.dumps(records(900)).encode()
    done = imported(store, whole[: len(whole) - 50], filename="in.json", **MAPPED)
    assert (done.state, done.new, done.rejected) == ("finished", 899, 1)
    assert done.reason
    assert "the rest of the file was not read" in done.reason


def register(store: Store, problems: list[Gsm8k]) -> None:
    benchmarks.add(
        store,
        GuardedIntake(),
        name="Test set",
        pieces=[jsonl(problems)],
        filename="tests.jsonl",
        options=ImportOptions.model_validate(MAPPED),
        author="ann",
        now=NOW,
    )


@pytest.mark.criterion("8.2")
def test_a_problem_of_a_benchmark_is_rejected_also_with_other_numbers(store: Store) -> None:
    tests = [gsm8k(n) for n in range(100, 104)]
    register(store, tests)
    shouted = {**tests[0], "question": tests[0]["question"].upper().replace(",", " ;")}
    renamed = {**tests[1], "question": tests[1]["question"].replace("Ann", "Bob").replace("4", "7")}
    done = imported(store, jsonl([shouted, renamed, gsm8k(1)]), **MAPPED)
    assert counts(done) == (3, 1, 0, 2)
    for bad in rejects(store, done.id):
        assert (bad.code, bad.field) == ("contaminated", "problem")
        assert "Test set" in bad.message
    with pytest.raises(InvalidInput, match="already"):
        register(store, tests)
    benchmarks.remove(store, name="Test set")
    assert counts(imported(store, jsonl([shouted]), **MAPPED)) == (1, 1, 0, 0)


@pytest.mark.parametrize("domain", ["algebra ", "", "x" * 101, "a\nb"])
def test_a_domain_name_that_cannot_be_stored_is_refused_before_anything_is(
    store: Store, domain: str
) -> None:
    with pytest.raises(InvalidInput, match="is not a domain name"):
        uploaded(store, jsonl([gsm8k()]), domain=domain)


def test_a_file_of_which_nearly_all_is_wrong_is_read_no_further(store: Store) -> None:
    content = jsonl([*records(300), *["{}"] * 9_000])
    done = imported(store, content, **MAPPED)
    assert done.state == "failed"
    assert done.reason
    assert "5,700 of 6,000 records are wrong; the rest of the file was not read" in done.reason
    assert "--map" in done.reason
    assert counts(done) == (6_000, 300, 0, 5_700)
    tried = rehearsing.rehearse(
        store,
        GuardedIntake(),
        pieces=[content],
        filename="in.jsonl",
        domain="j",
        options=ImportOptions.model_validate(MAPPED),
        refused=lambda _: None,
    )
    assert (counts(tried.counts), tried.reason) == (counts(done), done.reason)
    refused = imported(store, content, domain="k", strict=True, **MAPPED)
    assert counts(refused) == (6_000, 0, 0, 6_000)
    assert refused.reason == "--strict: nothing was imported, for 5,700 records are wrong"


# Taking turns


class Stepping(Clock):
    """Three seconds later whenever somebody looks."""

    def __call__(self) -> datetime:
        self.forward(seconds=3)
        return super().__call__()


def test_a_small_import_is_done_while_a_large_one_is_read(store: Store) -> None:
    large = uploaded(store, jsonl(records(600)), **MAPPED).import_id
    small: list[uuid.UUID] = []

    class Late(GuardedIntake):
        def blocks(
            self, job: Job, pieces: Iterable[bytes], benchmarks: Benchmarks | None = None
        ) -> Iterator[Block]:
            for block in super().blocks(job, pieces, benchmarks):
                yield block
                if not small:
                    small.append(uploaded(store, jsonl([gsm8k(9)]), domain="j", **MAPPED).import_id)

    done = importing.read_due(
        store, intake=Late(Bounds(block=50)), clock=Stepping(), lease=timedelta(hours=1)
    )
    assert [one.id for one in done] == [*small, large]
    assert [counts(one) for one in done] == [(1, 1, 0, 0), (600, 600, 0, 0)]
    assert [one.attempts for one in done] == [1, 1]


def test_an_import_that_is_ended_from_outside_costs_only_itself(store: Store) -> None:
    ended = uploaded(store, jsonl(records(300)), **MAPPED).import_id
    other = uploaded(store, jsonl(records(100)), domain="j", **MAPPED).import_id

    class Ending(GuardedIntake):
        def blocks(
            self, job: Job, pieces: Iterable[bytes], benchmarks: Benchmarks | None = None
        ) -> Iterator[Block]:
            for block in super().blocks(job, pieces, benchmarks):
                yield block
                with store.begin() as tx:
                    imports.finish(tx, import_id=ended, state="failed", reason="x", now=NOW)

    intake = Ending(Bounds(block=50))
    (done,) = importing.read_due(store, intake=intake, clock=Clock(), lease=LEASE)
    assert (done.id, done.new) == (other, 100)
    assert importing.status(store, import_id=ended).new == 50


# All or nothing, for trial, again


@pytest.mark.criterion("8.5")
def test_a_strict_import_is_all_or_nothing(store: Store) -> None:
    good = jsonl(records(700))
    done = imported(store, good + b"\n{broken", strict=True, **MAPPED)
    assert counts(done) == (701, 0, 0, 701)
    assert (done.state, done.faulty) == ("finished", 1)
    assert [one.line for one in rejects(store, done.id)] == [701]
    assert candidates(store) == []
    assert counts(imported(store, good, strict=True, **MAPPED)) == (700, 700, 0, 0)


def test_a_dry_run_counts_like_the_import_and_stores_nothing(store: Store) -> None:
    imported(store, jsonl(records(5)), **MAPPED)
    lines = [*records(800), gsm8k(3), gsm8k(799), "{broken", {"question": "x"}]
    told: list[Faulty] = []
    done = rehearsing.rehearse(
        store,
        GuardedIntake(),
        pieces=[jsonl(lines)],
        filename="in.jsonl",
        domain="i",
        options=ImportOptions.model_validate(MAPPED),
        refused=told.append,
    )
    assert counts(done.counts) == (804, 795, 7, 2)
    assert [one.code for one in told] == ["malformed", "missing_field"]
    assert len(candidates(store)) == 5
    real = imported(store, jsonl(lines), **MAPPED)
    assert counts(real) == counts(done.counts)
    assert real.near_duplicate == done.counts.near_duplicate


def test_the_same_file_again_is_not_even_read(store: Store) -> None:
    content = jsonl(records(5))
    done = imported(store, content, **MAPPED)
    again = uploaded(store, content, **MAPPED)
    assert (again.import_id, again.again) == (done.id, True)
    assert importing.read_due(store, intake=GuardedIntake(), clock=Clock(), lease=LEASE) == []
    otherwise = imported(store, content, license="MIT", **MAPPED)
    assert counts(otherwise) == (5, 0, 5, 0)


def test_a_file_that_changes_while_it_is_read_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput, match="changed while it was read"):
        uploading.receive(
            store,
            pieces=[b"x"],
            filename="in.jsonl",
            domain="i",
            options=ImportOptions(),
            actor="ann",
            clock=lambda: NOW,
            sha256="0" * 64,
        )
    with store.begin() as tx:
        assert count(tx, "imports") == 0


# Trust


def judged(store: Store, value: float, **checks: str) -> Any:
    scoring.score_due(
        store,
        judge=ScriptedJudge(lambda _: make_assessment(value)),
        verifier=ScriptedVerifier(make_verdict(**checks)),
        clock=Clock(),
        limits=LIMITS,
    )
    with store.begin() as tx:
        return tx.exec_driver_sql(
            "SELECT e.state, e.reason, round(e.quality::numeric, 2), t.actor, t.detail"
            " FROM examples e JOIN transitions t ON t.example_id = e.id"
        ).one()


@pytest.mark.parametrize("value", [0.1, 0.4])
def test_a_trusted_record_is_admitted_with_the_quality_the_judge_gave_it(
    store: Store, value: float
) -> None:
    imported(store, jsonl([gsm8k(1)]), trust=True, **MAPPED)
    state, reason, quality, actor, detail = judged(store, value)
    assert (state, reason, float(quality), actor) == ("admitted", "trusted", value, "ann")
    assert "ann vouches for it" in detail


@pytest.mark.parametrize(
    ("checks", "state"),
    [({"answer": "failed"}, "rejected"), ({"injection": "suspicious"}, "in_review")],
)
def test_no_trust_overrules_evidence(store: Store, checks: dict[str, str], state: str) -> None:
    imported(store, jsonl([gsm8k(1)]), trust=True, **MAPPED)
    assert judged(store, 0.9, **checks)[0] == state


def test_trust_cannot_be_written_into_a_file(store: Store) -> None:
    forged = {**gsm8k(1), "trust": True, "trusted_by": "root", "metadata": {"trusted_by": "root"}}
    imported(store, jsonl([forged]), **MAPPED)
    assert judged(store, 0.4)[0] == "in_review"


# Whatever dies


@pytest.mark.criterion("8.5")
def test_a_child_that_is_killed_costs_nothing(store: Store) -> None:
    import_id = uploaded(store, jsonl(records(6000)), **MAPPED).import_id
    killed: list[int] = []

    class Murderous(GuardedIntake):
        def blocks(
            self, job: Job, pieces: Iterable[bytes], benchmarks: Benchmarks | None = None
        ) -> Iterator[Block]:
            for block in super().blocks(job, pieces, benchmarks):
                yield block
                if block.read and job.skip not in killed and len(killed) < 2:
                    (pid,) = children(os.getpid(), b"tdsys.intake.child")
                    os.kill(pid, signal.SIGKILL)
                    killed.append(job.skip)  # what it had written before is still read

    intake = Murderous(Bounds(block=200))
    (done,) = importing.read_due(store, intake=intake, clock=Clock(), lease=LEASE)
    assert (done.id, done.state, done.reason) == (import_id, "finished", None)
    assert len(killed) == 2
    assert counts(done) == (6000, 6000, 0, 0)
    assert len(candidates(store)) == 6000


AT_REST = (
    "import tdsys.intake.child, re;"
    "print(re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())[1])"
)


def memory_at_rest() -> int:
    """What a reader has mapped before it reads anything, in bytes."""
    said = subprocess.run([sys.executable, "-c", AT_REST], capture_output=True, check=True)
    return int(said.stdout) * 1024


def test_a_file_that_kills_its_reader_fails_with_the_cause_and_the_place(store: Store) -> None:
    wide = {**gsm8k(1), "note": ["x" * 250_000 for _ in range(4)]}
    small = GuardedIntake(Bounds(memory=memory_at_rest() + (4 << 20)))
    done = imported(store, jsonl([*records(1000), *[wide] * 20]), intake=small, **MAPPED)
    assert done.state == "failed"
    assert done.reason
    assert re.search(
        r"the reader (needed more than \d+ MB of memory|was killed by SIG)", done.reason
    )
    assert f"{done.read:,} records were read before" in done.reason
    assert done.new == done.read
    healthy = imported(store, jsonl([gsm8k(9999)]), **MAPPED)
    assert counts(healthy) == (1, 1, 0, 0)


WORKER = """
import sys
from datetime import UTC, datetime, timedelta
from tdsys.intake import GuardedIntake
from tdsys.stages import importing
from tdsys.store import Store
importing.read_due(Store(sys.argv[1]), intake=GuardedIntake(), lease=timedelta(seconds=60),
                   clock=lambda: datetime.fromisoformat(sys.argv[2]))
"""


@pytest.mark.criterion("8.5")
def test_a_worker_that_is_killed_leaves_the_rest_to_the_next(
    store: Store, database_url: str
) -> None:
    lines: list[Any] = [*records(9_000), "{broken"]
    lines[17] = "{broken"
    import_id = uploaded(store, jsonl(lines), **MAPPED).import_id

    def read() -> int:
        return importing.status(store, import_id=import_id).read

    worker = subprocess.Popen([sys.executable, "-c", WORKER, database_url, NOW.isoformat()])
    wait_for(lambda: read() >= 1000, "some blocks are stored", seconds=60)
    worker.kill()
    worker.wait()
    assert 1000 <= read() < 9_000
    clock = Clock()
    clock.forward(seconds=61)
    # Postgres ends the dead worker's last statement first, and keeps its lock as long.
    (done,) = wait_for(
        lambda: importing.read_due(store, intake=GuardedIntake(), clock=clock, lease=LEASE),
        "the import is claimed again",
    )
    assert (done.state, done.attempts) == ("finished", 2)
    assert counts(done) == (9_001, 8_999, 0, 2)
    assert [one.line for one in rejects(store, import_id)] == [18, 9_001]
    with store.begin() as tx:
        assert count(tx, "examples") == 8_999


def test_two_holders_of_one_import_store_every_record_once(store: Store) -> None:
    import_id = uploaded(store, jsonl(records(1200)), **MAPPED).import_id
    with store.begin() as tx:
        slow = imports.claim(tx, lease=LEASE, now=NOW)
    assert slow
    clock = Clock()
    clock.forward(seconds=61)
    (done,) = importing.read_due(store, intake=GuardedIntake(), clock=clock, lease=LEASE)
    assert (done.id, done.state, done.read, done.new) == (import_id, "finished", 1200, 1200)
    with pytest.raises(Conflict), store.begin() as tx:
        imports.hold(tx, claimed=slow)


def test_an_import_that_kills_its_worker_ends_as_failed(store: Store) -> None:
    uploaded(store, jsonl([gsm8k()]), **MAPPED)
    clock = Clock()
    for _ in range(importing.MOST_STALLS):
        with store.begin() as tx:
            assert imports.claim(tx, lease=LEASE, now=clock())
        clock.forward(seconds=61)
    (done,) = importing.read_due(store, intake=GuardedIntake(), clock=clock, lease=LEASE)
    assert done.state == "failed"
    assert done.reason
    assert "begun 20 times in a row and each time its worker died" in done.reason


def test_outages_of_the_database_are_not_counted_against_a_file_that_is_read(
    store: Store,
) -> None:
    outages = importing.MOST_STALLS + 1
    import_id = uploaded(store, jsonl(records(outages + 5)), **MAPPED).import_id
    clock = Clock()

    class Away(GuardedIntake):
        def blocks(
            self, job: Job, pieces: Iterable[bytes], benchmarks: Benchmarks | None = None
        ) -> Iterator[Block]:
            yield next(iter(super().blocks(job, pieces, benchmarks)))
            raise StoreUnavailable("Postgres is away")

    for _ in range(outages):
        with pytest.raises(StoreUnavailable):
            importing.read_due(store, intake=Away(Bounds(block=1)), clock=clock, lease=LEASE)
        clock.forward(seconds=61)
    (done,) = importing.read_due(store, intake=GuardedIntake(), clock=clock, lease=LEASE)
    assert (done.id, done.state, done.reason) == (import_id, "finished", None)
    assert counts(done) == (outages + 5, outages + 5, 0, 0)


def test_a_lease_is_kept_while_the_reader_is_silent(store: Store) -> None:
    uploaded(store, jsonl([gsm8k()]), **MAPPED)
    beaten = threading.Event()

    class Slow(GuardedIntake):
        def blocks(
            self, job: Job, pieces: Iterable[bytes], benchmarks: Benchmarks | None = None
        ) -> Iterator[Block]:
            assert beaten.wait(20), "the lease was not extended"
            return super().blocks(job, pieces, benchmarks)

    class Running(Clock):
        def __call__(self) -> datetime:
            if threading.current_thread().name == "tdsys-lease":
                beaten.set()
            return super().__call__()

    (done,) = importing.read_due(store, intake=Slow(), clock=Running(), lease=timedelta(seconds=1))
    assert counts(done) == (1, 1, 0, 0)
