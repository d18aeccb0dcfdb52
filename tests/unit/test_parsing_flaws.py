"""Each kind of flaw: exact line, column, field and code; what stands beside it is read."""

from __future__ import annotations

import gzip
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tdsys.parsing import Format, Limits, Record
from tdsys.parsing.flaws import REMEDIES
from tests.reading import CSV, JSON, JSONL, YAML, flaws, kept, marks, read

ROOT = Path(__file__).parents[2]
GOOD = '{"q": "x", "a": 1}'


def packed(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


def short(value: object) -> str:
    """A case is named by the beginning of what it holds."""
    return repr(value)[:40]


# One broken record between two good ones: text, line within the record, column, code, field.
BROKEN_JSON = [
    ('{"q": tru, "a": 1}', 7, "malformed", "q"),
    ('{"q": "x" "a": 1}', 11, "malformed", ""),
    ('{"q": "x", "a": 1,}', 19, "malformed", ""),
    ('{q: "x"}', 2, "malformed", ""),
    ("{'q': 'x'}", 2, "malformed", ""),
    ('{"q": "a\\x"}', 9, "malformed", "q"),
    ('{"q": "a\tb"}', 9, "malformed", "q"),
    ('{"q": 01}', 7, "malformed", "q"),
    ('{"q": 1.}', 7, "malformed", "q"),
    ('{"q": [1, 2}, "a": 1}', 12, "malformed", "q[1]"),
    ('{"q": {"r": [0, {"s": -}]}}', 23, "malformed", "q.r[1].s"),
    ('{"q": NaN}', 7, "not_finite", "q"),
    ('{"q": [1, -Infinity]}', 11, "not_finite", "q[1]"),
    ('{"q": 1e999}', 7, "not_finite", "q"),
    ('{"q": ' + "1" * 65 + "}", 7, "number_too_long", "q"),
    ('{"q": ' + "1" * 5000 + "}", 7, "number_too_long", "q"),
    ('{"q": 1, "a": 2, "q": 3}', 18, "duplicate_key", "q"),
    ('{"q": {"r": 1, "\\u0072": 3}}', 16, "duplicate_key", "q.r"),
    ('{"q": "a\\u0000"}', 9, "bad_character", "q"),
    ('{"q": "\\ud83d\\ude00 \\\\u0000 \\ud800"}', 29, "bad_character", "q"),
    ('{"a\\udc00": 1}', 4, "bad_character", ""),
    ('{"' + "k" * 257 + '": 1}', 2, "key_too_long", ""),
    ('{"q": ["' + "x" * 262_145 + '"]}', 8, "text_too_long", "q[0]"),
    ('{"q": ' + "[" * 32 + "]" * 32 + "}", 38, "too_deep", "q" + "[0]" * 31),
    ('{"q": [' + "1, " * 20_000 + "1]}", 8 + 3 * 19_998, "too_many_values", "q[19998]"),
]


@pytest.mark.parametrize(("text", "column", "code", "field"), BROKEN_JSON, ids=short)
def test_a_broken_line_of_json_costs_only_itself(
    text: str, column: int, code: str, field: str
) -> None:
    found = read(f"{GOOD}\n\n{text}\n{GOOD}\n", JSONL)
    assert kept(found) == [json.loads(GOOD)] * 2
    assert marks(found) == [(3, column, code)]
    assert [one.place.record for one in found] == [1, 2, 3]
    (flaw,) = flaws(found)
    assert (flaw.field, flaw.fatal) == (field, False)
    assert flaw.message
    assert flaw.remedy == REMEDIES[code]
    assert flaw.raw.startswith(text[:1000])


@pytest.mark.parametrize("between", [",\n", ","])
@pytest.mark.parametrize(("text", "column", "code", "field"), BROKEN_JSON, ids=short)
def test_a_broken_record_of_a_json_list_costs_only_itself(
    text: str, column: int, code: str, field: str, between: str
) -> None:
    before = f"[{GOOD}{between}"
    found = read(f"{before}{text}{between}{GOOD}]", JSON)
    assert kept(found) == [json.loads(GOOD)] * 2
    line, column = (2, column) if between == ",\n" else (1, len(before) + column)
    assert marks(found) == [(line, column, code)]
    assert [one.place.record for one in found] == [1, 2, 3]
    assert (flaws(found)[0].field, flaws(found)[0].fatal) == (field, False)


@pytest.mark.parametrize("between", [",\n", ", ", ","])
@pytest.mark.parametrize(
    "text",
    [
        '{"q": "x, "a": 1}',
        '{"q": x", "a": 1}',
        '{"q: "x", "a": 1}',
        '{q": "x", "a": 1}',
        '{"q": "x", "a": 1',
        '{"q": "x", "a": "1',
        '{"q": {"r": 1, "a": 1}',
        '{"q": [1, 2, "a": 1}',
        '{"q": "x", "a": [1, 2}',
        '{"q": [{"q": 1}, {"q": 2}], "a": tru}',
        '{"q": [{"q": 1}, {"q": 2}, "a": 1}',
        '"q": "x", "a": 1}',
        '{"q": "x"}, "a": 1}',
        '{"q": "says "x", y", "a": [{"r": "z"}, {"r": "\\"z\\""}]}',
        '{"q": "says "x", "a": [{"r": "z"}, {"r": "\\"z\\""}]}',
        '{"q": "x", "r": [{"r": 1}, {"r": 2}], "a": {"s": tru}}}',
        "garbage",
    ],
)
def test_a_quote_or_bracket_that_is_missing_costs_only_its_record(text: str, between: str) -> None:
    good = [f'{{"q": "{n}", "a": {n}}}' for n in range(6)]
    found = read("[" + between.join([*good[:3], text, *good[3:]]) + "]", JSON)
    assert kept(found) == [json.loads(one) for one in good]
    assert flaws(found)[0].code == "malformed"
    assert not any(flaw.fatal for flaw in flaws(found))
    assert flaws(found)[0].place.record == 4


def test_a_broken_record_before_records_of_another_kind_costs_only_itself() -> None:
    found = read('[{"q": 1}, {"q": tru}, {"r": 1}, {"r": 2}, {}]', JSON)
    assert kept(found) == [{"q": 1}, {"r": 1}, {"r": 2}, {}]


def test_a_nested_list_is_not_taken_for_records() -> None:
    broken = '{"id": 1, "x": tru, "children": [{"id": 2}, {"id": 3}]}'
    found = read(f'[{{"id": 0}}, {broken}, {{"id": 4}}]')
    assert kept(found) == [{"id": 0}, {"id": 4}]
    assert flaws(found)[0].raw == broken


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"[{GOOD} {GOOD}]", [(1, 21, "malformed")]),
        (f"[{GOOD},]", [(1, 21, "malformed")]),
        (f"[,{GOOD}]", [(1, 2, "malformed")]),
        (f"[{GOOD},,{GOOD}]", [(1, 21, "malformed")]),
        (f"[{GOOD}]]", [(1, 21, "trailing_data")]),
        (f"[{GOOD}]\n{GOOD}", [(2, 1, "trailing_data")]),
        (f"[{GOOD}", [(1, 20, "cut_off")]),
        (f'[{GOOD}, {{"q": "x', [(1, 28, "cut_off")]),
        (f"{{\"data\": [{GOOD}], 'a': 1}}", [(1, 32, "malformed")]),
        (f'{{"a": tru, "data": [{GOOD}]}}', [(1, 7, "malformed")]),
        ('{"a": 1', [(1, 8, "cut_off")]),
    ],
)
def test_what_is_wrong_around_records_is_told_and_the_records_are_kept(
    text: str, expected: list[tuple[int, int, str]]
) -> None:
    found = read(text, JSON)
    assert marks(found) == expected
    assert kept(found) == [json.loads(GOOD)] * (
        text.count(GOOD) - text.count("]\n") - ("tru" in text)
    )


