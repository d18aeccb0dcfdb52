"""Lay each domain's active program, and the challenger its policy tries, where generators look."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Protocol

from pydantic import JsonValue

from tdsys.core.policy import Policy
from tdsys.store import Store, activations, policies, programs
from tdsys.store.programs import StoredProgram
from tdsys.wire import PROGRAM_BYTES, PROGRAM_FORMAT

log = logging.getLogger("tdsys.serving")


class Shelf(Protocol):
    """Where documents lie."""

    def holds(self, documents: Sequence[tuple[str, bytes]]) -> list[bool]:
        """Of each domain, whether that very document lies there."""
        ...

    def put(self, domain: str, document: bytes) -> None:
        """Lay one down in place of what was there."""
        ...


def publish(store: Store, shelf: Shelf) -> list[str]:
    """Put down what does not lie there, as after an activation or a loss; of which domains."""
    with store.begin() as tx:
        rules = policies.currents(tx)
        champions = programs.active(tx, domains=None)
        tried = {one.domain for one in champions if _share(rules[one.domain][1])}
        made = {domain: programs.programs(tx, domain=domain) for domain in sorted(tried)}
        once = {
            domain: {one.program_id for one in activations.listed(tx, domain=domain)}
            for domain in sorted(tried)
        }
    documents = []
    for one in champions:
        rival = challenger(one, made.get(one.domain, []), once.get(one.domain, set()))
        document = _document(one, rival, _share(rules[one.domain][1]))
        if len(document) <= PROGRAM_BYTES:
            documents.append((one.domain, document))
        else:
            log.error("program %s is too large to be served: %s bytes", one.id, len(document))
    if not documents:
        return []
    missing = [
        one for one, is_there in zip(documents, shelf.holds(documents), strict=True) if not is_there
    ]
    for domain, document in missing:
        shelf.put(domain, document)
    return [domain for domain, _ in missing]


def challenger(
    champion: StoredProgram, made: Sequence[StoredProgram], once: set[int]
) -> StoredProgram | None:
    """The newest program that waits: of the same fields, not shown worse, never active."""
    return next(
        (
            one
            for one in made
            if one.id > champion.id
            and one.id not in once
            and not one.stale
            and not one.comparison.loses()
            and _fields(one) == _fields(champion)
        ),
        None,
    )


def _share(policy: Policy) -> float:
    return policy.activation.challenger_share


def _document(champion: StoredProgram, rival: StoredProgram | None, share: float) -> bytes:
    told: dict[str, JsonValue] = {
        "format": PROGRAM_FORMAT,
        "domain": champion.domain,
        "share": share if rival else 0.0,
        "champion": _told(champion),
        "challenger": _told(rival) if rival else None,
    }
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode()


def _told(one: StoredProgram) -> JsonValue:
    # Which versions of libraries made it is in the envelope; a program would get it as a member.
    state: dict[str, JsonValue] = {n: v for n, v in one.state.items() if n != "metadata"}
    return {"id": one.id, "state": state}


def _fields(one: StoredProgram) -> JsonValue:
    signature = one.envelope.get("signature")
    if not isinstance(signature, dict):
        return None
    return [signature.get("inputs"), signature.get("outputs")]
