"""Make what batches ask for: claim a portion, make examples, keep every attempt, end with a reason.

One rule: an attempt is kept in the transaction that stores its example and books its calls, so
whatever dies and whenever, the next worker goes on behind the last attempt that is kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from tdsys.core.batch import (
    FEWEST_COPIES,
    IMPORT,
    LONGEST_OUTAGE_WAIT,
    MOST_OUTAGES,
    PORTIONS_AT_ONCE,
    RESUME,
    REVIEW,
    TEMPLATES,
    CellState,
    Draft,
    Fallback,
    Kin,
    Kind,
    Maker,
    Order,
    Parent,
    Refused,
    Standing,
    Workshop,
    calls_per_try,
    most_tries,
    says_the_same,
    setting,
    standing,
    why_given_up,
)
from tdsys.core.example import Source
from tdsys.core.policy import Policy
from tdsys.core.resolving import Solver
from tdsys.core.rubric import Verifier
from tdsys.core.spending import Grant, exhausted, grant
from tdsys.errors import Conflict, StoreUnavailable, TdsysError
from tdsys.stages import material
from tdsys.stages.attempts import Block, Checked, Storable, at_worst, checked, item, spent_on
from tdsys.stages.leases import Clock, kept
from tdsys.stages.novelty import compared
from tdsys.stages.proving import proved
from tdsys.stages.scoring import FIRST_LOOK, backoff, longer
from tdsys.store import Store, Tx, batches, examples, making, policies
from tdsys.store.batches import Batch
from tdsys.store.making import Claimed

log = logging.getLogger("tdsys.synthesizing")
# With fewer places nobody would ask while one writes; what wants so many times as much as is asked
# at once keeps all threads busy.
FEWEST_AT_ONCE, ENOUGH = 2, 4
# Each of those places takes so many one after another, and nobody waits for the slowest meanwhile;
# then what else the process serves has its turn, or after many where it serves nothing else.
PORTIONS_IN_A_ROW = 4
PORTIONS_ALONE = 100
SERIAL_STRIDE = 1000
SOURCES = {Kind.BOOTSTRAP: Source.BOOTSTRAPPED, Kind.SYNTHESIS: Source.SYNTHETIC}
DETAIL_SHOWN = 500
BUDGET_WAIT = timedelta(seconds=2)
NO_TIME = "budget: the batch's time is over"


class Means(NamedTuple):
    """What examples are made and proved with; `call_tokens` is set aside for a call at the most."""

    workshop: Workshop
    verifier: Verifier
    solver: Solver
    call_tokens: int = 8000


class Worked(NamedTuple):
    """What one bell achieved; `more` when the bell should ring again."""

    portions: int
    made: int
    refused: int
    more: bool


def make_due(
    store: Store,
    *,
    means: Means,
    clock: Clock,
    lease: timedelta,
    block: int,
    is_alone: bool = False,
    share: Callable[[], object] = lambda: None,
    tell: Callable[[], object] = lambda: None,
) -> Worked:
    """Work on a few portions, `is_alone`: on many; `block` is how many calls are made at once.

    `share` is called when others could work on some meanwhile, `tell` when one has made examples.
    """
    with store.begin() as tx:
        claimed = list(_claimed(tx, block, lease=lease, now=clock()))
        is_more = making.is_more_due(tx, lease=lease, now=clock())
    if not claimed:
        return Worked(0, 0, 0, more=False)
    if is_more:
        share()
    places = _Places(len(claimed), is_alone=is_alone)

    def claim() -> list[Claimed]:
        with store.single() as tx:
            return making.claim(tx, limit=1, lease=lease, now=clock())

    def work(one: Claimed) -> list[_Portion]:
        done: list[_Portion] = []
        following = [one]
        while following:
            # Together they order more than is made at once: while one writes, others' calls go on.
            portion = _Portion(store, following[0], means, clock, lease, block)
            with places.taken():
                portion.settle()
            done.append(portion)
            if portion.made:
                tell()
            following = places.following(len(done), claim)
        return done

    with ThreadPoolExecutor(len(claimed), thread_name_prefix="tdsys-portion") as pool:
        # Every portion comes to its end, then the first that failed is heard.
        running = [pool.submit(work, one) for one in claimed]
        settled = [portion for one in running for portion in one.result()]
    made, refused = sum(one.made for one in settled), sum(one.refused for one in settled)
    return Worked(len(settled), made, refused, more=True)


def _claimed(tx: Tx, block: int, *, lease: timedelta, now: datetime) -> Iterator[Claimed]:
    """A few portions, unless fewer ask for enough already: what is more, others could make.

    All of a batch ends sooner the fewer wait in the hands of who cannot ask for them yet.
    """
    wanted = 0
    for place in range(PORTIONS_AT_ONCE):
        if place >= FEWEST_AT_ONCE and wanted >= ENOUGH * block:
            break
        for one in making.claim(tx, limit=1, lease=lease, now=now):
            wanted += one.wanted
            yield one


class _Places:
    """Where a worker makes portions side by side, at each one after another."""

    def __init__(self, taken: int, *, is_alone: bool) -> None:
        self._taken, self._is_alone = taken, is_alone
        self._in_a_row = PORTIONS_ALONE if is_alone else PORTIONS_IN_A_ROW
        self._left = threading.Condition()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One of them is, which counts as taken already."""
        try:
            yield
        finally:
            with self._left:
                self._taken -= 1
                self._left.notify_all()

    def following(self, done: int, claim: Callable[[], list[Claimed]]) -> list[Claimed]:
        """What a place has next that has had so many; it takes it.

        Where others may decide meanwhile it waits for what they wake, as long as one is taken.
        """
        pause = FIRST_LOOK
        while done < self._in_a_row:
            if found := claim():
                with self._left:
                    self._taken += 1
                return found
            with self._left:
                if not (self._is_alone and self._taken):
                    break
                self._left.wait(pause)
            pause = longer(pause)
        return []


