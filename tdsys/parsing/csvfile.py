"""A CSV file: one record per row, every cell a text.

The one rule: a row is taken only with as many cells as the first one has; nothing is filled in and
nothing is dropped.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain

from tdsys.parsing.cells import QUOTE, Dialect, bad_quote, csv_reader, starts
from tdsys.parsing.flaws import LONE, Fatal, broken_encoding, cut, flaw, show
from tdsys.parsing.lines import Lines
from tdsys.parsing.reading import Asked, Flaw, Limits, Place, Reading, Record
from tdsys.parsing.source import Source

_LINE_END = re.compile(r"\r\n|\n|\r")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
# Of one row: beyond, a quote was forgotten, and short lines need many times their size in memory.
_MOST_LINES = 10_000
# What spreadsheets write in front to tell their delimiter.
SEPARATOR = re.compile(r"sep=(.)(?:\r\n|\n|\r|$)", re.IGNORECASE)


class CsvFile:
    """One pass over one file."""

    def __init__(self, source: Source, reading: Reading, asked: Asked, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        quote = QUOTE if asked.quote is None else asked.quote
        self._dialect = Dialect(reading.delimiter, quote)
        self._header = reading.header
        self._lines = Lines(source, longest=limits.record, universal=True)
        self._coming = iter(self._lines)
        self._held: list[str] = []
        self._size = self._line = self._first = self._record = 0
        self._names: list[str] = []
        # The module's own limit is one for the whole process, so it is only ever raised; rows are
        # bounded before they reach it.
        csv.field_size_limit(max(csv.field_size_limit(), limits.record + 1))

    def results(self) -> Iterator[Record | Flaw]:
        """Every row behind the header as a record or a flaw."""
        try:
            for row in self._rows():
                if isinstance(row, Flaw):
                    if self._header and not self._names:
                        raise Fatal(row._replace(fatal=True))  # noqa: TRY301
                    yield row
                elif self._names:
                    yield self._result(row)
                else:
                    self._name(row)
                    if not self._header:
                        yield self._result(row)
        except Fatal as end:
            yield end.flaw

    # Rows, read by the standard library

    def _rows(self) -> Iterator[list[str] | Flaw]:
        """Every row that is not blank, or why it is none; `_held` are its lines."""
        self._pass_separator()
        reader = self._reader()
        while True:
            self._held.clear()
            self._size, self._first = 0, self._line + 1
            try:
                row = next(reader, None)
            except (csv.Error, _TooLong) as bad:
                yield self._unreadable(bad)
                reader = self._reader()
                continue
            if row is None:
                break
            if len(row) > 1 or not self._held[0].isspace():
                yield row
        if self._source.trouble:
            raise self._trouble()

    def _reader(self) -> Iterator[list[str]]:
        return csv_reader(self._feed(), self._dialect)

    def _feed(self) -> Iterator[str]:
        for line in self._coming:
            self._line += 1
            self._size += len(line)
            self._held.append(line)
            if self._size > self._limits.record or len(self._held) > _MOST_LINES:
                raise _TooLong
            yield line

    def _pass_separator(self) -> None:
        first = next(self._coming, "")
        if SEPARATOR.match(first):
            self._line = 1
        else:
            self._coming = chain([first] if first else [], self._coming)

    # Names and values

    def _name(self, row: list[str]) -> None:
        """Take the names of the columns from the first row, or number the columns."""
        if len(row) > self._limits.columns:
            message = f"{len(row):,} columns, at most {self._limits.columns:,}"
            raise Fatal(self._flaw("too_many_columns", message, fatal=True))
        for number, cell in enumerate(row, 1):
            name = cell.strip() if self._header else ""
            name = name or f"column{number}"
            wrong = self._wrong_name(name)
            if wrong:
                at = starts("".join(self._held), self._dialect)[number - 1]
                raise Fatal(self._flaw(*wrong, at=at, field=name, fatal=True))
            self._names.append(name)

    def _wrong_name(self, name: str) -> tuple[str, str] | None:
        if name in self._names:
            return "duplicate_column", f"two columns are named {show(name)}"
        if len(name) > self._limits.key:
            return "key_too_long", f"a name of {len(name):,} characters"
        return self._wrong_text(name)

    def _wrong_text(self, text: str) -> tuple[str, str] | None:
        if "\0" in text:
            return "bad_character", "a NUL character"
        if lone := LONE.search(text):
            return "encoding", broken_encoding(text, lone.start(), self._source.encoding)
        if len(text) > self._limits.text:
            return "text_too_long", f"{len(text):,} characters, at most {self._limits.text:,}"
        return None

    def _result(self, row: list[str]) -> Record | Flaw:
        raw = self._held[0] if len(self._held) == 1 else "".join(self._held)
        if len(row) != len(self._names):
            message = f"{len(row):,} cells, the first row has {len(self._names):,}"
            return self._flaw("column_count", message)
        if self._source.damaged or "\0" in raw or len(raw) > self._limits.text:
            for number, cell in enumerate(row):
                if wrong := self._wrong_text(cell):
                    return self._wrong_cell(raw, number, wrong)
        self._record += 1
        place = Place(self._record, self._first, 1)
        return Record(place, dict(zip(self._names, row, strict=True)), cut(raw.rstrip("\r\n")))

    def _wrong_cell(self, raw: str, number: int, wrong: tuple[str, str]) -> Flaw:
        at = starts(raw, self._dialect)[number]
        found = _NOT_TEXT.search(raw, at)
        if wrong[0] != "text_too_long" and found:
            at = found.start()
        return self._flaw(*wrong, at=at, field=self._names[number])

    # Flaws

    def _unreadable(self, bad: Exception) -> Flaw:
        """Why the lines held are no row; Fatal where a quote opens and does not close."""
        if self._source.trouble and self._source.done and str(bad) == "unexpected end of data":
            raise self._trouble()
        alone = len(self._held) == 1
        if alone and isinstance(bad, _TooLong):
            message = f"the row is longer than {self._limits.record:,} characters"
            return self._flaw("record_too_large", message)
        wrong = bad_quote("".join(self._held), self._dialect)
        if wrong and (wrong.wrong is None or not alone):
            message = "a quote opens here and does not close where its cell ends"
            raise Fatal(self._flaw("unclosed_quote", message, at=wrong.opened, fatal=True))
        at = (wrong.wrong or 0) if wrong else 0
        return self._flaw("bad_quote", "other text follows the closing quote of a cell", at=at)

    def _trouble(self) -> Fatal:
        assert self._source.trouble  # noqa: S101  # looked at by the callers
        self._held.append(self._lines.tail)
        return Fatal(self._flaw(*self._source.trouble, fatal=True))

    def _flaw(
        self, code: str, message: str, *, at: int = 0, field: str = "", fatal: bool = False
    ) -> Flaw:
        self._record += 1
        raw = "".join(self._held)
        line, column = self._first, at + 1
        for end in _LINE_END.finditer(raw, 0, at):
            line, column = line + 1, at - end.end() + 1
        place = Place(self._record, line, column)
        return flaw(place, code, message, field=field, raw=cut(raw.rstrip("\r\n")), fatal=fatal)


class _TooLong(Exception):
    """A row is longer than a record may be."""
