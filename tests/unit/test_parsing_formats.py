"""What a file is, is told by its content; every format yields the same records."""

from __future__ import annotations

import gzip
import json

import pytest

from tdsys.errors import InvalidInput
from tdsys.parsing import Asked, Format, Place, Reading, detect
from tests.reading import CSV, JSON, JSONL, YAML, flaws, marks, read, values

TWO = [{"q": "1+1?", "a": "2"}, {"q": "2+2?", "a": "4"}]
AS_JSON = json.dumps(TWO)
AS_JSONL = "".join(json.dumps(one) + "\n" for one in TWO)
AS_CSV = "q,a\n1+1?,2\n2+2?,4\n"
AS_YAML = "- q: 1+1?\n  a: '2'\n- q: 2+2?\n  a: '4'\n"
EACH = {JSON: AS_JSON, JSONL: AS_JSONL, CSV: AS_CSV, YAML: AS_YAML}


def seen(text: str | bytes, filename: str = "", **asked: object) -> Reading:
    data = text.encode() if isinstance(text, str) else text
    return detect(data, Asked.model_validate(asked), filename=filename)


@pytest.mark.parametrize("kind", Format)
def test_each_format_is_recognised_by_its_content_and_read(kind: Format) -> None:
    assert seen(EACH[kind]).format is kind
    assert values(read(EACH[kind])) == TWO


@pytest.mark.parametrize("kind", Format)
def test_each_format_may_be_compressed(kind: Format) -> None:
    data = gzip.compress(EACH[kind].encode())
    assert seen(data).compressed
    assert values(read(data)) == TWO


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding(kind: Format, encoding: str) -> None:
    found = read(EACH[kind].replace("1+1?", "é𝟙?").encode(encoding))
    assert values(found)[0] == {"q": "é𝟙?", "a": "2"}
    assert found[0].place.column == {JSON: 2, JSONL: 1, CSV: 1, YAML: 3}[kind]


@pytest.mark.parametrize("kind", [CSV, JSONL, YAML])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_lines_may_end_as_on_any_system(kind: Format, end: str) -> None:
    assert values(read(EACH[kind].replace("\n", end).encode())) == TWO


def test_a_name_decides_only_between_readings_that_the_content_allows() -> None:
    one = '{"q": "1+1?", "steps": [{"text": "add"}]}'
    assert seen(one, "one.jsonl").format is JSONL
    assert seen(one, "one.json").format is JSON
    assert seen(AS_JSON, "wrong.csv").format is JSON
    assert seen(AS_CSV, "wrong.json").format is CSV


