"""What holds for every file: nothing is lost, nothing is invented, nothing else is raised."""

from __future__ import annotations

import csv
import gzip
import io
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsys.errors import InvalidInput
from tdsys.parsing import Asked, Flaw, Format, Limits, detect, records
from tdsys.parsing.flaws import REMEDIES, Fault
from tdsys.parsing.strictjson import Inspection, StrictJson
from tests.reading import CSV, JSON, JSONL, YAML, Found, flaws, kept, read, values

UTF8 = "utf-8"
TEXTS = st.text(st.characters(codec=UTF8, exclude_characters="\0"), max_size=12)
NAMES = st.text(st.characters(codec=UTF8, exclude_characters="\0"), min_size=1, max_size=6)
NUMBERS = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
INDENTS = st.sampled_from([None, 0, 2])

SOME = settings(max_examples=60, deadline=None)
MANY = settings(max_examples=200, deadline=None)

# Text that looks enough like a file to get deep into the readers.
MARKS = '{}[]",:\\\n\r\t -#&*!|>%;'
PHRASES = (
    """"q" |q: |- |{"q": 1}|1|true|\\u|\\ud800|é|\ufeff|\0|---\n|1,2\n|""|'|1e9|NaN|𝟙|\n- |\n  """
)
PIECES = st.sampled_from([*MARKS, *PHRASES.split("|")])
NOISE = st.lists(PIECES, max_size=40).map("".join).map(str.encode)
ASKED = st.sampled_from([None, *Format])


def dumped(kind: Format, rows: list[Any], *, ascii_only: bool, indent: int | None) -> str:
    """The rows as a file of JSON, of lines, or of YAML."""
    if kind is JSON:
        return json.dumps(rows, ensure_ascii=ascii_only, indent=indent)
    if kind is JSONL:
        return "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
    return "".join(f"- {yaml_text(row, 2)}\n" for row in rows)


def yaml_text(value: Any, indent: int) -> str:
    """Block style outside, where there is something in it; every text and name in quotes."""
    if isinstance(value, dict) and value:
        lines = (f"{quoted(k)}: {yaml_text(v, indent + 2)}" for k, v in value.items())
        return ("\n" + " " * indent) + ("\n" + " " * indent).join(lines)
    if isinstance(value, list) and value:
        lines = (f"- {yaml_text(v, indent + 2)}" for v in value)
        return ("\n" + " " * indent) + ("\n" + " " * indent).join(lines)
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text: str) -> str:
    """Double quotes with YAML's escapes for what is not plainly printable."""
    shown = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return '"' + "".join(shown) + '"'


@given(
    kind=st.sampled_from([JSON, JSONL, YAML]),
    rows=st.lists(OBJECTS, max_size=4),
    ascii_only=st.booleans(),
    indent=INDENTS,
)
@SOME
def test_what_was_written_is_read(
    *, kind: Format, rows: list[Any], ascii_only: bool, indent: int | None
) -> None:
    text = dumped(kind, rows, ascii_only=ascii_only, indent=indent)
    if text.strip():
        assert values(read(text, kind)) == rows


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.lists(NAMES, max_size=3), SCALARS, INDENTS)
@SOME
def test_a_list_inside_objects_is_read_wherever_it_is(
    rows: list[Any], path: list[str], other: Any, indent: int | None
) -> None:
    inside: Any = rows
    for name in reversed(path):
        inside = {"!before": other, name: inside, "!behind": [other]}
    assert values(read(json.dumps(inside, indent=indent), JSON)) == rows


# Without most control characters: a small file full of them is taken for binary data.
CELLS = st.text(
    st.characters(codec=UTF8, exclude_categories=["Cc"]) | st.sampled_from("\n\r\t"), max_size=8
)
ROWS = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=5)
)


