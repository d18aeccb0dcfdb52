"""Check a database against what must always be true, and against what a generator was promised."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from tdsys.errors import InvalidInput
from tdsys.store import Store, invariants
from tdsys.store.invariants import Finding
from tdsys.store.leases import farthest

# Beat rings every 15 s, and a worker that was killed takes a while to be back.
GRACE = timedelta(seconds=60)
LEDGER_BLOCK = 5000
SHOWN = 5


class Reconciled(NamedTuple):
    """What became of accepted captures; the ids are the first few of their kind."""

    accepted: int = 0
    refused: int = 0
    lost: int = 0
    doubled: int = 0
    refused_ids: tuple[UUID, ...] = ()
    lost_ids: tuple[UUID, ...] = ()
    doubled_ids: tuple[UUID, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is lost and nothing doubled; a refusal is explained, not lost."""
        return not (self.lost or self.doubled)


def audit(
    store: Store, *, lease: timedelta, now: datetime, grace: timedelta = GRACE
) -> list[Finding]:
    """Check every invariant as of one moment; writes nothing."""
    times = {
        "overdue": now - lease - grace,
        "farthest": farthest(now, lease=lease) + grace,
    }
    with store.snapshot() as tx:
        invariants.patiently(tx)
        return [invariants.check(tx, one, **times) for one in invariants.INVARIANTS]


def reconcile(store: Store, accepted: Iterable[UUID]) -> Reconciled:
    """Compare the captures a generator was told are kept with what is there; writes nothing."""
    found, ids = Reconciled(), iter(accepted)
    with store.snapshot() as tx:
        invariants.patiently(tx)
        while block := list(islice(ids, LEDGER_BLOCK)):
            found = _and(found, invariants.fates(tx, accepted=block), len(block))
    return found


def _and(found: Reconciled, block: invariants.Fates, accepted: int) -> Reconciled:
    return Reconciled(
        accepted=found.accepted + accepted,
        refused=found.refused + len(block.refused),
        lost=found.lost + len(block.lost),
        doubled=found.doubled + len(block.doubled),
        refused_ids=(found.refused_ids + block.refused)[:SHOWN],
        lost_ids=(found.lost_ids + block.lost)[:SHOWN],
        doubled_ids=(found.doubled_ids + block.doubled)[:SHOWN],
    )


def ledger(path: Path) -> Iterator[UUID]:
    """The capture ids of a file: on each line one, or a JSON object with `capture_id`.

    A last line without its end was being written when its writer died: it is left out.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip() and line.endswith(b"\n"):
                yield _id(line, f"{path}, line {number}")


def _id(line: bytes, where: str) -> UUID:
    text = line.strip().decode(errors="replace")
    try:
        return UUID(str(json.loads(text)["capture_id"]) if text.startswith("{") else text)
    except (ValueError, KeyError, RecursionError):
        raise InvalidInput(
            f"{where}: {text[:60]!r} is no capture id",
            remedy='write one id, or {"capture_id": "..."}, on each line',
        ) from None
