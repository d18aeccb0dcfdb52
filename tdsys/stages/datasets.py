"""Hand datasets and programs out: the same version gives the same bytes every time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from tdsys.core import dataset
from tdsys.core.dataset import Member
from tdsys.core.policy import Signature
from tdsys.errors import NotReady
from tdsys.store import Store, datasets, programs
from tdsys.store.datasets import DatasetVersion
from tdsys.store.programs import StoredProgram

FORMATS = ("jsonl", "dspy")


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
    lines = _jsonl(members) if format_ == "jsonl" else _dspy(members, version)
    yield from lines


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