@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t|:"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    style=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
@SOME
def test_csv_is_read_as_it_was_written(
    rows: list[list[str]], delimiter: str, end: str, style: Any
) -> None:
    file = io.StringIO(newline="")
    names = [f"c{n}" for n, _ in enumerate(rows[0])]
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=style)
    writer.writerows([names, *rows])
    found = read(file.getvalue(), CSV, delimiter=delimiter, header=True)
    assert values(found) == [dict(zip(names, row, strict=True)) for row in rows]
    for one in found:
        again = read(one.raw, CSV, delimiter=delimiter, header=False)
        assert list(values(again)[0].values()) == list(one.value.values())  # type: ignore[union-attr]


def check_order(found: Found) -> None:
    """Places are in order and numbers without a gap; only the last flaw may be fatal."""
    assert [one.place.record for one in found] == list(range(1, len(found) + 1))
    assert all(one.place.line >= 1 and one.place.column >= 1 for one in found)
    assert not any(isinstance(one, Flaw) and one.fatal for one in found[:-1])
    for one in flaws(found):
        assert one.remedy == REMEDIES[one.code]
        assert one.message


FILES = st.tuples(st.sampled_from(Format), st.lists(OBJECTS, min_size=1, max_size=4), NOISE).map(
    lambda made: (made[0], mixed(*made))
)


def mixed(kind: Format, rows: list[Any], noise: bytes) -> bytes:
    """A file with noise in its middle."""
    if kind is CSV:
        text = "q,a\n" + "".join(f'"{len(row)}",x\n' for row in rows)
    else:
        text = dumped(kind, rows, ascii_only=False, indent=None)
    data = text.encode()
    middle = len(data) // 2
    return data[:middle] + noise + data[middle:]


def attempt(data: list[bytes], kind: Format | None, skip: int = 0) -> Found | str:
    try:
        return list(records(data, Asked(format=kind), skip=skip))
    except InvalidInput as refused:
        return str(refused)


@given(data=st.binary(max_size=200) | NOISE, kind=ASKED, compressed=st.booleans())
@MANY
def test_any_bytes_end_in_records_flaws_or_one_refusal(
    *, data: bytes, kind: Format | None, compressed: bool
) -> None:
    data = gzip.compress(data) if compressed else data
    found = attempt([data], kind)
    if isinstance(found, str):
        assert " — " in found  # what to do about it
        with pytest.raises(InvalidInput):
            detect(data, Asked(format=kind))
    else:
        check_order(found)


@given(file=FILES, cuts=st.lists(st.integers(0, 300), max_size=6), compressed=st.booleans())
@SOME
def test_the_sizes_of_the_pieces_do_not_matter(
    *, file: tuple[Format, bytes], cuts: list[int], compressed: bool
) -> None:
    kind, data = file
    data = gzip.compress(data) if compressed else data
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    assert attempt(pieces, kind) == attempt([data], kind)
    assert attempt([data[n : n + 1] for n in range(len(data))], kind) == attempt([data], kind)


@given(FILES, st.integers(0, 6))
@SOME
def test_skipping_records_drops_the_first_results(file: tuple[Format, bytes], skip: int) -> None:
    kind, data = file
    whole, rest = attempt([data], kind), attempt([data], kind, skip)
    assert rest == (whole if isinstance(whole, str) else whole[skip:])


# Broken records at known places

