"""Workers of one batch wait for each other as shortly as can be, and never in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest

from tdsys.core.batch import BatchState, CellState, Kind, Maker
from tdsys.core.spending import Spend
from tdsys.store import Store, Tx, batches, making, policies
from tdsys.store.batches import Opening, Portion
from tdsys.store.making import Claimed
from tests.batching import Line
from tests.factories import NOW
from tests.making import ScriptedMaker, ScriptedWorkshop, paid
from tests.processes import wait_for
from tests.stored import waits

LEASE = timedelta(minutes=1)


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """Another worker."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def opened(store: Store, portions: int) -> tuple[UUID, list[Claimed]]:
    """A batch, and its portions in hands."""
    kept = [Portion("sums", "easy", ("s",), 2)] * portions
    opening = Opening("d", Kind.SYNTHESIS, kept, {}, "m", 100, "ann")
    with store.begin() as tx:
        policies.ensure_domain(tx, domain="d", now=NOW)
        batch_id = batches.open_(tx, opening=opening, policy_version=1, now=NOW)
        return batch_id, making.claim(tx, limit=portions, lease=LEASE, now=NOW)


def in_one(store: Store, work: Callable[[Tx], object]) -> object:
    with store.begin() as tx:
        return work(tx)


def test_who_writes_down_attempts_keeps_nobody_from_another_portion(
    store: Store, beside: ThreadPoolExecutor
) -> None:
    _, (first, second) = opened(store, 2)
    with store.begin() as tx:
        making.hold(tx, claimed=first)
        done = beside.submit(in_one, store, lambda tx: making.hold(tx, claimed=second))
        assert done.result(10), "a batch is held by nobody who only writes down"


def test_a_batch_that_is_cancelled_waits_for_who_writes_and_not_in_a_circle(
    store: Store, beside: ThreadPoolExecutor
) -> None:
    batch_id, (claimed,) = opened(store, 1)
    with store.begin() as tx:
        assert making.reserve(tx, claimed=claimed, spend=Spend(5))
    with store.begin() as tx:
        _, now = making.hold(tx, claimed=claimed)
        cancelled = beside.submit(
            in_one, store, lambda tx: batches.cancel(tx, batch_id=batch_id, now=NOW)
        )
        wait_for(lambda: waits(store), "it waits for the portion")
        making.settle(tx, claimed=now, spent=Spend(3))
    assert cancelled.result(10) is True
    with store.begin() as tx:
        batch = batches.find(tx, batch_id=batch_id)
        assert [one.state for one in batches.portions(tx, batch_id=batch_id)] == ["cancelled"]
    assert (batch.state, batch.spent, batch.reserved) == (BatchState.CANCELLED, 3, 0)


def test_of_two_last_portions_that_end_at_once_one_ends_the_batch(
    store: Store, beside: ThreadPoolExecutor
) -> None:
    batch_id, (first, second) = opened(store, 2)

    def end(tx: Tx, claimed: Claimed) -> BatchState | None:
        _, now = making.hold(tx, claimed=claimed)
        making.end(tx, claimed=now, reason="enough")
        return batches.close_if_over(tx, batch_id=batch_id, now=NOW)

    with store.begin() as tx:
        assert end(tx, first) is None
        last = beside.submit(in_one, store, lambda tx: end(tx, second))
        wait_for(lambda: waits(store), "the second waits for the first")
    assert last.result(10) is BatchState.PARTIAL


class Meanwhile(ScriptedWorkshop):
    """A worker that is overtaken between looking at the budget and taking of it."""

    def __init__(self, first: ScriptedMaker) -> None:
        super().__init__(first)
        self.happens: Callable[[], object] = lambda: None

    def maker(self, strategy: str) -> Maker:
        happens, self.happens = self.happens, lambda: None
        happens()
        return super().maker(strategy)


def test_a_budget_that_others_took_in_the_same_moment_is_waited_for_and_not_given_up(
    store: Store,
) -> None:
    workshop = Meanwhile(ScriptedMaker(paid, calls=1))
    line = Line(store, workshop)
    batch_id = line.ask(20, Kind.SYNTHESIS, topics=("sums",), difficulties=("easy",), max_calls=9)
    with store.begin() as tx:
        (other,) = making.claim(tx, limit=1, lease=LEASE, now=line.clock())
    workshop.happens = lambda: in_one(
        store, lambda tx: making.reserve(tx, claimed=other, spend=Spend(9))
    )
    line.make()
    with store.begin() as tx:
        states = {one.id: one for one in batches.portions(tx, batch_id=batch_id)}
    mine = next(one for id_, one in states.items() if id_ != other.id)
    assert mine.state == CellState.DUE.value
    assert "others have set aside" in (mine.reason or "")
    assert mine.fallbacks == []
    assert line.workshop.first.orders == []
