"""Import files as bytes, and short ways to take them in."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable
from typing import Any, TypedDict

import yaml

from tdsys.core.conversion import ImportOptions
from tdsys.core.intake import Intake
from tdsys.intake import GuardedIntake
from tdsys.stages import importing, uploading
from tdsys.store import Store
from tdsys.store.imports import Import
from tests.factories import NOW
from tests.scripted import Clock
from tests.stored import LEASE

MAPPED: dict[str, Any] = {"mapping": {"question": "problem", "answer": "solution"}}
THINGS = ("apples", "boats", "clouds", "drums", "eagles", "ferns", "gates", "hills")


class Gsm8k(TypedDict):
    """A record as GSM8K writes it."""

    question: str
    answer: str


def gsm8k(number: int = 0) -> Gsm8k:
    """A record distinct by its number, also in its template."""
    words = [THINGS[number >> shift & 7] for shift in (0, 3, 6, 9)]
    return {
        "question": f"Ann has {number} bags of {' and '.join(words)}, 4 in each. How many?",
        "answer": f"She has {number}*4=<<{number}*4={number * 4}>>{number * 4}.\n#### {number * 4}",
    }


def records(count: int) -> list[Gsm8k]:
    return [gsm8k(number) for number in range(count)]


def jsonl(lines: Iterable[object]) -> bytes:
    """One line each; text stands as it is."""
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    return "\n".join(texts).encode("utf-8", "surrogatepass")


def csv(rows: Iterable[Gsm8k], *, delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    quoted = [
        delimiter.join('"' + str(cell).replace('"', '""') + '"' for cell in row.values())
        for row in rows
    ]
    return "\n".join([delimiter.join(("question", "answer")), *quoted]).encode(encoding)


def in_every_format(count: int) -> dict[str, bytes]:
    """The same records in each form a file can have."""
    given = records(count)
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as packed:
        packed.write(jsonl(given))
    return {
        "list.json": json.dumps(given, indent=1).encode(),
        "inside.json": json.dumps({"version": 1, "data": {"items": given}}).encode(),
        "lines.jsonl": jsonl(given),
        "comma.csv": csv(given),
        "semicolon.csv": csv(given, delimiter=";", encoding="utf-8-sig"),
        "list.yaml": yaml.safe_dump(given).encode(),
        "documents.yaml": yaml.safe_dump_all(given).encode(),
        "packed.gz": stream.getvalue(),
    }


def uploaded(
    store: Store, content: bytes, *, filename: str = "in.jsonl", domain: str = "i", **options: Any
) -> uploading.Received:
    """The file's bytes, taken in but not read."""
    return uploading.receive(
        store,
        pieces=[content[at : at + 100_000] for at in range(0, len(content), 100_000)],
        filename=filename,
        domain=domain,
        options=ImportOptions.model_validate(options),
        actor="ann",
        clock=lambda: NOW,
    )


def imported(store: Store, content: bytes, *, intake: Intake | None = None, **given: Any) -> Import:
    """The import of a file, at its end."""
    import_id = uploaded(store, content, **given).import_id
    (done,) = importing.read_due(
        store, intake=intake or GuardedIntake(), clock=Clock(), lease=LEASE
    )
    assert done.id == import_id
    assert done.read == done.new + done.duplicate + done.rejected
    return done
