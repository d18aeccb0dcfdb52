"""Public corpora of difficult files; they lie beside the project where they are installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsys.errors import InvalidInput
from tdsys.parsing import Asked, Flaw, Format, detect
from tests.reading import CSV, JSON, JSONL, read, values

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"

# The policy of docs/import-formats.md where RFC 8259 leaves a choice.
REFUSED_BY_POLICY = {
    "y_object_duplicated_key.json": "duplicate_key",
    "y_object_duplicated_key_and_value.json": "duplicate_key",
    "y_object_escaped_null_in_key.json": "bad_character",
    "y_string_null_escape.json": "bad_character",
}
# One value over several lines is JSON, but not a line of JSON Lines.
OVER_SEVERAL_LINES = {"y_array_with_1_and_newline.json", "y_object_with_newlines.json"}
# The file upstream is no UTF-8, though its expected values are.
WRONG_UPSTREAM = {"location_coordinates"}


@pytest.fixture
def json_suite() -> Path:
    return installed("JSONTestSuite") / "test_parsing"


@pytest.fixture
def csv_suite() -> Path:
    return installed("csv-spectrum")


def installed(name: str) -> Path:
    path = CORPORA / name
    if not path.is_dir():
        pytest.skip(f"the corpus {name} is not installed beside the project")
    return path


def verdict(path: Path, kind: Format) -> str | None:
    """Why a file is refused, by its first flaw; None if it is not."""
    try:
        found = read(path.read_bytes(), kind)
    except InvalidInput:
        return "no file of records"
    return next((one.code for one in found if isinstance(one, Flaw)), None)


@pytest.mark.parametrize("kind", [JSON, JSONL])
def test_nothing_that_is_not_json_is_accepted(json_suite: Path, kind: Format) -> None:
    files = list(json_suite.glob("n_*.json"))
    assert len(files) > 180
    assert [path.name for path in files if verdict(path, kind) is None] == []


def test_json_is_known_without_a_format_also_where_it_is_one_lone_value(json_suite: Path) -> None:
    for path in json_suite.glob("y_*.json"):
        if path.read_bytes().strip():
            assert detect(path.read_bytes(), Asked(), filename="in").format in {JSON, JSONL}, path


def test_everything_that_is_json_is_accepted_or_refused_by_policy(json_suite: Path) -> None:
    files = list(json_suite.glob("y_*.json"))
    assert len(files) > 90
    refused = {path.name: code for path in files if (code := verdict(path, JSON))}
    assert refused == REFUSED_BY_POLICY


def test_a_line_of_json_is_accepted_alike(json_suite: Path) -> None:
    refused = {p.name for p in json_suite.glob("y_*.json") if verdict(p, JSONL)}
    assert refused == REFUSED_BY_POLICY.keys() | OVER_SEVERAL_LINES


def test_what_the_standard_leaves_open_ends_in_a_value_or_a_flaw(json_suite: Path) -> None:
    assert all(
        verdict(path, kind) or read(path.read_bytes(), kind)
        for path in json_suite.glob("i_*.json")
        for kind in (JSON, JSONL)
    )


def csv_cases(folder: Path) -> Iterator[tuple[str, bytes, object]]:
    for path in sorted((folder / "csvs").glob("*.csv")):
        expected = json.loads((folder / "json" / f"{path.stem}.json").read_text())
        if path.stem not in WRONG_UPSTREAM:
            yield path.stem, path.read_bytes(), expected


def test_csv_is_read_as_others_read_it(csv_suite: Path) -> None:
    cases = list(csv_cases(csv_suite))
    assert len(cases) == 11
    for name, data, expected in cases:
        assert values(read(data, CSV, header=True)) == expected, name
