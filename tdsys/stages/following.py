"""Tell where a claimed run is, and hear within a second whether it is still wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from tdsys.core import following
from tdsys.core.following import Progress
from tdsys.core.policy import Signature
from tdsys.core.program import Plan, Spent, Trial
from tdsys.errors import Cancelled, NotReady, StoreUnavailable
from tdsys.stages import leases
from tdsys.stages.leases import LOOK_EVERY, Clock
from tdsys.store import Store, Tx, datasets, policies, runs
from tdsys.store.runs import Run

OFFLINE = "offline"


class Followed(NamedTuple):
    """A run as somebody who watches sees it: the trials after number `after` are new."""

    run: Run
    trials: list[Trial]
    after: int
    simulated: bool


def look(store: Store, *, domain: str, run_id: UUID | None, after: int = 0) -> Followed:
    """The run, or the domain's newest, with what is new; NotReady when there is none."""
    with store.begin() as tx:
        policies.current(tx, domain=domain)
        found = runs.last_for(tx, domain=domain) if run_id is None else runs.run(tx, run_id=run_id)
        if found is None or found.domain != domain:
            raise NotReady(f"{domain} has no such run", remedy="see `tdsys optimize status`")
        # A run that was claimed again writes its trials anew, from the first.
        written = Progress.read(found.progress).trials
        after = min(after, written)
        new = [
            one for one in runs.trials(tx, run_id=found.id, after=after) if one.number <= written
        ]
    return Followed(found, new, after, found.model == OFFLINE)


def signature(store: Store, *, domain: str) -> Signature | None:
    """The fields of the domain's newest version, or those its policy names."""
    with store.begin() as tx:
        latest = datasets.latest(tx, domain=domain)
        return latest.signature if latest else policies.current(tx, domain=domain)[1].signature


class Follower:
    """Writes the progress and the trials of one claimed run, as long as the claim is ours."""

    def __init__(self, store: Store, run: Run, clock: Clock, price: float | None) -> None:
        self._store, self._run, self._clock, self._price = store, run, clock, price
        self._plan = run.plan
        self._earlier = Progress.read(run.progress)  # what a killed attempt paid was paid
        self._known = following.planned(run.plan, earlier=self._earlier)
        self._began = clock()
        self._before: int | None = None
        self._looked = 0.0
        self._spent: Spent | None = None

    @contextmanager
    def held(self) -> Iterator[Tx]:
        """A transaction in which the run is ours and wanted; Conflict or Cancelled otherwise."""
        with self._store.begin() as tx:
            if runs.hold(tx, run=self._run):
                raise Cancelled("cancelled on request")
            yield tx

    def begin(self, plan: Plan) -> None:
        """The search begins, by this plan."""
        self._plan, self._began = plan, self._clock()
        self._known = following.planned(plan, earlier=self._earlier)
        self._tell()

    def testing(self) -> None:
        """The search is over, and all it took is known; what it found is compared."""
        if self._spent:
            self._known = self._after_calls(self._spent)
        self._known = self._known.model_copy(update={"phase": "testing", "left_seconds": None})
        self._tell()

    def trial(self, trial: Trial) -> None:
        """Write a trial and what is known with it."""
        self._known = following.after_trial(self._known, trial)
        self._tell(trial)

    def spent(self, spent: Spent) -> None:
        """Write what the run took, once a second; Cancelled when it is not wanted any more."""
        if spent.phase == "optimizing" and self._before is None:
            self._before = spent.calls
        self._spent = spent
        if not self._is_time():
            return
        took: timedelta = self._clock() - self._began
        left = following.left(self._plan, spent, before=self._before, took=took)
        self._known = self._after_calls(spent).model_copy(update={"left_seconds": left})
        try:
            self._tell()
        except StoreUnavailable:
            return  # a trial would be lost, this is said again in a second

    def unwanted(self, lost: Callable[[], bool]) -> Callable[[], bool]:
        """Whether the work should stop: the lease is `lost`, or a person asked for the end."""
        return leases.unwanted(lost, self._is_ended)

    def _is_ended(self) -> bool:
        with self._store.begin() as tx:
            return runs.hold(tx, run=self._run)

    def _after_calls(self, spent: Spent) -> Progress:
        return following.after_calls(self._known, spent, price=self._price, earlier=self._earlier)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        return True

    def _tell(self, trial: Trial | None = None) -> None:
        told = self._known.model_copy(update={"at": self._clock()}).document()
        with suppress(StoreUnavailable), self._store.single() as tx:
            if runs.tell(tx, run=self._run, document=told, trial=trial):
                return
        with self.held() as tx:  # says why not; or the connection was an old one
            runs.tell(tx, run=self._run, document=told, trial=trial)
