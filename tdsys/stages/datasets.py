"""Dataset versions and programs, to look at and to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from tdsys.core import dataset
from tdsys.core.versions import Tombstone
from tdsys.errors import NotFound, NotReady
from tdsys.store import Store, datasets, programs
from tdsys.store.datasets import DatasetVersion, Placed
from tdsys.store.programs import StoredProgram


class Difference(NamedTuple):
    """How one version differs from another: members that came, went, or changed their split."""

    before: DatasetVersion
    after: DatasetVersion
    added: dict[str, Placed]
    removed: dict[str, Placed]
    moved: dict[str, tuple[Placed, Placed]]
    same: int


def found(store: Store, *, domain: str, version: str | None) -> DatasetVersion:
    """A version of a domain by its name or id, or the newest; NotReady when there is none yet."""
    with store.begin() as tx:
        if version is not None:
            return datasets.named(tx, domain=domain, name=version)
        latest = datasets.latest(tx, domain=domain)
    if latest is None:
        raise NotReady(
            f"{domain} has no dataset version yet",
            remedy="see why with `tdsys optimize status`",
        )
    return latest


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
