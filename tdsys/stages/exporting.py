"""Dataset versions as files: the same version gives the same bytes, also after its examples left.

One rule: everything written comes from what was frozen with the version.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from importlib.util import find_spec
from itertools import islice
from typing import Any, NamedTuple

from pydantic import JsonValue

from tdsys.core import dataset
from tdsys.core.datacard import ABOUT, SPLITS, Described, Stated, Written, card, croissant
from tdsys.core.dataset import Member, Split
from tdsys.core.policy import FieldType
from tdsys.core.spreadsheet import harmless
from tdsys.errors import ConfigurationError
from tdsys.store import Store, datasets
from tdsys.store.datasets import DatasetVersion

COLUMNS = tuple(name for name, *_ in ABOUT)
ROWS_AT_ONCE = 10_000
# A zip file's first moment; a real one would make two exports differ.
LONG_AGO = (1980, 1, 1, 0, 0, 0)


class Form(NamedTuple):
    """One way to write a version as a file."""

    ending: str
    media: str
    write: Callable[[Described], Iterator[bytes]]


class FolderFile(NamedTuple):
    """One file of a folder, by its path in it."""

    path: str
    content: bytes


def described(store: Store, *, version: DatasetVersion) -> Described:
    """Everything that exports of a version are made of."""
    with store.begin() as tx:
        members = datasets.members(tx, version_id=version.id)
        removed = len(datasets.tombstones(tx, version_id=version.id))
    return Described(
        domain=version.domain,
        name=version.name,
        fingerprint=version.fingerprint,
        because=version.because,
        policy_version=version.policy_version,
        created_at=version.created_at.astimezone(UTC),
        signature=version.signature,
        credits=[Stated(*credit.model_dump().values()) for credit in version.credits],
        members=members,
        removed=removed,
    )


def pieces(one: Described, *, form: str) -> Iterator[bytes]:
    """The version as one file, in order."""
    return FORMS[form].write(one)


def folder(one: Described) -> Iterator[FolderFile]:
    """The version as a folder that Hugging Face's `datasets` and Croissant's tools read.

    README.md, croissant.json, and data/SPLIT.jsonl for each split that holds anything.
    """
    files, written = {}, []
    for split in Split:
        content = b"".join(_rows(one, [m for m in one.members if m.split is split]))
        if content:
            path = files[split] = f"data/{SPLITS[split]}.jsonl"
            written.append(Written(path, hashlib.sha256(content).hexdigest(), len(content)))
            yield FolderFile(path, content)
    yield FolderFile("README.md", card(one, files).encode())
    yield FolderFile("croissant.json", _document(croissant(one, written)))


def available() -> list[str]:
    """The forms that can be written here."""
    return [name for name in FORMS if name != "parquet" or find_spec("pyarrow")]


def _jsonl(one: Described) -> Iterator[bytes]:
    """One example a line, with every field it holds."""
    for member in one.members:
        content = {"inputs": member.example.inputs, "outputs": member.example.outputs}
        yield _line(_about(member) | content)


def _rows(one: Described, members: Sequence[Member]) -> Iterator[bytes]:
    """One example a line, with the program's fields only: each line has the same columns."""
    for member in members:
        yield _line(_row(one, member))


def _row(one: Described, member: Member) -> dict[str, Any]:
    item = dataset.item(member.example, one.signature)
    return _about(member) | {"inputs": item.inputs, "outputs": item.outputs}


def _about(member: Member) -> dict[str, Any]:
    example = member.example
    found = {"uid": example.fingerprint, "split": member.split.value, **example.model_dump()}
    return {name: found[name] for name in COLUMNS}


def _dspy(one: Described) -> Iterator[bytes]:
    """`{fingerprint, inputs: [names], train|val|test: [fields of dspy.Example]}`."""
    document: dict[str, object] = {
        "fingerprint": one.fingerprint,
        "inputs": list(one.signature.inputs),
    }
    for split in Split:
        items = (dataset.item(m.example, one.signature) for m in one.members if m.split is split)
        document[split.value] = [
            {**item.inputs, **item.outputs, "dspy_uid": item.uid} for item in items
        ]
    yield _document(document)


def _csv(one: Described) -> Iterator[bytes]:
    """A table; cells that a spreadsheet would calculate begin with an apostrophe."""
    fields = sorted({name for m in one.members for name in _flat(m) if name not in COLUMNS})
    yield _cells([*COLUMNS, *map(harmless, fields)])
    for member in one.members:
        flat = _flat(member)
        yield _cells([harmless(flat.get(name, "")) for name in (*COLUMNS, *fields)])


def _flat(member: Member) -> dict[str, str]:
    example = member.example
    return {
        **{name: _cell(value) for name, value in _about(member).items()},
        **{f"inputs.{name}": _cell(value) for name, value in example.inputs.items()},
        **{f"outputs.{name}": _cell(value) for name, value in example.outputs.items()},
    }


def _cell(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cells(cells: list[str]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue().encode()


def _parquet(one: Described) -> Iterator[bytes]:
    """A table with the program's fields only; ConfigurationError where pyarrow is missing."""
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as missing:
        raise ConfigurationError(
            "Parquet needs pyarrow, which is not installed", remedy="pip install 'tdsys[parquet]'"
        ) from missing

    schema = _arrow_schema(pa, one)
    sink = io.BytesIO()
    with parquet.ParquetWriter(sink, schema, compression="snappy") as writer:
        rows = (_row(one, member) for member in one.members)
        while block := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(block, schema=schema))
    yield sink.getvalue()


def _arrow_schema(pa: Any, one: Described) -> Any:
    kinds = {"string": pa.string(), "bool": pa.bool_(), "float64": pa.float64()}
    types: dict[FieldType, Any] = {
        "text": pa.string(),
        "list": pa.list_(pa.string()),
    }
    sides = (("inputs", one.signature.inputs), ("outputs", one.signature.outputs))
    columns = [(name, kinds[kind]) for name, kind, *_ in ABOUT]
    columns += [
        (side, pa.struct([(name, types[kind]) for name, kind in fields.items()]))
        for side, fields in sides
    ]
    told = {"domain": one.domain, "version": one.name, "fingerprint": one.fingerprint}
    return pa.schema(columns, metadata={"tdsys": json.dumps(told)})


def _zipped(one: Described) -> Iterator[bytes]:
    """The folder as one file, for a browser."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted(folder(one)):
            packed.writestr(zipfile.ZipInfo(file.path, LONG_AGO), file.content)
    yield sink.getvalue()


def _line(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _document(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()


FORMS = {
    "jsonl": Form("jsonl", "application/x-ndjson", _jsonl),
    "dspy": Form("dspy.json", "application/json", _dspy),
    "csv": Form("csv", "text/csv", _csv),
    "parquet": Form("parquet", "application/vnd.apache.parquet", _parquet),
    "huggingface": Form("zip", "application/zip", _zipped),
}
FORMATS = tuple(FORMS)
