"""The guarded child: it reads strangers' files, and whatever becomes of it is told."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Iterator

import pytest

from tdsys.core.contamination import marks
from tdsys.core.conversion import ImportOptions
from tdsys.core.intake import Block, Job, Purpose, ReaderDied
from tdsys.errors import InvalidInput, StoreUnavailable
from tdsys.intake import Bounds, GuardedIntake
from tests.factories import NOW
from tests.files import MAPPED, gsm8k, jsonl, records
from tests.processes import children

OPTIONS = ImportOptions.model_validate(MAPPED)
JOB = Job(
    import_id="one", domain="d", filename="f", created_at=NOW.isoformat(), options=OPTIONS
)  # fmt: skip


def read(content: bytes, job: Job = JOB, bounds: Bounds = Bounds()) -> list[Block]:  # noqa: B008
    return list(GuardedIntake(bounds).blocks(job, [content]))


def test_blocks_hold_every_record_once_in_order_and_what_it_takes_to_store_it() -> None:
    blocks = read(jsonl([*records(1100), "{broken"]))
    assert sum(block.read for block in blocks) == 1101
    rows = [row for block in blocks for row in block.rows]
    assert [f"{n} bags" in row.arrival.payload for n, row in enumerate(rows)] == [True] * 1100
    assert len({row.arrival.key for row in rows}) == len({row.template for row in rows}) == 1100
    assert {row.arrival.domain for row in rows} == {"d"}
    (bad,) = [one for block in blocks for one in block.faulty]
    assert (bad.record, bad.line, bad.code, bad.value) == (1101, 1101, "malformed", None)


def test_what_was_dealt_with_is_skipped_and_the_rest_keeps_its_identity() -> None:
    content = jsonl(records(30))
    whole = [row for block in read(content) for row in block.rows]
    rest = [row for b in read(content, JOB.model_copy(update={"skip": 20})) for row in b.rows]
    assert rest == whole[20:]


def test_a_sample_ends_early_and_a_cut_off_end_is_not_its_business() -> None:
    job = Job(purpose=Purpose.SAMPLE, most=2)
    (block,) = read(jsonl(records(5))[:400], job)
    assert list(block.values) == records(2)


def test_a_benchmark_becomes_marks() -> None:
    job = Job(purpose=Purpose.BENCHMARK, options=OPTIONS)
    (block,) = read(jsonl([gsm8k(1), {"question": ""}]), job)
    assert block.marks == tuple(marks(gsm8k(1)["question"]))
    assert [one.code for one in block.faulty] == ["missing_field"]


def test_a_file_that_cannot_be_read_at_all_is_one_error() -> None:
    with pytest.raises(InvalidInput) as refused:
        read(b"PK\x03\x04 a zip archive" + bytes(100))
    assert refused.value.remedy


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGXCPU])
def test_a_child_that_is_killed_is_told_with_its_cause(number: signal.Signals) -> None:
    blocks = GuardedIntake().blocks(JOB, [jsonl(records(5000))])
    next(blocks)
    (pid,) = children(os.getpid(), b"tdsys.intake.child")
    os.kill(pid, number)
    with pytest.raises(ReaderDied, match=r"of CPU|SIGKILL|SIGSEGV"):
        list(blocks)
    assert not children(os.getpid(), b"tdsys.intake.child")


def test_a_silent_child_is_stopped() -> None:
    def stalled() -> Iterator[bytes]:
        yield b"{"
        (pid,) = children(os.getpid(), b"tdsys.intake.child")
        os.kill(pid, signal.SIGSTOP)
        yield b"}"

    with pytest.raises(ReaderDied, match="said nothing for 2 s"):
        list(GuardedIntake(Bounds(silence=2)).blocks(JOB, stalled()))


def test_bytes_that_cannot_be_fetched_are_no_end_of_the_file() -> None:
    def broken() -> Iterator[bytes]:
        yield jsonl(records(3)) + b"\n"
        raise StoreUnavailable("Postgres went away")

    with pytest.raises(StoreUnavailable):
        list(GuardedIntake().blocks(JOB, broken()))


def test_a_reader_who_is_no_longer_listened_to_ends() -> None:
    blocks = GuardedIntake().blocks(JOB, [jsonl(records(5000))])
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]  # it is a generator
    assert not children(os.getpid(), b"tdsys.intake.child")


def test_an_integer_of_many_digits_and_a_deep_value_are_kept_or_refused_exactly() -> None:
    (block,) = read(jsonl([{**gsm8k(1), "id": 10**40}, '{"question":' + "[" * 50 + "]" * 50 + "}"]))
    assert f'"id":{10**40}' in block.rows[0].arrival.payload.replace(" ", "")
    assert [one.code for one in block.faulty] == ["too_deep"]


GOOD = jsonl([gsm8k(1)]) + b"\n"


@pytest.mark.parametrize(
    ("content", "codes", "rows"),
    [
        (GOOD + b'{"question": "caf\xe9"}\n' + GOOD, ["encoding"], 2),
        (GOOD + b'{"question": "\\ud800"}\n' + GOOD, ["bad_character"], 2),
        (GOOD + b'{"question": ' + b"9" * 5000 + b"}\n", ["number_too_long"], 1),
        (GOOD + b'{"question": "a", "question": "b"}', ["duplicate_key"], 1),
        (b"[" * 100_000, ["too_deep"], 0),
        (b"- a: &a [x, x]\n- b: [*a, *a]\n" * 1000, ["alias"], 0),
        (b'question,answer\n"a,b\n' + b"x,y\n" * 1000, ["unclosed_quote"], 0),
        (gzip.compress(GOOD + b" " * 2_000_000), ["gzip_ratio"], 1),
    ],
)
def test_hostile_files_end_in_one_precise_flaw_and_the_good_records_beside_it(
    content: bytes, codes: list[str], rows: int
) -> None:
    blocks = read(content)
    found = [one for block in blocks for one in block.faulty]
    assert [one.code for one in found][: len(codes)] == codes
    assert all(one.message and one.remedy and one.line for one in found)
    assert sum(len(block.rows) for block in blocks) == rows
