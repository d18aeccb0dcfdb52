"""What came in: imported files with what was wrong in them, and the batches of captures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from tdsys.core import licences
from tdsys.core.browsing import Filter
from tdsys.core.conversion import FIELDS, ImportOptions, Reading
from tdsys.core.intake import Faulty
from tdsys.core.people import Right
from tdsys.errors import InvalidInput
from tdsys.stages import archive, browsing, uploading
from tdsys.store.imports import Import
from tdsys.web.browse.address import before
from tdsys.web.pages import Done, Download, File, Page, Upload
from tdsys.web.visit import Visit, missing
from tdsys.wire import Task

LISTED = 50
PIECE = 1 << 20
RAW_SHOWN = 2000


def listed(visit: Visit) -> dict[str, Any]:
    """The newest imports, and a form for another."""
    found = archive.imported(
        visit.store, domains=visit.domains, limit=LISTED + 1, before=before(visit)
    )
    shown = found[:LISTED]
    choices = browsing.choices(visit.store, asked=Filter(), domains=visit.domains)
    return {
        "imports": [_told(one) for one in shown],
        "older": f"/imports?before={shown[-1].created_at.timestamp()!r}"
        if len(found) > LISTED
        else None,
        "may_import": visit.person.may(Right.OPERATE),
        "licences": list(licences.KNOWN),
        "domains": choices["domain"],
        "fields": list(FIELDS),
    }


def upload(visit: Visit) -> Done:
    """Take a file in: its bytes are the body, and what is said about it is in the address."""
    domain = visit.text("domain").strip()
    visit.require(Right.OPERATE, domain=domain)
    filename = visit.text("filename")
    if not filename:
        raise InvalidInput("no file was chosen", remedy="choose one and send it again")
    received = uploading.receive(
        visit.store,
        pieces=_pieces(visit.body),
        filename=filename,
        domain=domain,
        options=_options(visit),
        actor=visit.person.name,
        clock=visit.runtime.now,
    )
    visit.runtime.bells.ring(Task.PARSE)
    says = "This file was imported in the same way before." if received.again else ""
    return Done(f"/imports/{received.import_id}", says, {"import": received.import_id})


def _pieces(body: Iterator[bytes]) -> Iterator[bytes]:
    """The body in pieces as large as they are stored."""
    held = bytearray()
    for part in body:
        held += part
        while len(held) >= PIECE:
            yield bytes(held[:PIECE])
            del held[:PIECE]
    if held:
        yield bytes(held)


def _options(visit: Visit) -> ImportOptions:
    """The choices: one `theirs = ours` a line, `ours := value` for what all get."""
    mapping: dict[str, str] = {}
    constants: dict[str, str] = {}
    for line in visit.query.get("mapping", "").splitlines():
        if not line.strip():
            continue
        is_constant = ":=" in line
        left, sign, right = (s.strip() for s in line.partition(":=" if is_constant else "="))
        if not (left and sign and right):
            raise InvalidInput(
                f"{line.strip()!r} is not a mapping", remedy="write: their_field = problem"
            )
        (constants if is_constant else mapping)[left] = right
    try:
        return ImportOptions(
            mapping=mapping,
            constants=constants,
            license=visit.text("license") or licences.UNSTATED,
            attribution=visit.query.get("attribution", ""),
            reading=Reading(format=visit.text("format") or None),
            strict=bool(visit.text("strict")),
        )
    except ValidationError as bad:
        first = bad.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"{name}: {first['msg']}", remedy="change it in the form") from None


def shown(visit: Visit) -> dict[str, Any]:
    """One import: how far it is, what it came to, what was wrong."""
    one = archive.one_import(visit.store, import_id=visit.path["id"], domains=visit.domains)
    after = visit.text("after", "0")
    if not after.isdigit() or len(after) > 9:  # noqa: PLR2004  # the column is an integer
        raise InvalidInput("the address points to no place in a list", remedy="begin at its start")
    found = archive.refused(visit.store, import_id=one.id, after=int(after))
    more = len(found) == archive.REJECTS
    return {
        "import": _told(one),
        "rejects": [_reject(bad) for bad in found],
        "more": f"/imports/{one.id}?after={found[-1].record}" if more else None,
    }


def repair(visit: Visit) -> File:
    """The refused records as a file to be mended and imported again."""
    one = archive.one_import(visit.store, import_id=visit.path["id"], domains=visit.domains)
    lines = archive.repair(visit.store, import_id=one.id)
    return File(f"repair-{one.id}.jsonl", "application/x-ndjson", (s.encode() for s in lines))


def captures(visit: Visit) -> dict[str, Any]:
    """The capture batches that arrived; they hold any domain's, so all must be one's own."""
    if visit.domains is not None:
        return {"batches": [], "older": None, "is_limited": True}
    found = archive.arrived(visit.store, limit=LISTED + 1, before=before(visit))
    shown_ = found[:LISTED]
    older = f"/captures?before={shown_[-1].at.timestamp()!r}" if len(found) > LISTED else None
    told = [{**one._asdict(), "at": one.at.isoformat()} for one in shown_]
    return {"batches": told, "older": older, "is_limited": False}


def capture_batch(visit: Visit) -> dict[str, Any]:
    """One capture batch, and what was refused of it."""
    if visit.domains is not None:
        raise missing("capture batch")
    one, refusals = archive.batch(visit.store, batch_id=visit.query.get("id", ""))
    told = [{**bad._asdict(), "at": bad.at.isoformat(), "raw": bad.raw[:RAW_SHOWN]}
            for bad in refusals]  # fmt: skip
    return {"batch": {**one._asdict(), "at": one.at.isoformat()}, "refusals": told}


def _told(one: Import) -> dict[str, Any]:
    told: dict[str, Any] = one.model_dump(mode="json", exclude={"attempts", "is_checked", "due_at"})
    return {**told, "is_open": one.finished_at is None}


def _reject(bad: Faulty) -> dict[str, Any]:
    told = {name: getattr(bad, name) for name in
            ("record", "line", "column", "field", "code", "message", "remedy")}  # fmt: skip
    return {**told, "raw": bad.raw[:RAW_SHOWN]}


LIST = Page("/imports", Right.LOOK, listed, "browse/imports.html")
ROUTES = (
    LIST,
    Upload("/imports/file", Right.OPERATE, upload),
    Page("/imports/{id:uuid}", Right.LOOK, shown, "browse/import.html"),
    Download("/imports/{id:uuid}/repair", Right.LOOK, repair),
    Page("/captures", Right.LOOK, captures, "browse/captures.html"),
    Page("/captures/batch", Right.LOOK, capture_batch, "browse/capture_batch.html"),
)
