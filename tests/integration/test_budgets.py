"""No interleaving of workers, and no kill -9, takes a batch over its calls, tokens or money."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from uuid import UUID

import dspy
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as explore
from sqlalchemy import text

from tdsys import runtime
from tdsys.core.batch import TEMPLATES, CellState, Draft, Kind, Maker, Order, Refused
from tdsys.core.spending import Spend, grant
from tdsys.errors import Conflict, NotReady
from tdsys.llm.generators import GeneratorMaker
from tdsys.llm.session import Model
from tdsys.stages import filling, synthesizing
from tdsys.stages.synthesizing import Means
from tdsys.store import Store, batches, making, policies
from tdsys.store.batches import Budget, Opening, Portion
from tdsys.store.making import Claimed
from tests.batching import Line
from tests.commanding import Shell
from tests.factories import NOW
from tests.making import ScriptedMaker, ScriptedWorkshop, drafted
from tests.processes import wait_for
from tests.stub_provider import StubProvider

LEASE = timedelta(seconds=1)
PRICE = 2.0
CALLS_EACH, CALL_TOKENS = 3, 4000


def opened(store: Store, *, calls: int, tokens: int | None, cost: int | None, n: int = 3) -> UUID:
    """A batch of so many portions."""
    portions = [Portion("sums", "easy", ("s", "templates"), 10)] * n
    opening = Opening("d", Kind.SYNTHESIS, portions, {}, "m", calls, "ann",
                      max_tokens=tokens, max_cost=cost, price=PRICE)  # fmt: skip
    with store.begin() as tx:
        policies.ensure_domain(tx, domain="d", now=NOW)
        return batches.open_(tx, opening=opening, policy_version=1, now=NOW)


def set_aside(store: Store, claimed: Claimed) -> Spend | None:
    """As a worker does before it asks a model."""
    with store.begin() as tx:
        batch, now = making.hold(tx, claimed=claimed)
        got = grant(batch.left, wanted=2, calls_each=CALLS_EACH, call_tokens=CALL_TOKENS)
        return got.reserved if got and making.reserve(tx, claimed=now, spend=got.reserved) else None


def book(store: Store, claimed: Claimed, spent: Spend) -> None:
    """As a worker does when the model has answered."""
    with store.begin() as tx:
        _, now = making.hold(tx, claimed=claimed)
        making.settle(tx, claimed=now, spent=spent)


class Workers(RuleBasedStateMachine):
    """Three portions in hands that reserve, spend, die and are overtaken, in any order."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        with self.store.begin() as tx:
            tx.execute(text("TRUNCATE batches CASCADE"))
        self.batch = opened(self.store, calls=40, tokens=100_000, cost=150_000)
        self.now = NOW
        self.held: dict[int, tuple[Claimed, Spend]] = {}
        self.paid = Spend()

    @rule()
    def claim(self) -> None:
        """Whatever is due: the portions of the dead among them."""
        self.now += timedelta(milliseconds=400)
        with self.store.begin() as tx:
            for one in making.claim(tx, limit=2, lease=LEASE, now=self.now):
                making.forfeit(tx, claimed=one)
                self.held[one.id] = (one, Spend())

    @rule(place=st.integers(0, 2))
    def reserve(self, place: int) -> None:
        idle = [one for one, kept in self.held.values() if not kept.calls]
        if place < len(idle) and (got := set_aside(self.store, idle[place])):
            self.held[idle[place].id] = (idle[place], got)

    @rule(place=st.integers(0, 2), share=st.floats(0, 1))
    def spend(self, place: int, share: float) -> None:
        busy = [pair for pair in self.held.values() if pair[1].calls]
        if place < len(busy):
            claimed, kept = busy[place]
            spent = Spend(*(int((part or 0) * share) for part in kept))
            self.paid = Spend(*((a or 0) + (b or 0) for a, b in zip(self.paid, spent, strict=True)))
            book(self.store, claimed, spent)
            self.held[claimed.id] = (claimed, Spend())

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """What it had set aside may have been paid."""
        _, kept = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        self.paid = Spend(*((a or 0) + (b or 0) for a, b in zip(self.paid, kept, strict=True)))

    @invariant()
    def holds(self) -> None:
        with self.store.begin() as tx:
            now = batches.find(tx, batch_id=self.batch)
        calls, tokens, micros = self.paid
        assert calls <= now.spent + now.reserved <= now.max_calls
        assert now.max_tokens
        assert tokens <= now.tokens + now.reserved_tokens <= now.max_tokens
        assert now.cost is not None
        assert now.max_cost
        assert (micros or 0) <= now.cost + now.reserved_cost <= now.max_cost


