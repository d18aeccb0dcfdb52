"""Versions as files: plain tools read them, and the same version is the same bytes for ever."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import runpy
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml
from sqlalchemy import text

from tdsys.core.example import Source
from tdsys.core.spreadsheet import original
from tdsys.stages import datasets, exporting
from tdsys.store import Store
from tdsys.store.datasets import DatasetVersion
from tests.commanding import Shell, one_line
from tests.factories import PROBLEM, make_capture
from tests.files import MAPPED, gsm8k, imported, jsonl
from tests.stored import admit, freeze

TITLE = '=HYPERLINK("x") | **<b>"\' --- 多少 \x1b'
SPLITS = ("train", "validation", "test")


@pytest.fixture
def version(store: Store) -> DatasetVersion:
    """Nine problems, one of them hostile."""
    odd = {"topic": TITLE[:40], "difficulty": "- easy", "context": "a\nb", "secret": {"x": 1}}
    captures = [
        make_capture(domain="sums", outputs={**PROBLEM, "answer": str(n)}, **over)
        for n, over in enumerate([{"inputs": odd}, *({} for _ in range(8))])
    ]
    with store.begin() as tx:
        admit(tx, captures)
        return freeze(tx, domain="sums")


def written(store: Store, form: str) -> bytes:
    one = datasets.found(store, domain="sums", version=None)
    return b"".join(exporting.pieces(exporting.described(store, version=one), form=form))


def folder(store: Store) -> dict[str, bytes]:
    one = datasets.found(store, domain="sums", version=None)
    return dict(exporting.folder(exporting.described(store, version=one)))


def rows(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


@pytest.mark.criterion("5.1")
@pytest.mark.parametrize("form", exporting.FORMATS)
def test_a_version_is_the_same_bytes_in_every_form_also_when_its_examples_are_gone(
    store: Store, version: DatasetVersion, form: str
) -> None:
    assert version.size == 9
    before = written(store, form)
    with store.begin() as tx:
        tx.execute(text("DELETE FROM examples"))
    assert written(store, form) == before
    assert len(before) > 1000


def test_every_form_holds_the_same_examples(store: Store, version: DatasetVersion) -> None:
    plain = {row["uid"]: row for row in rows(written(store, "jsonl"))}
    assert len(plain) == version.size
    table = pyarrow.parquet.read_table(io.BytesIO(written(store, "parquet")))
    columns = ["uid", "split", "topic", "difficulty", "source", "simulated", "quality"]
    assert table.column_names == [*columns, "inputs", "outputs"]
    for row in table.to_pylist():
        assert {name: row[name] for name in columns} == {
            name: plain[row["uid"]][name] for name in columns
        }
        assert row["outputs"] == plain[row["uid"]]["outputs"]
        assert row["inputs"].items() <= plain[row["uid"]]["inputs"].items()
        assert set(row["inputs"]) == {"topic", "difficulty", "context"}, "the program's fields only"
    cells = list(csv.DictReader(io.StringIO(written(store, "csv").decode(), newline="")))
    assert {original(one["uid"]) for one in cells} == set(plain)
    document = json.loads(written(store, "dspy"))
    held = [one for split in ("train", "val", "test") for one in document[split]]
    assert {one["dspy_uid"] for one in held} == set(plain)
    in_folder = [row for name in SPLITS for row in rows(folder(store)[f"data/{name}.jsonl"])]
    assert {row["uid"] for row in in_folder} == set(plain)


@pytest.mark.criterion("5.1")
def test_a_folder_has_a_card_that_hugging_face_reads_and_nothing_of_a_stranger_is_markup(
    store: Store, version: DatasetVersion
) -> None:
    files = folder(store)
    assert sorted(files) == ["README.md", "croissant.json", *sorted(f"data/{n}.jsonl"
                             for n in SPLITS)]  # fmt: skip
    _, header, body = files["README.md"].decode().split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["license"] == "unknown"
    assert told["size_categories"] == ["n<1K"]
    assert told["configs"][0]["data_files"] == [
        {"split": name, "path": f"data/{name}.jsonl"} for name in SPLITS
    ]
    features = {one["name"]: one for one in told["dataset_info"]["features"]}
    assert features["quality"]["dtype"] == "float64"
    assert [one["name"] for one in features["outputs"]["struct"]] == list(version.signature.outputs)
    assert version.fingerprint in body
    assert "<b>" not in body
    assert "\x1b" not in body
    assert "| 多少" not in body


# What the format's document asks for: http://mlcommons.org/croissant/1.0
REQUIRED = {"@context", "@type", "conformsTo", "name", "description", "license", "url", "creator",
            "datePublished"}  # fmt: skip
OF_FILES = {"@type", "@id", "name", "contentUrl", "encodingFormat", "sha256"}


@pytest.mark.criterion("5.1")
def test_croissant_says_what_the_format_asks_for_and_points_to_what_is_there(
    store: Store, version: DatasetVersion
) -> None:
    files = folder(store)
    told = json.loads(files["croissant.json"])
    assert set(told) >= REQUIRED
    assert told["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert (told["@type"], told["version"]) == ("sc:Dataset", "1.0.0")
    sums = {}
    for one in told["distribution"]:
        assert set(one) >= OF_FILES
        content = files[one["contentUrl"]]
        assert one["sha256"] == hashlib.sha256(content).hexdigest()
        sums[one["@id"]] = rows(content)
    for records in told["recordSet"]:
        assert records["@type"] == "cr:RecordSet"
        for field in every_field(records["field"]):
            assert field["@type"] == "cr:Field"
            assert field["dataType"].startswith("sc:")
            source = field["source"]
            held = sums[source["fileObject"]["@id"]][0][source["extract"]["column"]]
            if "transform" in source:
                held = held[source["transform"]["jsonPath"]]
            assert isinstance(held, list) == field.get("repeated", False)
    assert version.size == sum(map(len, sums.values()))


def every_field(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [leaf for one in fields for leaf in one.get("subField", [one])]


@pytest.mark.criterion("8.4")
def test_licences_are_kept_with_the_version_and_told(store: Store) -> None:
    asked = [gsm8k(n) for n in range(9)]
    imported(store, jsonl(asked), domain="sums", license="MIT", attribution="OpenAI", **MAPPED)
    with store.begin() as tx:
        tx.execute(text("UPDATE examples SET state = 'admitted', quality = 1, due_at = NULL"))
        version = freeze(tx, domain="sums")
        tx.execute(text("DELETE FROM examples"))
    assert [(one.license, one.attribution, one.examples) for one in version.credits] == [
        ("MIT", "OpenAI", 9)
    ]
    files = folder(store)
    assert yaml.safe_load(files["README.md"].decode().split("---\n")[1])["license"] == "mit"
    assert "MIT: 9 imported examples, OpenAI" in files["README.md"].decode()
    told = json.loads(files["croissant.json"])
    assert told["license"] == ["https://spdx.org/licenses/MIT.html"]
    (source,) = {row["source"] for row in rows(written(store, "jsonl"))}
    assert source == Source.IMPORTED


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("GPL-3.0-only", {"license": "gpl-3.0"}),
        ("0BSD", {"license": "other", "license_name": "0bsd",
                  "license_link": "https://spdx.org/licenses/0BSD.html"}),
        ("MIT OR LicenseRef-Ours", {"license": "other", "license_name": "mit-or-licenseref-ours"}),
    ],
)  # fmt: skip
def test_a_card_names_a_licence_as_hugging_face_does_or_by_a_name_that_it_takes(
    store: Store, licence: str, told: dict[str, str]
) -> None:
    asked = [gsm8k(n) for n in range(9)]
    imported(store, jsonl(asked), domain="sums", license=licence, **MAPPED)
    with store.begin() as tx:
        tx.execute(text("UPDATE examples SET state = 'admitted', quality = 1, due_at = NULL"))
        freeze(tx, domain="sums")
        tx.execute(text("DELETE FROM examples"))
    header = yaml.safe_load(folder(store)["README.md"].decode().split("---\n")[1])
    assert {name: value for name, value in header.items() if name.startswith("license")} == told


@pytest.mark.usefixtures("version")
def test_the_command_writes_a_folder_in_one_step_and_overwrites_nothing_else(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    words = ("dataset", "export", "--domain", "sums", "--format", "huggingface", "--out")
    out = tmp_path / "set"
    for _ in range(2):
        assert tdsys(*words, out).code == 0
        there = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
        assert there == folder(store)
    (out / "mine.txt").write_text("precious")
    refused = tdsys(*words, out)
    assert refused.code == 2
    assert "mine.txt" in one_line(refused)
    assert (out / "mine.txt").read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert "say where" in one_line(tdsys(*words[:-1]))
    with zipfile.ZipFile(io.BytesIO(written(store, "huggingface"))) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == folder(store)


@pytest.mark.usefixtures("version")
def test_parquet_without_pyarrow_says_what_to_install(
    tdsys: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = tmp_path / "set.parquet"
    said = tdsys("dataset", "export", "--domain", "sums", "--format", "parquet", "--out", out)
    assert said.code == 78
    assert "tdsys[parquet]" in one_line(said)
    assert not list(tmp_path.glob("*set*"))


@pytest.mark.usefixtures("version")
def test_the_python_in_a_card_runs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in folder(store).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    code = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "load.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    loaded = runpy.run_path("load.py")["rows"]
    assert [row["split"] for row in loaded] == ["train"] * 3
