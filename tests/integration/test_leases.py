"""What a wrong clock wrote does not wait until that clock would have been right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tdsys.store import Store, Tx, imports, runs
from tdsys.store.leases import LONGEST_WAIT
from tests.factories import NOW, make_captures
from tests.stored import LEASE, admit, claim, enqueue, freeze, ingest, upload

AHEAD = timedelta(hours=2)


def send(tx: Tx) -> None:
    ingest(tx, make_captures(1))
    upload(tx)


def queue(tx: Tx) -> None:
    admit(tx, make_captures(9))
    enqueue(tx, freeze(tx))


CLAIMS: dict[str, tuple[Callable[[Tx], object], Callable[[Tx, datetime], object]]] = {
    "candidate": (lambda tx: ingest(tx, make_captures(1)), lambda tx, now: claim(tx, now=now)),
    "import": (send, lambda tx, now: imports.claim(tx, lease=LEASE, now=now)),
    "run": (queue, lambda tx, now: runs.claim(tx, lease=LEASE, now=now)),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_a_worker_whose_clock_was_ahead_leaves_nothing_that_waits_for_hours(
    store: Store, what: str
) -> None:
    prepare, take = CLAIMS[what]
    with store.begin() as tx:
        prepare(tx)
        assert take(tx, NOW + AHEAD)
        assert take(tx, NOW)


@pytest.mark.parametrize("what", CLAIMS)
def test_a_backoff_and_two_clocks_that_differ_a_little_are_respected(
    store: Store, what: str
) -> None:
    prepare, take = CLAIMS[what]
    with store.begin() as tx:
        prepare(tx)
        assert take(tx, NOW + LONGEST_WAIT)
        assert not take(tx, NOW)
