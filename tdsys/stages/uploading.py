"""Take a file's bytes in, from wherever they come; what they hold is read later, elsewhere.

One rule: an upload is nothing before it is sealed, so one that breaks off is never read as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from tdsys.core.conversion import ImportOptions
from tdsys.core.example import check_domain
from tdsys.errors import InvalidInput
from tdsys.stages.leases import Clock
from tdsys.store import Store, imports, policies
from tdsys.store.imports import Import


class Received(NamedTuple):
    """What became of an upload: `again` when the same file was imported before, the same way.

    A new domain is there now, but of a strict import: that makes it when its records come in.
    """

    import_id: UUID
    is_new_domain: bool = False
    again: bool = False


def receive(
    store: Store,
    *,
    pieces: Iterable[bytes],
    filename: str,
    domain: str,
    options: ImportOptions,
    actor: str,
    clock: Clock,
    sha256: str = "",
) -> Received:
    """Upload a file's bytes; with `sha256` known before, InvalidInput when they changed."""
    check_domain(domain)
    if earlier := sha256 and known(store, domain=domain, sha256=sha256, options=options):
        return Received(earlier.id, again=True)
    with store.begin() as tx:
        is_new = domain not in policies.domains(tx)
        if is_new and not options.strict:
            policies.ensure_domain(tx, domain=domain, now=clock())
        in_force = policies.currents(tx, names=[domain])
        import_id = imports.open_(
            tx,
            domain=domain,
            filename=filename,
            options=options.model_dump(mode="json"),
            actor=actor,
            policy_version=in_force[domain][0] if in_force else policies.FIRST,
            now=clock(),
        )
    found, size = _upload(store, import_id, pieces)
    if sha256 and found != sha256:
        _discard(store, import_id)
        raise InvalidInput(f"{filename} changed while it was read", remedy="import it once more")
    if earlier := known(store, domain=domain, sha256=found, options=options):
        _discard(store, import_id)
        return Received(earlier.id, is_new, again=True)
    with store.begin() as tx:
        imports.seal(tx, import_id=import_id, sha256=found, size=size, now=clock())
    return Received(import_id, is_new)


def _upload(store: Store, import_id: UUID, pieces: Iterable[bytes]) -> tuple[str, int]:
    """Store the bytes piece by piece, each in its own transaction: the source may be slow."""
    digest, size = hashlib.sha256(), 0
    for position, piece in enumerate(pieces):
        digest.update(piece)
        size += len(piece)
        with store.begin() as tx:
            imports.append(tx, import_id=import_id, position=position, content=piece)
    return digest.hexdigest(), size


def _discard(store: Store, import_id: UUID) -> None:
    with store.begin() as tx:
        imports.discard(tx, import_id=import_id)


def known(store: Store, *, domain: str, sha256: str, options: ImportOptions) -> Import | None:
    """The import of the same bytes in the same way, if nothing was wrong or it is under way.

    What was rejected before may be taken now: benchmarks, policies and programs change.
    """
    with store.begin() as tx:
        same = imports.same(tx, domain=domain, sha256=sha256)
    for one in same:
        is_clean = one.finished_at is None or not (one.faulty or one.reason)
        if is_clean and ImportOptions.model_validate(one.options) == options:
            return one
    return None
