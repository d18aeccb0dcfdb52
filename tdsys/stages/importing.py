"""Take a file in, then parse it record by record: good records are stored, bad ones explained."""

from __future__ import annotations

import codecs
import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from tdsys.core.arrival import Arrival, from_capture
from tdsys.core.conversion import ImportOptions, convert
from tdsys.core.example import Capture, Malformed, Source, check_document, check_domain
from tdsys.errors import Conflict, InvalidInput, StoreUnavailable
from tdsys.stages.scoring import Clock
from tdsys.store import Store, examples, imports, policies
from tdsys.store.imports import Import, Reject

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

BLOCK = 500
CHUNK_BYTES = 1 << 20
RAW_SHOWN = 2000
FIELD_SHOWN = 200
# Far more than restarts explain: a file that kills its worker must end as failed.
MOST_CLAIMS = 20

log = logging.getLogger("tdsys.importing")


class Line(NamedTuple):
    """One line of the file."""

    number: int
    text: bytes


class Parsed(NamedTuple):
    """One record, or why it is none."""

    arrival: Arrival | None
    reject: Reject | None


def receive(
    store: Store, *, path: Path, domain: str, options: ImportOptions, now: datetime
) -> tuple[UUID, bool]:
    """Upload a file's bytes; the import's id, and whether the domain is new."""
    check_domain(domain)
    digest, again = _sha256(path), hashlib.sha256()
    with store.begin() as tx:
        created = policies.ensure_domain(tx, domain=domain, now=now)
        import_id = imports.receive(
            tx,
            domain=domain,
            filename=path.name,
            sha256=digest,
            options=options.model_dump(),
            chunks=_chunks(path, again),
            now=now,
        )
        if again.hexdigest() != digest:
            raise InvalidInput(f"{path} changed while it was read", remedy="import it once more")
    return import_id, created


def parse_due(store: Store, *, clock: Clock, lease: timedelta) -> list[Import]:
    """Parse what is due; a killed import is claimed again and goes on after its last block."""
    done: list[Import] = []
    while True:
        with store.begin() as tx:
            claimed = imports.claim(tx, lease=lease, now=clock())
        if claimed is None:
            return done
        done.append(_settle(store, claimed, clock=clock, lease=lease))


def _settle(store: Store, claimed: Import, *, clock: Clock, lease: timedelta) -> Import:
    """Parse to the end, whatever the end is: no import may be claimed for ever."""
    reason = None
    if claimed.attempts > MOST_CLAIMS:
        reason = f"its worker died {MOST_CLAIMS} times"
    else:
        try:
            _parse(store, claimed, clock=clock, lease=lease)
        except (Conflict, StoreUnavailable):
            raise
        except Exception as bug:
            log.exception("import %s cannot be parsed", claimed.id)
            reason = f"{type(bug).__name__}: {bug}"[:RAW_SHOWN]
    with store.begin() as tx:
        imports.hold(tx, claimed=claimed)
        imports.finish(
            tx,
            import_id=claimed.id,
            state="failed" if reason else "finished",
            reason=reason,
            now=clock(),
        )
        return imports.status(tx, import_id=claimed.id)


def _parse(store: Store, claimed: Import, *, clock: Clock, lease: timedelta) -> None:
    options = ImportOptions.model_validate(claimed.options)
    lines = islice(_lines(_content(store, claimed)), claimed.read, None)
    while block := list(islice(lines, BLOCK)):
        parsed = [parse(line, claimed, options, clock()) for line in block]
        _keep(store, claimed, parsed, until=clock() + lease, now=clock())


def _keep(
    store: Store, claimed: Import, parsed: Sequence[Parsed], *, until: datetime, now: datetime
) -> None:
    """Store one block with its rejects and counts, or nothing of it."""
    arrivals = [p.arrival for p in parsed if p.arrival]
    rejects = [p.reject for p in parsed if p.reject]
    with store.begin() as tx:
        imports.hold(tx, claimed=claimed)
        added = examples.add(tx, arrivals=arrivals, source=Source.IMPORTED, due_at=now, now=now)
        imports.advance(
            tx,
            import_id=claimed.id,
            read=len(parsed),
            rejects=rejects,
            new=added.new,
            duplicate=added.duplicate + added.conflicting + added.resent,
            until=until,
        )


def parse(line: Line, claimed: Import, options: ImportOptions, now: datetime) -> Parsed:
    """One line as a capture, or a reject with line, field, code, message and remedy."""
    try:
        return Parsed(from_capture(_capture(line, claimed, options, now)), None)
    except Malformed as bad:
        return Parsed(
            None,
            Reject(
                line=line.number,
                field=bad.path[:FIELD_SHOWN],
                code=bad.code,
                message=bad.what[:RAW_SHOWN],
                remedy=bad.remedy,
                raw=line.text.decode(errors="replace").replace("\x00", "\\0")[:RAW_SHOWN],
            ),
        )


def _capture(line: Line, claimed: Import, options: ImportOptions, now: datetime) -> Capture:
    record = _json(line)
    check_document(record)
    found = convert(record, options)
    provenance = {"file": claimed.filename, "sha256": claimed.sha256, "line": line.number}
    return Capture(
        capture_id=uuid.uuid5(claimed.id, str(line.number)),
        domain=claimed.domain,
        inputs=found.inputs,
        outputs=found.outputs,
        captured_at=now,
        metadata={**found.metadata, "provenance": provenance},
    )


def _json(line: Line) -> JsonValue:
    try:
        record: JsonValue = json.loads(line.text, parse_constant=_no_constant)
    except UnicodeDecodeError as bad:
        raise Malformed(
            "encoding", "", f"not UTF-8 at byte {bad.start}", remedy="save the file as UTF-8"
        ) from None
    except json.JSONDecodeError as bad:
        raise Malformed(
            "not_json",
            "",
            f"{bad.msg} at column {bad.colno}",
            remedy="write one JSON object per line",
        ) from None
    except (RecursionError, ValueError) as bad:
        raise Malformed("not_json", "", str(bad)[:200], remedy="simplify the record") from None
    return record


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _content(store: Store, claimed: Import) -> Iterator[bytes]:
    """The file piece by piece; no transaction stays open between two."""
    for position in count():
        with store.begin() as tx:
            piece = imports.chunk(tx, import_id=claimed.id, position=position)
        if piece is None:
            return
        yield piece


def _lines(chunks: Iterable[bytes]) -> Iterator[Line]:
    """The non-empty lines of the file, numbered from 1; one chunk is in memory at a time."""
    numbers = count(1)
    rest = b""
    for position, chunk in enumerate(chunks):
        whole = rest + (chunk if position else chunk.removeprefix(codecs.BOM_UTF8))
        *lines, rest = whole.split(b"\n")
        # Lines first: a zip that ends must not have taken a number.
        pairs = zip(lines, numbers, strict=False)
        yield from (Line(number, text) for text, number in pairs if text.strip())
    if rest.strip():
        yield Line(next(numbers), rest)


def _chunks(path: Path, digest: Hash) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            yield chunk


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def status(store: Store, *, import_id: UUID) -> Import:
    """How far an import is."""
    with store.begin() as tx:
        return imports.status(tx, import_id=import_id)


def rejects(store: Store, *, import_id: UUID, limit: int) -> list[Reject]:
    """The first records an import refused."""
    with store.begin() as tx:
        return imports.rejects(tx, import_id=import_id, limit=limit)