def test_what_is_asked_for_is_not_guessed() -> None:
    assert seen(AS_JSONL, format="csv").format is CSV
    assert seen(AS_CSV, delimiter="?").delimiter == "?"
    assert seen(AS_CSV, header=False).header is False


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "holds no records"),
        (b"\xef\xbb\xbf \n", "holds no records"),
        (b"PK\x03\x04rest", "Excel"),
        (b"PAR1rest", "Parquet"),
        (gzip.compress(gzip.compress(b"[]", mtime=0), mtime=0), "gzip file inside"),
        (bytes(range(32)) * 30, "binary"),
        (b"only words", "cannot be told"),
        ("q;a\nq;a\n".encode("utf-16-le"), "utf-16-le without"),
        (b"\0" * 257 + b"ustar", "tar"),
        (b"\x1f\x8bnothing", "gzip file cannot be read"),
    ],
)
def test_what_is_no_file_of_records_is_named(data: bytes, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as refused:
        read(data)
    assert refused.value.remedy


def test_a_file_in_another_encoding_is_refused_with_the_likely_one_and_read_when_it_is_named() -> (
    None
):
    data = "q;a\nprénom;été\ncœur;là\n".encode("cp1252")
    with pytest.raises(InvalidInput, match=r"0xE9 in line 2, column 3.*--encoding cp1252"):
        read(data)
    assert values(read(data, encoding="windows-1252"))[1] == {"q": "cœur", "a": "là"}


@pytest.mark.parametrize(
    "asked",
    [
        {"delimiter": ";;"},
        {"delimiter": '"'},
        {"quote": "\n"},
        {"encoding": "no-such"},
        {"encoding": "zlib"},
        {"encoding": "utf-7"},
        {"format": "json", "delimiter": ";"},
        {"format": "csv", "at": "data"},
    ],
)
def test_options_that_mean_nothing_are_refused(asked: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        seen(AS_CSV, **asked)
    assert refused.value.remedy


# JSON


def test_an_object_around_the_list_is_looked_through() -> None:
    inside = {"version": 1, "by": {"name": "x"}, "data": {"items": TWO}, "count": 2}
    assert values(read(json.dumps(inside))) == TWO
    assert values(read(json.dumps(inside, indent=2))) == TWO
    assert values(read(json.dumps(inside), at="data.items")) == TWO


def test_one_object_is_one_record() -> None:
    assert values(read('{"q": "1+1?", "hints": ["add"], "by": {"name": "x"}}')) == [
        {"q": "1+1?", "hints": ["add"], "by": {"name": "x"}}
    ]


def test_a_second_list_is_told_and_can_be_named() -> None:
    both = json.dumps({"train": TWO[:1], "test": TWO[1:]})
    found = read(both)
    assert [one.place.record for one in found] == [1, 2]
    assert [(one.code, one.fatal) for one in flaws(found)] == [("another_list", False)]
    assert values(read(both, at="test")) == TWO[1:]


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", '{"data": [{"a": 1}]}'])
def test_a_list_that_is_not_there_is_an_error(text: str) -> None:
    (flaw,) = flaws(read(text, at="no.where"))
    assert (flaw.code, flaw.fatal) == ("no_list", True)


def test_the_text_of_a_record_comes_with_its_place() -> None:
    first, second = read('[{"q": "é"},\n  {"q": "𝟙"}]')
    assert (first.place, first.raw) == (Place(1, 1, 2), '{"q": "é"}')
    assert (second.place, second.raw) == (Place(2, 2, 3), '{"q": "𝟙"}')


def test_a_long_text_is_cut_with_a_mark() -> None:
    (found,) = read(json.dumps([{"q": "x" * 100_000}]))
    assert found.raw.endswith("…[34,473 more characters]")


# CSV


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_divides_every_row_alike(mark: str) -> None:
    rows = [["problem", "answer"], ["2, 3; 4|5\t6 and $x$", "7"], ["a, b, c", "8"]]
    text = "\r\n".join(mark.join(f'"{cell}"' for cell in row) for row in rows)
    assert seen(text).delimiter == mark
    assert values(read(text))[0] == {"problem": "2, 3; 4|5\t6 and $x$", "answer": "7"}


def test_commas_in_the_cells_of_another_delimiter_do_not_mislead() -> None:
    text = "problem;answer\nTom has 1, 2, 3 pens;6\nAnn, Bob and Eve;3\n"
    assert values(read(text)) == [
        {"problem": "Tom has 1, 2, 3 pens", "answer": "6"},
        {"problem": "Ann, Bob and Eve", "answer": "3"},
    ]


def test_a_spreadsheet_may_tell_its_delimiter() -> None:
    found = read("sep=;\nq;a\n1,5;2\n")
    assert values(found) == [{"q": "1,5", "a": "2"}]
    assert found[0].place == Place(1, 3, 1)


def test_rows_without_a_header_get_numbered_columns() -> None:
    text = "What is 1+1?,2\nWhat is 2+2?,4\n"
    assert seen(text).header is False
    assert values(read(text))[1] == {"column1": "What is 2+2?", "column2": "4"}
    assert values(read(text, header=True)) == [{"What is 1+1?": "What is 2+2?", "2": "4"}]


def test_a_column_without_a_name_gets_its_number() -> None:
    assert values(read(",q,a\n0,x,y\n")) == [{"column1": "0", "q": "x", "a": "y"}]


def test_one_column_is_csv_if_that_is_said() -> None:
    assert values(read("problem\n1+1\n\n2+2\n", CSV)) == [{"problem": "1+1"}, {"problem": "2+2"}]
    assert seen("problem\n1+1\n", "p.csv").format is CSV


def test_quotes_hold_delimiters_ends_of_lines_and_doubled_quotes() -> None:
    text = 'q,a\r\n"x, ""y""\r\nz",1\r\n2,3\r\n'
    first, second = read(text)
    assert values([first, second]) == [{"q": 'x, "y"\r\nz', "a": "1"}, {"q": "2", "a": "3"}]
    assert (first.place, second.place) == (Place(1, 2, 1), Place(2, 4, 1))
    assert first.raw == '"x, ""y""\r\nz",1'


def test_another_quote_or_none_can_be_named() -> None:
    assert values(read("q;a\n'x;y';1\n", quote="'")) == [{"q": "x;y", "a": "1"}]
    assert values(read('q\ta\n6" pipe\t1\n"x\t2\n', quote="")) == [
        {"q": '6" pipe', "a": "1"},
        {"q": '"x', "a": "2"},
    ]


# YAML


def test_yaml_is_read_by_the_core_schema_of_version_1_2() -> None:
    text = "- {a: no, b: 010, c: 1:30, d: 0o17, e: 0x1F, f: ~, g: true, h: 1e3, i: .5, j: +1}"
    (found,) = values(read(text, YAML))
    assert list(found) == list("abcdefghij")
    assert list(found.values()) == ["no", 10, "1:30", 15, 31, None, True, 1000.0, 0.5, 1]
    assert type(found["b"]) is int


def test_yaml_texts_may_be_blocks_and_names_anything_plain() -> None:
    text = "- q: |\n    two\n    lines\n  a: >-\n    one\n    line\n  1: x\n  'yes': \"no\\n\"\n"
    assert values(read(text)) == [{"q": "two\nlines\n", "a": "one line", "1": "x", "yes": "no\n"}]


def test_yaml_documents_are_records() -> None:
    text = "---\nq: 1+1?\nsteps:\n- text: add\n---\n# nothing\n---\nq: 2+2?\n...\n"
    assert values(read(text)) == [{"q": "1+1?", "steps": [{"text": "add"}]}, {"q": "2+2?"}]


def test_a_yaml_mapping_around_the_list_is_looked_through() -> None:
    text = "version: 1\nby: {names: [x, y]}\ndata:\n  items:\n  - q: 1+1?\n    a: '2'\nend: [1]\n"
    assert values(read(text)) == [TWO[0]]
    assert values(read(text, at="data.items")) == [TWO[0]]
    assert values(read("q: 1+1?\na: '2'\n")) == [TWO[0]]
    assert marks(read(text, at="by.none")) == [(1, 1, "no_list")]


def test_a_second_yaml_list_is_told() -> None:
    found = read("train:\n- q: 1\ntest:\n- q: 2\n")
    assert [one.place.record for one in found] == [1, 2]
    assert marks(found) == [(4, 1, "another_list")]


def test_the_text_of_a_yaml_record_can_stand_alone() -> None:
    first, second = read("# all\n- q: 1\n  a: 2\n\n# next\n- q: 3\n")
    assert (first.place, first.raw) == (Place(1, 2, 3), "  q: 1\n  a: 2\n\n# next")
    assert second.raw == "q: 3"
    assert values(read(first.raw, YAML)) == [{"q": 1, "a": 2}]
