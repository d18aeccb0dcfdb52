"""Dataset versions: what is in them, what changed between two, and their files."""

from __future__ import annotations

from typing import Any

from tdsys.core.people import Right
from tdsys.errors import InvalidInput
from tdsys.stages import archive, datasets, exporting
from tdsys.store.datasets import DatasetVersion, Placed
from tdsys.web.browse.address import number
from tdsys.web.pages import Download, File, Page
from tdsys.web.visit import Visit, missing

MEMBERS_SHOWN = 500


def listed(visit: Visit) -> dict[str, Any]:
    """The newest version of each domain, or all of one."""
    domain = visit.domain()
    if domain:
        found = archive.versions(visit.store, domain=domain, domains=visit.domains)
    else:
        found = archive.newest_versions(visit.store, domains=visit.domains)
    return {"domain": domain, "versions": [_told(one) for one in found]}


def shown(visit: Visit) -> dict[str, Any]:
    """One version: its members, and how it differs from another (the one before, if not said)."""
    one = datasets.version(visit.store, version_id=number(visit, "version"), domains=visit.domains)
    every = archive.versions(visit.store, domain=one.domain, domains=visit.domains)
    other = _other(visit, one, every)
    members = datasets.members(visit.store, version=one)
    return {
        "version": _told(one),
        "tombstones": [one._asdict() for one in datasets.tombstones(visit.store, version=one)],
        "members": [_member(uid, m) for uid, m in list(members.items())[:MEMBERS_SHOWN]],
        "others": [_told(v) for v in every if v.id != one.id],
        "difference": other and _difference(visit, other, one),
        "formats": exporting.available(),
    }


def _other(visit: Visit, one: DatasetVersion, every: list[DatasetVersion]) -> DatasetVersion | None:
    wanted = visit.query.get("against")
    if not wanted:
        return next((v for v in every if v.id == one.parent_id), None)
    for other in every:
        if wanted == str(other.id):
            return other
    raise InvalidInput("there is no such version of this domain", remedy="choose one of the list")


def _difference(visit: Visit, before: DatasetVersion, after: DatasetVersion) -> dict[str, Any]:
    found = datasets.difference(visit.store, before=before, after=after)
    moved = [{**_member(uid, new), "from": old.split} for uid, (old, new) in found.moved.items()]
    return {
        "before": _told(before),
        "added": [_member(uid, one) for uid, one in found.added.items()],
        "removed": [_member(uid, one) for uid, one in found.removed.items()],
        "moved": moved,
        "same": found.same,
    }


def export(visit: Visit) -> File:
    """One version as a file."""
    format_ = visit.path["format"]
    if format_ not in exporting.available():
        raise missing("form")
    one = datasets.version(visit.store, version_id=number(visit, "version"), domains=visit.domains)
    form = exporting.FORMS[format_]
    whole = exporting.described(visit.store, version=one)
    return File(f"dataset-{one.id}.{form.ending}", form.media, form.write(whole))


def _told(one: DatasetVersion) -> dict[str, Any]:
    told: dict[str, Any] = one.model_dump(mode="json")
    return {**told, "name": one.name, "size": one.size}


def _member(uid: str, one: Placed) -> dict[str, Any]:
    return {"uid": uid, **one._asdict()}


ROUTES = (
    Page("/datasets", Right.LOOK, listed, "browse/datasets.html"),
    Page("/datasets/{id:int}", Right.LOOK, shown, "browse/dataset.html"),
    Download("/datasets/{id:int}/export/{format}", Right.LOOK, export),
)
