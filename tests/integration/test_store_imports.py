"""Imported files: stored in pieces, parsed block by block, every refused record explained."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue
from sqlalchemy.exc import IntegrityError

from tdsys.core.intake import Faulty
from tdsys.errors import Conflict, InvalidInput
from tdsys.store import Store, Tx, imports, policies
from tdsys.store.imports import Progress
from tests.factories import NOW
from tests.stored import LEASE, die, in_one_transaction

BAD = Faulty(
    record=3,
    line=7,
    column=2,
    field="answer",
    code="missing",
    message="no answer",
    remedy="--map",
    raw="{}",
    value={"b": 1, "a": 2},
)
OPTIONS: dict[str, JsonValue] = {"mapping": {"question": "problem", "answer": "solution"}}


def received(tx: Tx, *chunks: bytes, name: str = "a.jsonl", sha256: str = "00") -> UUID:
    import_id = opened(tx, *chunks, name=name)
    imports.seal(tx, import_id=import_id, sha256=sha256, size=sum(map(len, chunks)), now=NOW)
    return import_id


def opened(tx: Tx, *chunks: bytes, name: str = "a.jsonl") -> UUID:
    policies.ensure_domain(tx, domain="algebra", now=NOW)
    import_id = imports.open_(
        tx,
        domain="algebra",
        filename=name,
        options=OPTIONS,
        actor="ann",
        policy_version=1,
        now=NOW,
    )
    for position, chunk in enumerate(chunks):
        imports.append(tx, import_id=import_id, position=position, content=chunk)
    return import_id


def advance(tx: Tx, import_id: UUID, *rejects: Faulty, read: int = 10) -> None:
    imports.advance(
        tx,
        import_id=import_id,
        progress=Progress(done=5, read=read, new=read - len(rejects)),
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
    early = BAD._replace(record=1)
    with store.begin() as tx:
        import_id = received(tx, b"x")
        advance(tx, import_id, BAD, early)
        assert imports.rejects(tx, import_id=import_id, limit=9) == [early, BAD]
        assert imports.rejects(tx, import_id=import_id, limit=1) == [early]
        assert imports.rejects(tx, import_id=import_id, limit=9, after=1) == [BAD]


def test_the_same_reject_is_kept_and_counted_once(store: Store) -> None:
    with store.begin() as tx:
        import_id = received(tx, b"x")
        assert imports.reject(tx, import_id=import_id, rejects=[BAD, BAD]) == 1
        assert imports.reject(tx, import_id=import_id, rejects=[BAD]) == 0
        assert imports.reject(tx, import_id=import_id, rejects=[]) == 0


def test_raw_records_are_kept_whole_with_what_postgres_cannot_hold_made_visible(
    store: Store,
) -> None:
    odd = BAD._replace(field="a\x00", raw="x\x00\ud800" + "y" * 30_000)
    with store.begin() as tx:
        import_id = received(tx, b"x", name="a\x00.jsonl")
        imports.reject(tx, import_id=import_id, rejects=[odd])
        (kept,) = imports.rejects(tx, import_id=import_id, limit=1)
        assert imports.status(tx, import_id=import_id).filename == "a\ufffd.jsonl"
    assert kept.field == "a\ufffd"
    assert kept.raw == "x\ufffd\ufffd" + "y" * 30_000


def test_what_is_only_checked_is_faulty_but_not_yet_rejected(store: Store) -> None:
    with store.begin() as tx:
        import_id = received(tx, b"x")
        progress = Progress(done=1, checked=10)
        imports.advance(
            tx, import_id=import_id, progress=progress, rejects=[BAD], until=NOW + LEASE
        )
        found = imports.status(tx, import_id=import_id)
        assert (found.checked, found.faulty, found.read, found.rejected) == (10, 1, 0, 0)
        imports.end_check(tx, import_id=import_id, passed=False)
        found = imports.status(tx, import_id=import_id)
        assert (found.read, found.new, found.rejected) == (10, 0, 10)


def test_counts_that_do_not_add_up_cannot_be_stored(store: Store) -> None:
    with pytest.raises(IntegrityError, match="every_record_is_counted"), store.begin() as tx:
        imports.advance(
            tx,
            import_id=received(tx, b"x"),
            progress=Progress(done=1, read=10, new=9),
            rejects=[],
            until=NOW + LEASE,
        )


def test_an_upload_is_not_read_before_it_is_complete_and_forgotten_when_it_never_is(
    store: Store,
) -> None:
    with store.begin() as tx:
        import_id = opened(tx, b"half of")
        assert imports.claim(tx, lease=LEASE, now=NOW + LEASE) is None
        assert imports.discard_abandoned(tx, before=NOW) == 0
        assert imports.discard_abandoned(tx, before=NOW + LEASE) == 1
        assert imports.chunk(tx, import_id=import_id, position=0) is None


def test_the_same_bytes_are_found_again(store: Store) -> None:
    with store.begin() as tx:
        first = received(tx, b"x", sha256="aa")
        received(tx, b"y", sha256="bb")
        assert [one.id for one in imports.same(tx, domain="algebra", sha256="aa")] == [first]
        assert imports.same(tx, domain="sums", sha256="aa") == []


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
