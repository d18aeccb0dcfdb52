"""What a dataset version says of itself: a card for people and Hugging Face, Croissant for tools.

One rule: it depends on what was frozen and on nothing else, so the same version always says the
same; and whatever came from outside is text in it, never markup.

Croissant is MLCommons' format 1.0 (http://mlcommons.org/croissant/1.0).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from tdsys.core.dataset import Member, Split
from tdsys.core.example import Source
from tdsys.core.licences import KNOWN, UNSTATED, of_the_hub
from tdsys.core.policy import FieldType, Signature
from tdsys.core.printable import printable

# Hugging Face's names of splits.
SPLITS = {Split.TRAIN: "train", Split.VAL: "validation", Split.TEST: "test"}
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# Columns beside the fields: name, Hugging Face's type, Croissant's.
ABOUT = (
    ("uid", "string", "sc:Text", "The example's identity: a hash of its content."),
    ("split", "string", "sc:Text", "train, val or test."),
    ("topic", "string", "sc:Text", "What the problem is about."),
    ("difficulty", "string", "sc:Text", "How hard it is."),
    ("source", "string", "sc:Text", "captured, bootstrapped, synthetic, imported or manual."),
    ("simulated", "bool", "sc:Boolean", "Whether a simulated model had a part in it."),
    ("quality", "float64", "sc:Float", "The judge's overall score, 0 to 1."),
)
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
HUGE = "n>1M"
_NAMED = frozenset(KNOWN) - {UNSTATED, "NONE"}
_ADDRESS = "https://spdx.org/licenses/{}.html"
_NO_SLUG = re.compile(r"[^a-z0-9.-]+")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


class Stated(NamedTuple):
    """A licence that was stated, whom it asks to name, and of how many examples."""

    license: str
    attribution: str
    examples: int


class Described(NamedTuple):
    """A frozen version with everything that is said of it; `removed` is how many left it."""

    domain: str
    name: str
    fingerprint: str
    because: str
    policy_version: int
    created_at: datetime
    signature: Signature
    credits: Sequence[Stated]
    members: Sequence[Member]
    removed: int


class Written(NamedTuple):
    """A data file beside the card."""

    path: str
    sha256: str
    size: int


def card(one: Described, files: Mapping[Split, str]) -> str:
    """README.md: a header that Hugging Face reads, then what people should know.

    `files` is the path of each split's data.
    """
    header = "".join(f"{key}: {_yaml(value)}\n" for key, value in _header(one, files).items())
    return f"---\n{header}---\n" + "\n".join(_body(one, files)) + "\n"


def croissant(one: Described, files: Sequence[Written]) -> dict[str, Any]:
    """croissant.json: the same for tools that read data sets by their description."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": _title(one),
        "description": f"Mathematics problems of the domain {one.domain!r}: requests, and the "
        "problems, solutions and answers that were admitted for them. Made by tdsys.",
        "conformsTo": CONFORMS_TO,
        "license": _license_addresses(one),
        "url": f"urn:sha256:{one.fingerprint}",
        "version": f"{one.name}.0",
        "datePublished": one.created_at.date().isoformat(),
        "creator": {"@type": "sc:Organization", "name": "who runs this installation of tdsys"},
        "keywords": ["mathematics", "few-shot examples", *sorted({m.example.topic
                     for m in one.members})],
        "citeAs": f"tdsys dataset version {one.name} of {one.domain}, {one.fingerprint}",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file.path,
                "name": file.path,
                "contentUrl": file.path,
                "encodingFormat": "application/jsonlines",
                "contentSize": f"{file.size} B",
                "sha256": file.sha256,
            }
            for file in files
        ],
        "recordSet": [_records(one.signature, file) for file in files],
    }  # fmt: skip


def _records(signature: Signature, file: Written) -> dict[str, Any]:
    name = file.path.rpartition("/")[2].partition(".")[0]
    about = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{column}",
            "name": column,
            "description": told,
            "dataType": kind,
            "source": _from(file, column),
        }
        for column, _, kind, told in ABOUT
    ]
    sides = (("inputs", signature.inputs), ("outputs", signature.outputs))
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"The {name} split, one example a line.",
        "key": {"@id": f"{name}/uid"},
        "field": [*about, *(_nested(name, file, side, fields) for side, fields in sides)],
    }


def _nested(name: str, file: Written, side: str, fields: Mapping[str, FieldType]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{name}/{side}",
        "name": side,
        "description": f"The program's {side}.",
        "subField": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{side}/{field}",
                "name": field,
                "dataType": "sc:Text",
                "source": _from(file, side) | {"transform": {"jsonPath": field}},
                **({"repeated": True} if kind == "list" else {}),
            }
            for field, kind in fields.items()
        ],
    }


def _from(file: Written, column: str) -> dict[str, Any]:
    return {"fileObject": {"@id": file.path}, "extract": {"column": column}}


def _header(one: Described, files: Mapping[Split, str]) -> dict[str, Any]:
    sources = {m.example.source for m in one.members}
    return {
        "pretty_name": _title(one),
        **_license(one),
        "task_categories": ["text-generation"],
        "tags": ["mathematics", "dspy", "tdsys", *(["synthetic"] if Source.SYNTHETIC in sources
                 else []), *(["simulated"] if any(m.example.simulated for m in one.members)
                 else [])],
        "size_categories": [next((name for most, name in SIZES if len(one.members) < most), HUGE)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": SPLITS[split], "path": path} for split, path in files.items()
                ],
            }
        ],
        "dataset_info": {"features": _features(one.signature)},
    }  # fmt: skip