SPOILT: dict[Format, list[tuple[str, int, int, str]]] = {
    # the record, and line in it, column and code of its flaw
    JSONL: [
        ('{"id": tru}', 0, 8, "malformed"),
        ('{"id": 1, "id": 2}', 0, 11, "duplicate_key"),
        ('{"id": "x', 0, 8, "malformed"),
        ('{"id": [1, 2}', 0, 13, "malformed"),
        ('  {"id": NaN}', 0, 10, "not_finite"),
        ('{"id": "\\ud800"}', 0, 9, "bad_character"),
    ],
    JSON: [
        ('{"id": tru}', 0, 8, "malformed"),
        ('{"id": 1, "id": 2}', 0, 11, "duplicate_key"),
        ('{"id": "x}', 0, 12, "malformed"),
        ('{"id": [1, 2}', 0, 13, "malformed"),
        ('{"id": 1', 1, 1, "malformed"),  # noticed where the next record begins
        ('{"id": NaN}', 0, 8, "not_finite"),
    ],
    CSV: [
        ("1", 0, 1, "column_count"),
        ("1,2,3", 0, 1, "column_count"),
        ('"1\n1",2,3', 0, 1, "column_count"),
        ('"1"1,2', 0, 4, "bad_quote"),
        ("1,\0", 0, 3, "bad_character"),
    ],
    YAML: [
        ("- id: !x 1", 0, 7, "tag"),
        ("- id: 1\n  id: 2", 1, 3, "duplicate_key"),
        ("- id: &x 1", 0, 7, "alias"),
        ("- id: [*x]", 0, 8, "alias"),
        ("- id: .inf", 0, 7, "not_finite"),
        ("- id: [1", 1, 5, "malformed"),  # noticed where the next record begins
        ("- id: \x07", 0, 7, "bad_character"),
        ("- id: 1\n id: 2", 1, 2, "malformed"),
        ("- id: 1\nid: 2", 1, 1, "malformed"),
        ("- id: @", 0, 7, "malformed"),
    ],
}
WHOLE = {JSONL: '{{"id": {}}}', JSON: '{{"id": {}}}', CSV: "{},x", YAML: "- id: {}"}
AROUND = {
    JSONL: ("", "\n", ""),
    JSON: ("[\n", ",\n", "\n]"),
    CSV: ("id,a\n", "\n", ""),
    YAML: ("", "\n", ""),
}


@pytest.mark.parametrize("kind", Format)
@given(data=st.data())
@SOME
def test_broken_records_are_exactly_the_flaws_and_all_others_are_whole(
    kind: Format, data: st.DataObject
) -> None:
    head, between, tail = AROUND[kind]
    header = True if kind is CSV else None
    plan = data.draw(st.lists(st.none() | st.sampled_from(SPOILT[kind]), max_size=12))
    plan.append(None)
    texts, expected, line = list[str](), list[tuple[int, int, int, str]](), head.count("\n") + 1
    for number, broken in enumerate(plan):
        texts.append(broken[0] if broken else WHOLE[kind].format(number))
        if broken:
            expected.append((number + 1, line + broken[1], broken[2], broken[3]))
        line += texts[-1].count("\n") + 1
    found = read(head + between.join(texts) + tail, kind, header=header)
    places = [(*flaw.place, flaw.code) for flaw in flaws(found)]
    assert places == expected
    ids = [int(one["id"]) for one in kept(found)]
    assert ids == [number for number, broken in enumerate(plan) if not broken]


# The two readers of JSON

SMALL = Limits(depth=4, text=20, key=5, digits=6, values=12)
STRICT = StrictJson(SMALL, UTF8)


def accepted_slowly(text: str) -> bool:
    reader = Inspection(text, 0, SMALL, UTF8)
    try:
        reader.value()
    except Fault:
        return False
    return reader.at == len(text)


@given(st.lists(PIECES, max_size=12).map("".join) | VALUES.map(json.dumps))
@MANY
def test_the_fast_and_the_slow_reader_of_json_agree(text: str) -> None:
    text = text.strip(" \n\r\t")
    slowly = accepted_slowly(text)
    try:
        value = STRICT.alone(text)
    except Fault:
        assert not slowly
    else:
        assert slowly
        assert value == json.loads(text)


@given(st.lists(OBJECTS, min_size=2, max_size=4), st.integers(0, 3), st.text('x"\\', max_size=9))
@SOME
def test_a_record_over_the_limit_is_left_behind_whatever_it_holds(
    rows: list[Any], at: int, text: str
) -> None:
    rows.insert(min(at, len(rows)), {"long": [text, "y" * 400]})
    limits = Limits(record=300)
    found = read(json.dumps(rows), JSON, limits=limits)
    short = [row for row in rows if len(json.dumps(row)) <= 300]
    assert kept(found) == short
    assert {flaw.code for flaw in flaws(found)} == {"record_too_large"}
