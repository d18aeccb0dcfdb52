"""Hand datasets and programs out: the same version gives the same bytes every time."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

from tdsys.core import dataset
from tdsys.core.dataset import Member
from tdsys.core.policy import Signature
from tdsys.core.spreadsheet import harmless
from tdsys.core.versions import Tombstone
from tdsys.errors import NotFound, NotReady
from tdsys.store import Store, datasets, programs
from tdsys.store.datasets import DatasetVersion, Placed
from tdsys.store.programs import StoredProgram

FORMATS = ("jsonl", "dspy", "csv")
ABOUT = ("uid", "split", "topic", "difficulty", "source", "simulated", "quality")


class Difference(NamedTuple):
    """How one version differs from another: members that came, went, or changed their split."""

    before: DatasetVersion
    after: DatasetVersion
    added: dict[str, Placed]
    removed: dict[str, Placed]
    moved: dict[str, tuple[Placed, Placed]]
    same: int


def export(store: Store, *, domain: str, format_: str) -> Iterator[str]:
    """The newest version, line by line: JSONL, or one JSON list for `dspy.Example`."""
    with store.begin() as tx:
        version = datasets.latest(tx, domain=domain)
        if version is None:
            raise NotReady(
                f"{domain} has no dataset version yet",
                remedy="see why with `tdsys optimize status`",
            )
        members = datasets.members(tx, version_id=version.id)
    yield from _written(members, version, format_)


def export_version(
    store: Store, *, version_id: int, format_: str, domains: Collection[str] | None
) -> Iterator[str]:
    """One version in the same forms; NotFound where there is none that may be seen."""
    found = version(store, version_id=version_id, domains=domains)
    with store.begin() as tx:
        members = datasets.members(tx, version_id=found.id)
    return _written(members, found, format_)


def version(store: Store, *, version_id: int, domains: Collection[str] | None) -> DatasetVersion:
    """One version; NotFound where there is none that may be seen."""
    with store.begin() as tx:
        found = datasets.version(tx, id=version_id)
    if domains is not None and found.domain not in domains:
        raise NotFound(f"there is no dataset version {version_id}", remedy="list them first")
    return found


def members(store: Store, *, version: DatasetVersion) -> dict[str, Placed]:
    """Which examples a version holds, by fingerprint."""
    with store.begin() as tx:
        return datasets.placed(tx, version_id=version.id)


def tombstones(store: Store, *, version: DatasetVersion) -> list[Tombstone]:
    """What a version had to give up."""
    with store.begin() as tx:
        return datasets.tombstones(tx, version_id=version.id)


def difference(store: Store, *, before: DatasetVersion, after: DatasetVersion) -> Difference:
    """What happened between two versions of one domain."""
    with store.begin() as tx:
        old = datasets.placed(tx, version_id=before.id)
        new = datasets.placed(tx, version_id=after.id)
    both = [name for name in new if name in old]
    moved = {name: (old[name], new[name]) for name in both if old[name].split != new[name].split}
    return Difference(
        before,
        after,
        added={name: one for name, one in new.items() if name not in old},
        removed={name: one for name, one in old.items() if name not in new},
        moved=moved,
        same=len(both) - len(moved),
    )


def program(store: Store, *, domain: str) -> StoredProgram:
    """The domain's incumbent program."""
    with store.begin() as tx:
        found = programs.incumbent(tx, domain=domain)
    if found is None:
        raise NotReady(
            f"{domain} has no active program yet", remedy="see why with `tdsys optimize status`"
        )
    return found


def sizes(store: Store, *, domain: str) -> Counter[dataset.Split]:
    """How many examples each split of the newest version holds."""
    with store.begin() as tx:
        version = datasets.latest(tx, domain=domain)
        members = datasets.members(tx, version_id=version.id) if version else []
    return Counter(m.split for m in members)


def _written(members: list[Member], version: DatasetVersion, format_: str) -> Iterator[str]:
    if format_ == "csv":
        return _csv(members)
    return _jsonl(members) if format_ == "jsonl" else _dspy(members, version)


def _csv(members: list[Member]) -> Iterator[str]:
    """A table; cells that a spreadsheet would calculate begin with an apostrophe."""
    fields = sorted({name for m in members for name in _flat(m) if name not in ABOUT})
    yield _line([*ABOUT, *map(harmless, fields)])
    for member in members:
        flat = _flat(member)
        yield _line([harmless(flat.get(name, "")) for name in (*ABOUT, *fields)])


def _flat(member: Member) -> dict[str, str]:
    example = member.example
    about = {"uid": example.fingerprint, "split": member.split.value, **example.model_dump()}
    return {
        **{name: _cell(about[name]) for name in ABOUT},
        **{f"inputs.{name}": _cell(value) for name, value in example.inputs.items()},
        **{f"outputs.{name}": _cell(value) for name, value in example.outputs.items()},
    }


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(cells: list[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()


def _jsonl(members: list[Member]) -> Iterator[str]:
    for member in members:
        example = member.example
        yield (
            json.dumps(
                {
                    "uid": example.fingerprint,
                    "split": member.split,
                    "topic": example.topic,
                    "difficulty": example.difficulty,
                    "source": example.source,
                    "simulated": example.simulated,
                    "quality": example.quality,
                    "inputs": example.inputs,
                    "outputs": example.outputs,
                },
                sort_keys=True,
                ensure_ascii=False,
            )
            + "\n"
        )


def _dspy(members: list[Member], version: DatasetVersion) -> Iterator[str]:
    """`{fingerprint, inputs: [names], train|val|test: [fields of dspy.Example]}`."""
    document: dict[str, object] = {
        "fingerprint": version.fingerprint,
        "inputs": list(version.signature.inputs),
    }
    for split in dataset.Split:
        document[split.value] = [_fields(m, version.signature) for m in members if m.split is split]
    yield json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def _fields(member: Member, signature: Signature) -> dict[str, object]:
    item = dataset.item(member.example, signature)
    return {**item.inputs, **item.outputs, "dspy_uid": item.uid}