class _Portion:
    """One claimed portion on its way."""

    def __init__(
        self,
        store: Store,
        claimed: Claimed,
        means: Means,
        clock: Clock,
        lease: timedelta,
        block: int,
    ) -> None:
        self._store, self._claimed, self._means = store, claimed, means
        self._clock, self._lease, self._block = clock, lease, block
        self.made = self.refused = 0
        self._pools: dict[Kin, list[Parent]] = {}

    def settle(self) -> None:
        """Go on until it is complete, waits, or has fallen short; each way is written down."""
        try:
            if self._claimed.reserved:
                with self._store.begin() as tx:
                    making.forfeit(tx, claimed=self._claimed)
            with kept(self._prolong, lease=self._lease):
                while self._go_on_or_give_up():
                    pass
        except Conflict as gone:
            log.info("%s", gone)

    def _go_on_or_give_up(self) -> bool:
        """As `_go_on`; a strategy that raises has had its turn."""
        try:
            return self._go_on()
        except (Conflict, StoreUnavailable):
            raise
        except Exception as bug:
            told = str(bug)
            if not isinstance(bug, TdsysError):
                log.exception("portion %d cannot be made", self._claimed.id)
                told = f"crash: {type(bug).__name__}: {bug}"[:DETAIL_SHOWN]
            with self._held() as desk:
                making.forfeit(desk.tx, claimed=desk.now)  # some of it may have been paid
                return desk.give_up(told)

    def _prolong(self) -> bool:
        with self._store.begin() as tx:
            return making.prolong(tx, claimed=self._claimed, until=self._clock() + self._lease)

    @contextmanager
    def _held(self) -> Iterator[_Desk]:
        """A transaction in which the portion is ours alone."""
        with self._store.begin() as tx:
            yield self._desk(tx, *making.hold(tx, claimed=self._claimed))

    def _desk(self, tx: Tx, batch: Batch, now: Claimed) -> _Desk:
        told = batches.tallies(tx, batch_id=now.batch_id, cell_id=now.id)
        own = standing(one for one in told if one.strategy == now.strategy)
        _, policy = policies.current(tx, domain=batch.domain)
        return _Desk(tx, now, batch, standing(told), own, policy, self._clock())

    def _go_on(self) -> bool:
        """Blocks of attempts, then one step down the ladder; False when nothing is left to do."""
        with self._held() as desk:
            following = self._next(desk)
        while isinstance(following, Block):
            following = self._attempt(following)
        return following

    def _next(self, desk: _Desk) -> Block | bool:
        """What to try next; True: look again, False: the portion has ended or waits."""
        now, found = desk.now, desk.found
        lacking = found.lacking(now.wanted, is_manual=desk.policy.collection == "manual")
        left = most_tries(now.wanted) - now.tries
        if found.undecided and min(lacking, left) <= 0:
            return desk.wait_for_judge()
        if lacking <= 0:
            return desk.end(None if found.admitted >= now.wanted else desk.waiting())
        if desk.is_over():
            return desk.fall_short(NO_TIME)
        same = desk.says_the_same()
        if left <= 0 or same:
            return desk.step_down(same)
        maker = self._means.workshop.maker(now.strategy)
        size = min(lacking, left, self._block)
        granted = desk.granted(maker, size, self._means.call_tokens)
        if granted is None:
            desk = desk.with_budget_held()
            granted = desk.granted(maker, size, self._means.call_tokens)
        if granted is None:
            return desk.without_budget(maker)
        orders = desk.orders(maker, granted, self._material(desk, maker))
        return Block(desk.batch, maker, orders, granted.most_tokens, granted.calls_each)

    def _material(self, desk: _Desk, maker: Maker) -> list[Parent]:
        """Looked up once for each kind."""
        if maker.vouches:
            return []
        if maker.kin not in self._pools:
            self._pools[maker.kin] = desk.drawn(maker.kin)
        return self._pools[maker.kin]

    def _attempt(self, block: Block) -> Block | bool:
        """Make a block, keep what it came to, and say what to try next."""
        began = time.monotonic()
        outcomes = self._outcomes(block)
        seconds = (time.monotonic() - began) / len(block.orders)
        pairs = [
            (order, checked(block, order, outcome, self._clock()))
            for order, outcome in zip(block.orders, outcomes, strict=True)
        ]
        with self._store.begin() as tx:
            desk = self._desk(tx, *self._keep(tx, block, pairs, seconds))
            later = [one for _, one in pairs if isinstance(one, Refused) and one.later]
            away = [one for one in later if not one.short]
            is_away = away and len(later) == len(pairs)
            return desk.wait_for_model(away[0]) if is_away else self._next(desk)

    def _outcomes(self, block: Block) -> list[Draft | Refused]:
        """What making and proving came to; a bug that they wake costs these attempts only."""
        try:
            made = block.maker.make(block.orders)
            outcomes = compared(self._store, made, block.maker, domain=block.batch.domain)
            if block.maker.vouches:  # templates and generators vouch for their own answers
                return outcomes
            return proved(
                outcomes,
                domain=block.batch.domain,
                verifier=self._means.verifier,
                solver=self._means.solver,
                most_tokens=block.most_tokens,
            )
        except TdsysError:
            raise
        except Exception as bug:
            log.exception("%s cannot make portion %d", block.maker.version, self._claimed.id)
            told = f"{type(bug).__name__}: {bug}"[:DETAIL_SHOWN]
            return [Refused("crash", told, **at_worst(block)) for _ in block.orders]

    def _keep(
        self, tx: Tx, block: Block, pairs: Sequence[tuple[Order, Checked]], seconds: float
    ) -> tuple[Batch, Claimed]:
        """Write it all down; the batch and the portion as they are then."""
        _, held = making.hold(tx, claimed=self._claimed)
        found, now = [one for _, one in pairs], self._clock()
        arrivals = [one.arrival for one in found if isinstance(one, Storable)]
        # What stood in for a customer's generator is not what the generator makes.
        is_ours = held.strategy == TEMPLATES
        source = Source.SYNTHETIC if is_ours else SOURCES[block.batch.kind]
        examples.add(tx, arrivals=arrivals, source=source, due_at=now, now=now)
        items = [
            item(block, order, one, seconds)
            for order, one in pairs
            if not (isinstance(one, Refused) and one.later)
        ]
        made = making.record(tx, claimed=held, items=items, now=now) if items else 0
        drafts = [one.draft if isinstance(one, Storable) else one for one in found]
        self.made, self.refused = self.made + made, self.refused + len(items) - made
        return making.settle(tx, claimed=held, spent=spent_on(drafts), tried=len(items))