# CSV


def test_a_row_with_other_cells_costs_only_itself() -> None:
    found = read('q,a\n1,2\n3\n"4\n4",5\n6,7,8\n9,10\n', CSV)
    assert marks(found) == [(3, 1, "column_count"), (6, 1, "column_count")]
    assert kept(found) == [
        {"q": "1", "a": "2"},
        {"q": "4\n4", "a": "5"},
        {"q": "9", "a": "10"},
    ]
    assert [one.place.record for one in found] == [1, 2, 3, 4, 5]
    assert flaws(found)[1].raw == "6,7,8"


@pytest.mark.parametrize(
    ("row", "column", "code", "field"),
    [
        ('"x"y,1', 4, "bad_quote", ""),
        ('1,"x" ', 6, "bad_quote", ""),
        ("ab,c\0", 5, "bad_character", "a"),
        ("x" * 262_145 + ",1", 1, "text_too_long", "q"),
    ],
    ids=short,
)
def test_a_wrong_cell_costs_its_row(row: str, column: int, code: str, field: str) -> None:
    found = read(f"q,a\n1,2\n{row}\n3,4\n", CSV)
    assert marks(found) == [(3, column, code)]
    assert flaws(found)[0].field == field
    assert kept(found) == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]


@pytest.mark.parametrize("rest", ["", "5,6\n7,8\n", '5,"x",6\n'])
def test_a_quote_that_does_not_close_is_fatal_where_it_opens(rest: str) -> None:
    found = read(f'q,a\n1,2\n3,"4\n{rest}', CSV)
    assert marks(found) == [(3, 3, "unclosed_quote")]
    assert found[-1].raw.startswith('3,"4')
    assert kept(found) == [{"q": "1", "a": "2"}]
    assert flaws(found)[0].fatal