def test_no_interleaving_takes_a_batch_over_a_budget(store: Store) -> None:
    Workers.store = store
    explore(Workers, settings=settings(
        max_examples=8, stateful_step_count=20, deadline=None,
        suppress_health_check=list(HealthCheck),
    ))  # fmt: skip


def spending(url: str, journal: Path) -> None:
    """A worker that pays for what it has set aside, line by line, until nothing is left."""
    store, turn = Store(url), random.Random(os.getpid())
    with journal.open("ab", buffering=0) as paid:
        while True:
            with store.begin() as tx:
                taken = making.claim(tx, limit=1, lease=LEASE, now=datetime.now(UTC))
            if not taken:
                time.sleep(0.01)
                continue
            (claimed,) = taken
            try:
                with store.begin() as tx:
                    making.forfeit(tx, claimed=claimed)
                got = set_aside(store, claimed)
                if got is None:
                    os._exit(0)
                calls = [turn.randrange(1, CALL_TOKENS) for _ in range(got.calls)]
                for tokens in calls:
                    paid.write(b"%d\n" % tokens)
                    time.sleep(turn.random() / 300)
                tokens = sum(calls)
                book(store, claimed, Spend(len(calls), tokens, int(tokens * PRICE)))
                with store.begin() as tx:
                    _, now = making.hold(tx, claimed=claimed)
                    due = datetime.now(UTC)
                    making.put_off(tx, claimed=now, state=CellState.DUE, due_at=due, outages=0)
            except Conflict:
                continue


def paid_lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


# So many workers are killed, each when so many more calls were paid for; most are still to come.
KILLS, BETWEEN = 6, 12


