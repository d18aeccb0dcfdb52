"""One record of a file on its way to a row: mapped, checked, named, written as JSON.

One rule: it runs for every record of a gigabyte, so nothing is read or written twice here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

import orjson
from pydantic import JsonValue

from tdsys.core.arrival import written
from tdsys.core.contamination import Registered, mark, marks
from tdsys.core.conversion import REJECTED, Converted, ImportOptions, convert, mapped
from tdsys.core.example import (
    MAX_BYTES,
    Document,
    Malformed,
    check_document,
)
from tdsys.core.intake import Job
from tdsys.errors import InvalidInput
from tdsys.parsing import Place, Record

_HALF = re.compile("[\ud800-\udfff]")
ALL_BITS = (1 << 64) - 1


class Preparation:
    """Turns records of one import into rows."""

    def __init__(self, job: Job, registered: Registered) -> None:
        self._domain = job.domain
        self._options = job.options
        self._registered = registered
        self._created_at = job.created_at
        self._identity = hashlib.blake2b(job.import_id.encode(), digest_size=16)
        self._provenance: Document = {
            "file": job.filename,
            "sha256": job.sha256,
            "import": job.import_id,
            "license": job.options.license,
            "attribution": job.options.attribution,
        }

    def prepare(self, record: Record) -> tuple[list[Any], bytes | None]:
        """A row and its payload, or a refusal without one."""
        try:
            return self._row(record)
        except InvalidInput as bad:
            return refusal(record, bad), None

    def _row(self, record: Record) -> tuple[list[Any], bytes]:
        found = convert(record.value, self._options)
        problem = str(found.outputs["problem"])
        levelled = mark("template", found.template)
        if self._registered and (name := self._registered.holds(problem)):
            raise Malformed(
                "contaminated",
                "problem",
                f"this problem is in the benchmark {name}",
                remedy="leave it out: whatever learns from it can no longer be tested there",
            )
        document, payload = self._document(record, found, levelled)
        arrival = written(
            self._capture_id(record.place.record), self._domain, self._created_at, document, payload
        )
        return [*arrival.key, levelled, arrival.row], payload

    def _document(self, record: Record, found: Converted, levelled: int) -> tuple[Document, bytes]:
        place = record.place
        metadata: Document = {
            **found.metadata,
            "template": f"{levelled & ALL_BITS:016x}",
            "provenance": {**self._provenance, "record": place.record, "line": place.line},
        }
        document: Document = {
            "inputs": found.inputs,
            "outputs": found.outputs,
            "metadata": metadata,
        }
        payload = dumped(document)
        if len(payload) > MAX_BYTES or b"\\u0000" in payload:
            check_document(document)
        return document, payload

    def _capture_id(self, number: int) -> str:
        """The same for the same record of the same import, so a resumed one stores it once."""
        hashed = self._identity.copy()
        hashed.update(b"%d" % number)
        return hashed.hexdigest()


def dumped(content: object) -> bytes:
    """JSON on one line; an integer that orjson cannot write is written by the slower way."""
    try:
        return orjson.dumps(content)
    except TypeError:
        check_document(content)
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def problem_marks(value: JsonValue, options: ImportOptions) -> list[int]:
    """The marks of one benchmark problem."""
    problem = mapped(value, options).get("problem")
    if not isinstance(problem, str) or not problem.strip():
        raise Malformed(
            "missing_field",
            "problem",
            "no text in this field",
            remedy="say which field of the file holds it: --map FIELD=problem",
        )
    return [one for one in marks(problem) if one is not None]


def refusal(record: Record, bad: InvalidInput) -> list[Any]:
    """The record with what is wrong with it."""
    place = record.place
    field, code = (bad.path, bad.code) if isinstance(bad, Malformed) else ("", "invalid")
    what = bad.what if isinstance(bad, Malformed) else bad.message
    value = record.value if isinstance(record.value, dict) else None
    if value is not None and REJECTED in value:
        value = {name: inner for name, inner in value.items() if name != REJECTED}
    return faulty(place, (field, code, what, bad.remedy, record.raw), value)


def faulty(
    place: Place, texts: Iterable[str], value: JsonValue = None, *, fatal: bool = False
) -> list[Any]:
    """What `Faulty` is made of; bytes that are no text, which readers keep apart, become U+FFFD."""
    return [*place, *(_HALF.sub("\ufffd", text) for text in texts), value, fatal]