@pytest.mark.parametrize(
    ("header", "column", "code"),
    [
        ("q,a,q", 5, "duplicate_column"),
        ("q,a ,a", 6, "duplicate_column"),
        ('q,"a', 3, "unclosed_quote"),
        (f"q,{'k' * 257}", 3, "key_too_long"),
        (",".join(f"c{n}" for n in range(513)), 1, "too_many_columns"),
    ],
    ids=short,
)
def test_a_bad_header_is_fatal(header: str, column: int, code: str) -> None:
    found = read(f"{header}\n1,2,3\n", CSV, header=True)
    assert marks(found) == [(1, column, code)]
    assert flaws(found)[0].fatal


# YAML


@pytest.mark.parametrize(
    ("text", "line", "column", "code", "field"),
    [
        ("- q: !!python/object/apply:os.system [x]\n  a: 1", 1, 6, "tag", "q"),
        ("- !x\n  q: 1", 1, 3, "tag", ""),
        ("- q: ! x", 1, 6, "tag", "q"),
        ("- q: &x 1\n  a: 2", 1, 6, "alias", "q"),
        ("- q: [1, *x]", 1, 10, "alias", "q[1]"),
        ("- <<: *x", 1, 7, "alias", "<<"),
        ("- q: 1\n  a: 2\n  q: 3", 3, 3, "duplicate_key", "q"),
        ("- q: {[1]: 2}", 1, 7, "bad_key", "q"),
        ("- ? {a: 1}\n  : 2", 1, 5, "bad_key", ""),
        ("- q: .inf", 1, 6, "not_finite", "q"),
        ("- q: .NaN", 1, 6, "not_finite", "q"),
        ("- q: 1e999", 1, 6, "not_finite", "q"),
        ("- q: " + "1" * 5000, 1, 6, "number_too_long", "q"),
        ("- q: 0x" + "f" * 100, 1, 6, "number_too_long", "q"),
        ("- q: " + "1:59" * 100_000, 1, 6, "text_too_long", "q"),
        ("- " + "k" * 257 + ": 1", 1, 3, "key_too_long", ""),
        ("- " + "[" * 33 + "]" * 33, 1, 35, "too_deep", "[0]" * 32),
        ("- [" + "1, " * 20_000 + "1]", 1, 4 + 3 * 19_999, "too_many_values", "[19999]"),
        ("- q: ['" + "x', '" * 220_000 + "']", 1, 3, "record_too_large", ""),
    ],
    ids=short,
)
def test_what_a_yaml_record_may_not_hold_costs_only_that_record(
    text: str, line: int, column: int, code: str, field: str
) -> None:
    found = read(f"- q: 0\n{text}\n- q: 9\n", YAML)
    assert kept(found) == [{"q": 0}, {"q": 9}]
    assert marks(found) == [(line + 1, column, code)]
    assert (flaws(found)[0].field, flaws(found)[0].place.record) == (field, 2)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("- q: [3", 2, 4),
        ("- q: {a: 3", 2, 4),
        ('- q: "3', 1, 6),
        ("- q: '3\n  a: 4", 1, 6),
        ("- q: 3\n   a: 4", 2, 5),
        ("- q: 3: 4", 1, 7),
        ("- q: @3", 1, 6),
        ("- %q", 1, 3),
        ("- q: |x\n    3", 1, 7),
        ("- q: \x07", 1, 6),
        ('- q: "\\y"', 1, 7),
        ("-\tq: 3\n\ta: 4", 1, 2),
        ('- "a\x07"', 1, 5),
    ],
    ids=short,
)
@pytest.mark.parametrize("indent", ["", "   "])
def test_a_yaml_syntax_error_costs_only_its_record(
    text: str, line: int, column: int, indent: str
) -> None:
    lines = ["- q: 0", "- q: 1", *text.split("\n"), "- q: 8", "# next", "- q: 9"]
    found = read("\n".join(indent + one for one in lines), YAML)
    assert kept(found) == [{"q": 0}, {"q": 1}, {"q": 8}, {"q": 9}]
    (flaw,) = flaws(found)
    assert flaw.code in {"malformed", "bad_character"}
    assert not flaw.fatal
    assert flaw.raw.strip() in text.replace("\n", f"\n{indent}")
    assert flaw.place[1:] == (line + 2, column + len(indent))
    assert [one.place.record for one in found] == [1, 2, 3, 4, 5]
    assert [one.place.line for one in found if one is not flaw][2:] == [len(lines) - 2, len(lines)]