def test_no_kill_9_takes_a_batch_over_a_budget(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    batch_id = opened(store, calls=400, tokens=600_000, cost=1_100_000, n=4)
    store.close()  # no connection is carried through a fork
    journal, turn = tmp_path / "paid", random.Random(5)
    forked = multiprocessing.get_context("fork")

    def start() -> BaseProcess:
        process = forked.Process(target=spending, args=(database_url, journal), daemon=True)
        process.start()
        return process

    workers = [start() for _ in range(3)]
    for kill in range(1, KILLS + 1):
        wait_for(lambda n=kill: paid_lines(journal) >= n * BETWEEN, "some more is paid for")  # type: ignore[misc]
        victim = turn.randrange(len(workers))
        os.kill(workers[victim].pid or 0, signal.SIGKILL)
        workers[victim].join()
        workers[victim] = start()
    wait_for(lambda: not any(one.is_alive() for one in workers), "nothing is left", seconds=60)
    lines = [int(line) for line in journal.read_text().splitlines()]
    with store.begin() as tx:
        now = batches.find(tx, batch_id=batch_id)
    assert len(lines) <= now.spent + now.reserved <= 400
    assert sum(lines) <= now.tokens + now.reserved_tokens <= 600_000
    assert now.cost is not None
    assert sum(lines) * PRICE <= now.cost + now.reserved_cost + len(lines)
    assert now.cost + now.reserved_cost <= 1_100_000
    assert len(lines) > 100, "the budget was used"


def paid(order: Order) -> Draft:
    """One call of 900 tokens at a known price."""
    return drafted(order)._replace(calls=1, tokens=900, micros=1800.0)


def ask(line: Line, **over: object) -> UUID:
    return line.ask(20, Kind.SYNTHESIS, topics=("sums",), dearest=PRICE, **over)


def test_a_batch_ends_where_its_tokens_or_money_or_time_do_and_says_which(store: Store) -> None:
    line = Line(store, ScriptedWorkshop(ScriptedMaker(paid, calls=1), templates=none()))
    tokens = line.run(ask(line, max_tokens=15_000))
    money = line.run(ask(line, max_cost=0.03))
    timed = ask(line, max_minutes=5)
    line.clock.forward(minutes=6)
    over = line.run(timed)
    for report, said in ((tokens, "tokens are left"), (money, "is left, too little"),
                         (over, "time is over")):  # fmt: skip
        assert report.batch.state == "partial"
        assert any(said in f"{one.because}" for one in report.fallbacks), report.fallbacks
    # An attempt may take 10,000 at the worst, so all is used but what is too little for one.
    assert 5_000 < tokens.batch.tokens <= 15_000
    assert money.batch.cost
    assert 10_000 < money.batch.cost <= 30_000
    assert over.batch.spent == 0
    assert 0 < tokens.whole.admitted < 20


def test_a_portion_waits_for_what_others_have_set_aside_and_do_not_use(store: Store) -> None:
    line = Line(store, ScriptedWorkshop(ScriptedMaker(paid, calls=1), templates=none()))
    report = line.run(ask(line, max_tokens=30_000))
    assert (report.batch.state, report.whole.admitted) == ("finished", 20)
    assert 20 * 900 <= report.batch.tokens <= 30_000
    assert report.fallbacks == []


def test_every_order_under_a_token_budget_says_what_its_calls_may_take(store: Store) -> None:
    maker = ScriptedMaker(paid, calls=1)
    line = Line(store, ScriptedWorkshop(maker, templates=none()))
    line.run(ask(line))
    assert {order.most_tokens for order in maker.orders} == {None}
    maker.orders.clear()
    line.run(ask(line, max_tokens=200_000))
    sizes = [order.most_tokens or 0 for order in maker.orders]
    assert max(sizes) == 8000
    assert min(sizes) >= 2500


def test_a_cost_that_somebody_does_not_name_is_unknown_and_never_zero(store: Store) -> None:
    def unpriced(order: Order) -> Draft:
        return paid(order)._replace(micros=None)

    line = Line(store, ScriptedWorkshop(ScriptedMaker(unpriced, calls=1)))
    report = line.run(line.ask(2, Kind.SYNTHESIS))
    assert report.batch.cost is None
    with pytest.raises(NotReady, match="what a model costs is not known"):
        line.ask(2, Kind.SYNTHESIS, max_cost=1)


def test_going_on_allows_as_much_again_or_what_is_said(store: Store) -> None:
    line = Line(store, ScriptedWorkshop(ScriptedMaker(paid, calls=1), templates=none()))
    batch_id = ask(line, max_tokens=15_000, max_minutes=5)
    line.run(batch_id)
    with store.begin() as tx:
        assert batches.resume(tx, batch_id=batch_id, more=Budget(calls=7), now=line.clock())
        now = batches.find(tx, batch_id=batch_id)
    assert (now.left.tokens, now.left.calls) == (15_000, 7)
    assert now.ends_at == line.clock() + timedelta(minutes=5)


def none() -> ScriptedMaker:
    """Templates that have nothing of the cell."""
    return ScriptedMaker(lambda _: Refused("no_template", "unknown"))


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubProvider]:
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))
    monkeypatch.setenv("OPENAI_API_KEY", "any text")
    with StubProvider() as stub:
        yield stub


