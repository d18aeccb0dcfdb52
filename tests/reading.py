"""Shorthand for tests of the import readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tdsys.parsing import Asked, Flaw, Format, Limits, Record, records

JSON, JSONL, CSV, YAML = Format
Found = list[Record | Flaw]


def read(
    data: bytes | str,
    kind: Format | None = None,
    *,
    skip: int = 0,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    filename: str = "",
    **asked: Any,
) -> Found:
    """Everything that a file yields."""
    pieces = [data.encode() if isinstance(data, str) else data]
    return list(
        records(pieces, Asked(format=kind, **asked), limits=limits, skip=skip, filename=filename)
    )


def values(found: Found) -> list[Any]:
    """The values of a file without flaws."""
    assert [one for one in found if isinstance(one, Flaw)] == []
    return [one.value for one in found if isinstance(one, Record)]


def kept(found: Found) -> list[Any]:
    """The values beside the flaws."""
    return [one.value for one in found if isinstance(one, Record)]


def flaws(found: Found) -> list[Flaw]:
    return [one for one in found if isinstance(one, Flaw)]


def marks(found: Found) -> list[tuple[int, int, str]]:
    """Line, column and code of each flaw."""
    return [(one.place.line, one.place.column, one.code) for one in flaws(found)]


def peak() -> int:
    """The most memory that this process has had, in MiB; getrusage would count its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024