class _Desk(NamedTuple):
    """A portion, held for one transaction, and its batch; `own`: of the present strategy alone."""

    tx: Tx
    now: Claimed
    batch: Batch
    found: Standing
    own: Standing
    policy: Policy
    at: datetime

    def wait(
        self, state: CellState, due_at: datetime, outages: int = 0, reason: str | None = None
    ) -> bool:
        """Let go of it until then."""
        making.put_off(
            self.tx, claimed=self.now, state=state, due_at=due_at, outages=outages, reason=reason
        )
        return False

    def wait_for_judge(self) -> bool:
        """Until all that was made is decided, unless nobody gives an answer on it."""
        if making.is_unheard(self.tx, cell_id=self.now.id):
            return self.end(self.unheard())
        return self.wait(CellState.JUDGING, self.at)

    def with_budget_held(self) -> _Desk:
        """The same, and nobody takes of the batch's budget or gives back before it is decided."""
        return self._replace(batch=batches.find(self.tx, batch_id=self.batch.id, hold=True))

    def without_budget(self, maker: Maker) -> bool:
        """What others have set aside, at the worst, is waited for: they give back what they can."""
        if self.batch.reserved:
            waits = "others have set aside what is left of the budget; looked at again soon"
            return self.wait(CellState.DUE, self.at + BUDGET_WAIT, self.now.outages, waits)
        return self.give_up(exhausted(self.batch.left, calls_each=calls_per_try(maker)))

    def wait_for_model(self, refused: Refused) -> bool:
        """The model gave no answer: try again later, but not for ever."""
        outages = self.now.outages + 1
        told = f"{refused.reason}: {refused.detail}"
        if outages >= MOST_OUTAGES:
            return self.give_up(told)
        again = self.at + min(backoff(outages), timedelta(seconds=LONGEST_OUTAGE_WAIT))
        waits = f"{told}; asked {outages} of {MOST_OUTAGES} times, again at {again:%H:%M:%S} UTC"
        return self.wait(CellState.DUE, again, outages, waits)

    def waiting(self) -> str:
        """Why it ends although nothing is to be made."""
        return f"{self.found.waiting} were left to a person"

    def unheard(self) -> str:
        """Why it ends although what was made may yet be admitted."""
        return f"{self.found.undecided} wait for the judge, which gives no answer"

    def fall_short(self, because: str) -> bool:
        """The end, but not before all that was made is decided: it was paid for, and it counts."""
        return self.wait_for_judge() if self.found.undecided else self.end(because)

    def end(self, reason: str | None) -> bool:
        """End the portion, and the batch with its last one."""
        resort = {self.waiting(): REVIEW, self.unheard(): RESUME}.get(reason or "", IMPORT)
        told = self._fallback(resort, reason) if reason else None
        making.end(self.tx, claimed=self.now, reason=reason, last=told)
        batches.close_if_over(self.tx, batch_id=self.batch.id, now=self.at)
        return False

    def step_down(self, because: str | None) -> bool:
        """The next strategy's turn; after the last, the end."""
        usual = why_given_up(self.own, held=self.found.held, wanted=self.now.wanted)
        return self._go_to(self.now.rung + 1, because or usual)

    def says_the_same(self) -> str | None:
        """Why the present strategy is not asked on although it may be."""
        if self.now.tries < FEWEST_COPIES:
            return None
        return says_the_same(making.copies(self.tx, claimed=self.now), self.now.tries)

    def give_up(self, because: str) -> bool:
        """The last strategy's turn, the templates' that ask nobody; after it, the end."""
        last = len(self.now.ladder) - 1
        return self._go_to(max(last, self.now.rung + 1), because)

    def _go_to(self, rung: int, because: str) -> bool:
        if rung >= len(self.now.ladder):
            return self.fall_short(because)
        following = self._fallback(self.now.ladder[rung], because)
        making.fall_back(self.tx, claimed=self.now, rung=rung, fallback=following)
        return True

    def is_over(self) -> bool:
        """Whether the batch's time is."""
        return self.batch.ends_at is not None and self.at >= self.batch.ends_at

    def granted(self, maker: Maker, size: int, call_tokens: int) -> Grant | None:
        """So many attempts as can be paid, with what they may cost set aside."""
        each = calls_per_try(maker)
        found = grant(self.batch.left, wanted=size, calls_each=each, call_tokens=call_tokens)
        if found and any(found.reserved):
            is_kept = making.reserve(self.tx, claimed=self.now, spend=found.reserved)
            return found if is_kept else None
        return found

    def drawn(self, kin: Kin) -> list[Parent]:
        """Admitted examples to make new ones of."""
        domain, cell, turn = self.batch.domain, self.now.cell, self.now.id
        return material.drawn(
            self.tx, domain=domain, cell=cell, policy=self.policy, kin=kin, turn=turn
        )

    def orders(self, maker: Maker, granted: Grant, pool: Sequence[Parent]) -> list[Order]:
        """The next attempts."""
        first = making.last_number(self.tx, cell_id=self.now.id) + 1
        dearest = None if self.batch.max_cost is None else self.batch.price
        return [
            Order(
                number=number,
                serial=self.now.id * SERIAL_STRIDE + number,
                domain=self.batch.domain,
                cell=self.now.cell,
                parents=material.shown(
                    self.tx,
                    pool,
                    maker,
                    domain=self.batch.domain,
                    cell=self.now.cell,
                    turn=self.now.id + number,
                ),
                context=setting(pool, self.now.id + number),
                most_tokens=granted.most_tokens,
                most_calls=granted.calls_each,
                dearest=dearest,
            )
            for number in range(first, first + granted.attempts)
        ]

    def _fallback(self, following: str, because: str) -> Fallback:
        return Fallback(
            topic=self.now.topic,
            difficulty=self.now.difficulty,
            given_up=self.now.strategy,
            next=following,
            because=because,
        )