class ThreePrompts(dspy.Module):  # type: ignore[misc]
    """A customer's generator: nobody can see from outside that it asks three times."""

    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict("topic, difficulty, take -> problem, solution, answer")

    def forward(self, topic: str, difficulty: str) -> Any:
        for take in "abc":
            self.write(topic=topic, difficulty=difficulty, take=take)
        n = next(NUMBERS)  # the stub says the same again
        return {"problem": f"{n} and 1?", "solution": f"{n}+1={n + 1}", "answer": str(n + 1)}


NUMBERS = itertools.count(1)


class Program(ScriptedWorkshop):
    """A worker's own maker of that generator; its templates have nothing."""

    def __init__(self, stub: StubProvider) -> None:
        super().__init__()
        model = Model(stub.model, api_base=stub.api_base)
        self.generator = GeneratorMaker("g", ThreePrompts(), lambda: model, threads=4)

    def maker(self, strategy: str) -> Maker:
        return none() if strategy == TEMPLATES else self.generator


@pytest.mark.criterion("2.5")
@pytest.mark.parametrize(("allowed", "tokens"), [(20, None), (31, None), (200, 30_000)])
def test_two_workers_with_a_program_of_three_calls_never_pass_the_batchs_calls_and_tokens(
    store: Store, provider: StubProvider, allowed: int, tokens: int | None
) -> None:
    one, two = (Line(store, Program(provider)) for _ in range(2))
    batch_id = one.ask(40, max_calls=allowed, max_tokens=tokens, dearest=PRICE)

    def work(line: Line) -> None:
        while line.make().more:
            pass

    deadline = time.monotonic() + 60
    while filling.report(store, batch_id=batch_id).batch.state == "open":
        assert time.monotonic() < deadline
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, (one, two)))
        one.score()
        for line in (one, two):
            line.clock.forward(seconds=10)
    report = filling.report(store, batch_id=batch_id)
    sent = len(provider.requests)
    assert sent == report.batch.spent <= allowed
    assert report.batch.reserved == 0
    assert any("budget:" in fallback.because for fallback in report.fallbacks)
    assert report.batch.cost is None, "nobody knows the price, so it is not 0"
    assert report.batch.tokens > 0
    if tokens is None:
        assert allowed - sent < 3, "what is left is too little for an attempt"
        assert report.whole.made >= allowed // 3 - 4
    else:
        assert report.batch.tokens <= tokens
        assert report.whole.made > 2


def test_the_command_keeps_to_tokens_money_and_time_and_shows_them(
    tdsys: Shell, process: pytest.MonkeyPatch, provider: StubProvider
) -> None:
    terms = {provider.model: {"price_in": 1, "price_out": 4}}
    process.setenv("TDSYS_LM", provider.model)
    process.setenv("TDSYS_LM_API_BASE", provider.api_base)
    words = ("synthesize", "--domain", "algebra", "--topics", "linear equations", "--count", "2",
             "--difficulties", "easy", "--strategies", "persona")  # fmt: skip
    assert tdsys(*words, "--max-cost", "1").code == 3
    process.setenv("TDSYS_MODELS", json.dumps(terms))
    runtime.close()
    said = tdsys(*words, "--max-cost", "1", "--max-tokens", "50000", "--max-minutes", "9",
                 "--detach", "--json")  # fmt: skip
    batch_id = said.result["batch"]
    worked = runtime.current()
    means = Means(worked.workshop, worked.verifier, worked.solver, worked.settings.call_tokens)
    synthesizing.make_due(worked.store, means=means, clock=worked.now, lease=worked.lease, block=4)
    told = tdsys("batch", "show", batch_id, "--json").document
    assert (told["max_tokens"], told["max_cost"], told["calls"]) == (50_000, 1, 6)
    assert 0 < told["cost"] < 0.1
    assert 0 < told["tokens"] < 50_000
    for request in provider.requests:
        assert 0 < (request.get("max_tokens") or request["max_completion_tokens"]) < 8000
    assert f"cost ${told['cost']:.4f} of $1.0000" in tdsys("batch", "show", batch_id).out
