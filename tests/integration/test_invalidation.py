"""Whatever changes data makes what was learned from it stale in the same transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tdsys.core.browsing import Filter
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.sections import Lifecycle
from tdsys.stages import (
    curation,
    forgetting,
    operating,
    optimizing,
    policies,
    pruning,
    replaying,
)
from tdsys.store import Store, programs, runs
from tests.factories import NOW, make_captures
from tests.scripted import Clock, ScriptedOptimizer, ScriptedVerifier
from tests.stored import LEASE, admit, enqueue, freeze, keep

LATER = NOW + timedelta(days=40)
DOMAIN = "arithmetic"


def retire(store: Store) -> None:
    curation.move(store, example_id=1, move=Move.RETIRE, reason="r", actor="ann", now=LATER)


def flag(store: Store) -> None:
    curation.move(store, example_id=1, move=Move.FLAG, reason="r", actor="ann", now=LATER)


def forget(store: Store) -> None:
    forgetting.forget(store, ids=[1], actor="ann", reason="r", now=LATER)


def in_bulk(store: Store) -> None:
    number = operating.begin(store, asked=Filter(), move=Move.RETIRE, reason="r", actor="ann",
                             domains=None, now=LATER)  # fmt: skip
    operating.go_on(store, operation_id=number, clock=lambda: LATER)
    operating.confirm(store, operation_id=number, now=LATER)
    operating.go_on(store, operation_id=number, clock=lambda: LATER)


def replay(store: Store) -> None:
    policies.put(store, domain=DOMAIN, author="ann", now=LATER,
                 policy=Policy(admit_quality=1, collection="manual"))  # fmt: skip
    replaying.replay(store, domain=DOMAIN, actor="ann", clock=lambda: LATER)


def prune(store: Store) -> None:
    """Nothing is active or open, so age takes what a program learned from."""
    with store.begin() as tx:
        tx.execute(text("UPDATE programs SET active = false"))
        admit(tx, make_captures(40, inputs={"another": "one"}))
    rules = Policy(min_examples=30, lifecycle=Lifecycle(retire_after_days=30))
    policies.put(store, domain=DOMAIN, author="ann", now=LATER, policy=rules)
    pruning.prune(store, domain=DOMAIN, actor="lifecycle", clock=lambda: LATER)


def rejudge(store: Store) -> None:
    curation.move(store, example_id=1, move=Move.REPLAY, reason="r", actor="ann", now=LATER)


CHANGES: tuple[Callable[[Store], None], ...] = (
    retire, flag, forget, in_bulk, replay, prune, rejudge,
)  # fmt: skip


@pytest.mark.criterion("6.4")
@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_every_way_to_change_data_makes_programs_stale(
    store: Store, change: Callable[[Store], None]
) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(30))
        keep(tx, freeze(tx))
    change(store)
    with store.begin() as tx:
        (program,) = programs.programs(tx, domain=DOMAIN)
    assert program.stale


class Disturbed(ScriptedOptimizer):
    """While it compiles, somebody changes what it learns from."""

    def __init__(self, during: Callable[[], None]) -> None:
        super().__init__()
        self._during = during

    def optimize(self, *given: Any, **more: Any) -> Any:
        self._during()
        return super().optimize(*given, **more)


def ended(store: Store, during: Callable[[Store], None]) -> Any:
    with store.begin() as tx:
        admit(tx, make_captures(40))
        run_id = enqueue(tx, freeze(tx))
    optimizing.run_due(store, optimizer=Disturbed(lambda: during(store)), clock=Clock(),
                       verifier=ScriptedVerifier(), lease=LEASE)  # fmt: skip
    with store.begin() as tx:
        return runs.run(tx, run_id=run_id or uuid.uuid4())


@pytest.mark.criterion("6.4")
def test_a_run_whose_data_moved_ends_marked_stale(store: Store) -> None:
    run = ended(store, retire)
    assert run.state == "finished", run.reason
    assert run.outcome["stale"] is True
    assert "stale: its data has moved since" in run.reason
    with store.begin() as tx:
        assert [one.stale for one in programs.programs(tx, domain=DOMAIN)] == [True]


def test_a_run_whose_data_is_forgotten_ends_without_a_program(store: Store) -> None:
    run = ended(store, forget)
    assert run.state == "cancelled"
    with store.begin() as tx:
        assert programs.programs(tx, domain=DOMAIN) == []