def test_a_broken_yaml_document_costs_only_itself() -> None:
    found = read("---\nq: 1\n---\nq: [2\n---\nq: 3\n", YAML)
    assert kept(found) == [{"q": 1}, {"q": 3}]
    assert [(flaw.place.record, flaw.fatal) for flaw in flaws(found)] == [(2, False)]


def test_a_yaml_syntax_error_in_a_list_inside_a_mapping_is_fatal() -> None:
    found = read("data:\n- q: 1\n- q: [2\n- q: 3\n", YAML)
    assert kept(found) == [{"q": 1}]
    assert [(one.place.line, one.code, one.fatal) for one in flaws(found)] == [
        (4, "malformed", True)
    ]


def test_too_many_yaml_syntax_errors_are_fatal() -> None:
    found = read("- [\n" * 2000, YAML)
    assert len(found) == 1001
    assert flaws(found)[-1].fatal


def test_an_alias_bomb_is_one_flaw() -> None:
    lines = ["a: &a [lol, lol]"]
    lines += [f"{n}: &{n} [{', '.join([f'*{m}'] * 9)}]" for m, n in pairwise("abcdefghi")]
    assert marks(read("\n".join(lines), YAML)) == [(1, 4, "alias")]


# Bytes


@pytest.mark.parametrize(
    ("kind", "data", "line", "column", "others"),
    [
        (JSONL, b'{"q": "\xc3\xa9"}\n{"q": "\xc3\xa9\xe9"}\n{"q": "z"}\n', 2, 9, 2),
        (JSON, b'[{"q": "\xc3\xa9"},\n{"q": "\xc3\xa9\xe9"},\n{"q": "z"}]', 2, 9, 2),
        (CSV, b"q,a\n\xc3\xa9,1\n\xc3\xa9\xe9,2\nz,3\n", 3, 2, 2),
        (YAML, b"- q: \xc3\xa9\n- q: \xc3\xa9\xe9\n- q: z\n", 2, 7, 2),
    ],
)
def test_bytes_that_are_no_text_cost_their_record(
    kind: Format, data: bytes, line: int, column: int, others: int
) -> None:
    found = read(data, kind)
    assert marks(found) == [(line, column, "encoding")]
    assert "0xE9" in flaws(found)[0].message
    assert len(kept(found)) == others


