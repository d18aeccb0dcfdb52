"""Rejected records as a file that can be mended and imported again.

One rule: a line is the record's own fields, and beside them what is wrong, under one reserved
name that the import strips; a record that could not be read keeps its text there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from tdsys.core.intake import Faulty, repair_line
from tdsys.errors import InvalidInput


class ErrorsFile:
    """Collects rejected records; the file is replaced in one step when it is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self._file = self._fresh.open("w", encoding="utf-8", errors="backslashreplace")
        except OSError as failed:
            raise InvalidInput(
                f"{path} cannot be written: {failed.strerror}", remedy="choose another --errors"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing is left behind by an import that did not come to its end."""
        self._file.close()
        self._fresh.unlink(missing_ok=True)

    def add(self, one: Faulty) -> None:
        """One record more."""
        self._file.write(repair_line(one) + "\n")

    def close(self) -> None:
        """Put the file in its place."""
        self._file.close()
        self._fresh.replace(self._path)

    def write(self, rejects: Iterable[Faulty]) -> None:
        """All of them, then close."""
        for one in rejects:
            self.add(one)
        self.close()
