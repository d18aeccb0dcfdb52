"""Imported files: stored in pieces, parsed block by block, every refused record explained."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

from tdsys.errors import Conflict, InvalidInput
from tdsys.store import Store, Tx, imports, policies
from tdsys.store.imports import Reject
from tests.factories import NOW
from tests.stored import LEASE, die, in_one_transaction

BAD = Reject(line=3, field="answer", code="missing", message="no answer", remedy="--map", raw="{}")
OPTIONS: dict[str, JsonValue] = {"mapping": {"question": "problem", "answer": "solution"}}


def received(tx: Tx, *chunks: bytes, name: str = "a.jsonl") -> UUID:
    policies.ensure_domain(tx, domain="algebra", now=NOW)
    return imports.receive(
        tx, domain="algebra", filename=name, sha256="00", options=OPTIONS, chunks=chunks, now=NOW
    )


def advance(tx: Tx, import_id: UUID, *rejects: Reject, read: int = 10) -> None:
    imports.advance(
        tx,
        import_id=import_id,
        read=read,
        new=read - len(rejects),
        duplicate=0,
        rejects=rejects,
        until=NOW + 5 * LEASE,
    )


def test_a_file_reads_back_byte_by_byte_in_order(store: Store) -> None:
    pieces = [b"a\x00\xff", b"", bytes(range(256)), b"end"]
    with store.begin() as tx:
        import_id = received(tx, *pieces)
        found = [imports.chunk(tx, import_id=import_id, position=n) for n in range(5)]
        assert found == [*pieces, None]
        assert imports.chunk(tx, import_id=uuid4(), position=0) is None


def test_a_file_waits_to_be_claimed_once(store: Store) -> None:
    with store.begin() as tx:
        import_id = received(tx, b"x")
        claimed = imports.claim(tx, lease=LEASE, now=NOW)
        assert claimed is not None
        assert (claimed.id, claimed.state, claimed.attempts) == (import_id, "running", 1)
        assert (claimed.options, claimed.read) == (OPTIONS, 0)
        assert imports.claim(tx, lease=LEASE, now=NOW) is None


def test_a_killed_import_goes_on_after_its_last_block(store: Store) -> None:
    with store.begin() as tx:
        import_id = received(tx, b"x")
        imports.claim(tx, lease=LEASE, now=NOW)
    with store.begin() as tx:
        advance(tx, import_id, BAD)
    with pytest.raises(ZeroDivisionError):
        in_one_transaction(store, lambda tx: advance(tx, import_id), die)
    with store.begin() as tx:
        assert imports.claim(tx, lease=LEASE, now=NOW + 4 * LEASE) is None
        again = imports.claim(tx, lease=LEASE, now=NOW + 5 * LEASE)
        assert again is not None
    assert (again.attempts, again.read, again.new, again.rejected) == (2, 10, 9, 1)


@pytest.mark.criterion("8.5")
def test_every_refused_record_keeps_line_field_code_message_and_remedy(store: Store) -> None:
    early = BAD._replace(line=1)
    with store.begin() as tx:
        import_id = received(tx, b"x")
        advance(tx, import_id, BAD, early)
        assert imports.rejects(tx, import_id=import_id, limit=9) == [early, BAD]
        assert imports.rejects(tx, import_id=import_id, limit=1) == [early]


def test_the_same_reject_is_kept_and_counted_once(store: Store) -> None:
    with store.begin() as tx:
        import_id = received(tx, b"x")
        assert imports.reject(tx, import_id=import_id, rejects=[BAD, BAD]) == 1
        assert imports.reject(tx, import_id=import_id, rejects=[BAD]) == 0
        assert imports.reject(tx, import_id=import_id, rejects=[]) == 0


def test_raw_lines_that_postgres_cannot_hold_are_shown_as_far_as_they_go(store: Store) -> None:
    odd = BAD._replace(field="a\x00", raw="x\x00\ud800" + "y" * 30_000)
    with store.begin() as tx:
        import_id = received(tx, b"x", name="a\x00.jsonl")
        imports.reject(tx, import_id=import_id, rejects=[odd])
        (kept,) = imports.rejects(tx, import_id=import_id, limit=1)
        assert imports.status(tx, import_id=import_id).filename == "a\ufffd.jsonl"
    assert kept.field == "a\ufffd"
    assert kept.raw.startswith("x\ufffd\ufffdyyy")
    assert len(kept.raw) == 20_000


def test_an_import_ends_once(store: Store) -> None:
    with store.begin() as tx:
        import_id = received(tx, b"x")
        assert imports.finish(tx, import_id=import_id, state="finished", reason=None, now=NOW)
        assert not imports.finish(tx, import_id=import_id, state="failed", reason="x", now=NOW)
        done = imports.status(tx, import_id=import_id)
        assert imports.claim(tx, lease=LEASE, now=NOW + timedelta(days=1)) is None
    assert (done.state, done.reason, done.finished_at) == ("finished", None, NOW)


def test_an_import_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(InvalidInput, match="there is no import"), store.begin() as tx:
        imports.status(tx, import_id=uuid4())


def test_only_the_newest_claim_may_write(store: Store) -> None:
    with store.begin() as tx:
        received(tx, b"x")
        slow = imports.claim(tx, lease=LEASE, now=NOW)
        quick = imports.claim(tx, lease=LEASE, now=NOW + 2 * LEASE)
        assert slow
        assert quick
        assert imports.hold(tx, claimed=quick) == quick
    with pytest.raises(Conflict), store.begin() as tx:
        imports.hold(tx, claimed=slow)