@pytest.mark.parametrize("kind", Format)
def test_utf_16_that_ends_within_a_character_is_told(kind: Format) -> None:
    text = {JSON: '["', JSONL: '"a"\n"', CSV: "q,a\n1,2\n3,4", YAML: "- a\n- b"}[kind]
    found = read(text.encode("utf-16") + b"x", kind)
    assert flaws(found)[-1].code in {"encoding", "cut_off", "malformed"}


# Compression


@pytest.mark.parametrize("kind", Format)
def test_a_file_that_ends_too_early_keeps_what_is_whole(kind: Format) -> None:
    rows = [{"q": f"{n * 7919}", "a": f"{n * 104729}"} for n in range(4000)]
    text = {
        JSON: json.dumps(rows),
        JSONL: "\n".join(map(json.dumps, rows)),
        CSV: "q,a\n" + "\n".join(f"{row['q']},{row['a']}" for row in rows),
        YAML: "\n".join(f"- q: '{row['q']}'\n  a: '{row['a']}'" for row in rows),
    }[kind]
    whole = gzip.compress(text.encode())
    found = read(whole[: len(whole) // 2], kind)
    assert [one.code for one in flaws(found)] == ["gzip_truncated"]
    assert flaws(found)[0].fatal
    assert kept(found) == rows[: len(found) - 1]
    assert len(found) > 1000


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (packed(GOOD) + b"more", "gzip_garbage"),
        (packed(GOOD) + b"\0" * 512 + b"more", "gzip_garbage"),
        (packed(f"{GOOD}\n") + packed("x" * 9)[:15], "gzip_truncated"),
    ],
    ids=short,
)
def test_what_is_wrong_with_compressed_data_is_told_behind_the_records(
    data: bytes, code: str
) -> None:
    found = read(data, JSONL)
    assert [one.code for one in flaws(found)] == [code]
    assert flaws(found)[0].fatal


def test_members_behind_each_other_and_padding_are_one_file() -> None:
    data = packed(f"{GOOD}\n") * 3 + b"\0" * 1000
    assert kept(read(data, JSONL)) == [json.loads(GOOD)] * 3
    assert flaws(read(data, JSONL)) == []


def test_a_file_larger_than_the_limit_is_cut_there() -> None:
    found = read(f"{GOOD}\n" * 40_000, JSONL, limits=Limits(total=300_000))
    assert [one.code for one in flaws(found)] == ["file_too_large"]
    assert len(kept(found)) == 262_144 // (len(GOOD) + 1)


# Records that are too large


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (JSONL, '{{"q": 1}}\n{{"q": "{}"}}\n{{"q": 3}}\n'),
        (JSON, '[{{"q": 1}},\n{{"q": "{}"}},\n{{"q": 3}}]'),
        (CSV, "q,a\n{},2\n3,4\n"),
        (YAML, "- q: 1\n- '{}'\n- q: 3\n"),
    ],
    ids=short,
)
@pytest.mark.parametrize("size", [2**20, 5 * 2**20])
def test_a_record_that_is_too_large_costs_only_itself(kind: Format, text: str, size: int) -> None:
    found = read(text.format("x" * size), kind)
    assert [mark[::2] for mark in marks(found)] == [(2, "record_too_large")]
    assert isinstance(found[-1], Record)
    assert len(flaws(found)[0].raw) < 66_000


# The list of codes


def test_every_code_is_documented_with_its_remedy_and_used() -> None:
    page = (ROOT / "docs" / "import-formats.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", page, re.MULTILINE))
    assert {code: rows.get(code) for code in REMEDIES} == dict(REMEDIES)
    source = "".join(p.read_text() for p in (ROOT / "tdsys" / "parsing").glob("*.py"))
    assert [code for code in REMEDIES if source.count(f'"{code}"') < 2] == []