def _features(signature: Signature) -> list[dict[str, Any]]:
    sides = (("inputs", signature.inputs), ("outputs", signature.outputs))
    return [
        *({"name": name, "dtype": kind} for name, kind, *_ in ABOUT),
        *(
            {
                "name": side,
                "struct": [
                    {"name": name, "list" if kind == "list" else "dtype": "string"}
                    for name, kind in fields.items()
                ],
            }
            for side, fields in sides
        ),
    ]


def _license(one: Described) -> dict[str, str]:
    """Hugging Face's keys for it: one licence if it is all members', else what there is."""
    stated = {credit.license for credit in one.credits}
    covered = sum(credit.examples for credit in one.credits) == len(one.members)
    only = next(iter(stated)) if len(stated) == 1 and covered else UNSTATED
    if key := of_the_hub(only):
        return {"license": key}
    if not stated - {UNSTATED}:
        return {"license": "unknown"}
    if only == UNSTATED:
        return {"license": "other", "license_name": "several"}
    link = {"license_link": _ADDRESS.format(only)} if only in _NAMED else {}
    return {"license": "other", "license_name": _NO_SLUG.sub("-", only.lower()), **link}


def _license_addresses(one: Described) -> list[str]:
    stated = sorted({credit.license for credit in one.credits})
    named = [_ADDRESS.format(n) if n in _NAMED else n for n in stated]
    covered = sum(credit.examples for credit in one.credits) == len(one.members)
    return named if covered and named else [*named, UNSTATED]


def _body(one: Described, files: Mapping[Split, str]) -> Iterator[str]:
    sizes = Counter(m.split for m in one.members)
    simulated = sum(m.example.simulated for m in one.members)
    yield f"# {_text(_title(one))}\n"
    yield (
        f"{len(one.members):,} mathematics problems with their requests, frozen as version "
        f"{one.name} on {one.created_at.date().isoformat()} under policy version "
        f"{one.policy_version}. Its name by content is `{one.fingerprint}`: the same name, the "
        "same examples in the same splits.\n"
    )
    if one.because:
        yield f"Why this version: {_text(one.because)}. {one.removed} examples left it.\n"
    if simulated:
        yield (
            f"**{simulated:,} of them are simulated**: a built-in stand-in for a language model "
            "made or judged them. They show that the machinery works and nothing else.\n"
        )
    yield "## Splits\n"
    yield "| split | examples | file |\n|---|---:|---|"
    for split, path in files.items():
        yield f"| {SPLITS[split]} | {sizes[split]:,} | `{path}` |"
    yield (
        "\nNear-duplicates are all in one split. Within a major version (the first number) val "
        "and test stay as they are and only train grows, so scores can be compared.\n"
    )
    yield from _cells(one)
    yield from _columns(one.signature)
    yield from _sources(one)
    yield from _loading(files)


def _cells(one: Described) -> Iterator[str]:
    held = Counter((m.example.cell, m.split) for m in one.members)
    yield "## Topics and difficulties\n"
    yield "| topic | difficulty | train | validation | test |\n|---|---|---:|---:|---:|"
    for cell in sorted({m.example.cell for m in one.members}):
        counts = " | ".join(str(held[cell, split]) for split in Split)
        yield f"| {_text(cell.topic)} | {_text(cell.difficulty)} | {counts} |"


def _columns(signature: Signature) -> Iterator[str]:
    yield "\n## Columns\n"
    for name, kind, _, told in ABOUT:
        yield f"- `{name}` ({kind}): {told}"
    for side, fields in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for name, kind in fields.items():
            what = "list of strings" if kind == "list" else "string"
            yield f"- {_text(f'{side}.{name}')} ({what})"


def _sources(one: Described) -> Iterator[str]:
    held = Counter(m.example.source.value for m in one.members)
    quality = sorted(m.example.quality for m in one.members)
    yield "\n## Where they come from\n"
    yield ", ".join(f"{n:,} {name}" for name, n in sorted(held.items())) + "."
    if quality:
        yield (
            f"A judge's overall score runs from {quality[0]:.2f} to {quality[-1]:.2f}, the middle "
            f"one is {quality[len(quality) // 2]:.2f}. It is a model's or a person's opinion on "
            "what passed deterministic checks, no proof."
        )
    yield "\n## Licences\n"
    for credit in one.credits:
        whom = f", {_text(credit.attribution)}" if credit.attribution else ""
        yield f"- {_text(credit.license)}: {credit.examples:,} imported examples{whom}"
    other = len(one.members) - sum(credit.examples for credit in one.credits)
    if other:
        yield f"- none stated: {other:,} examples"


def _loading(files: Mapping[Split, str]) -> Iterator[str]:
    first = next(iter(files.values()), "data/train.jsonl")
    yield "\n## Loading\n"
    yield "```python"
    yield "import json"
    yield f'with open("{first}", encoding="utf-8") as file:'
    yield "    rows = [json.loads(line) for line in file]"
    yield "# or: datasets.load_dataset(FOLDER)"
    yield "```"


def _title(one: Described) -> str:
    return f"{one.domain} {one.name}"


def _text(text: str) -> str:
    """Text of strangers inside Markdown: every sign that could mean something is escaped."""
    return _PUNCTUATION.sub(r"\\\1", printable(text))


def _yaml(value: object) -> str:
    """JSON in ASCII is YAML, and no text can leave its quotes."""
    return json.dumps(value)
