"""Ask for examples: plan a batch, begin it, follow it, stop it, go on with it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from shlex import quote
from typing import NamedTuple, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core.batch import (
    GENERATOR,
    MOST_OUTAGES,
    PORTION,
    TEMPLATES,
    CellState,
    Fallback,
    Kind,
    Standing,
    Tally,
    standing,
)
from tdsys.core.example import Cell, Document, level
from tdsys.core.filling import Experience, FillingPlan, Offer, plan, quotas
from tdsys.core.lifecycle import State
from tdsys.core.mixing import IMPORTED, KINDS, REAL, SYNTHETIC
from tdsys.core.policy import Policy
from tdsys.core.spending import MICROS
from tdsys.errors import InvalidInput, NotReady
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, batches, examples, making, policies
from tdsys.store.batches import Batch, Budget, Kept, Opening, Portion

DIFFICULTIES = ("easy", "medium", "hard")
HELD = (State.ADMITTED, State.CANDIDATE, State.IN_REVIEW)
# By what was made so lately it is told how long the rest takes.
LATELY = timedelta(minutes=2)
# Once may be chance.
ASKED_IN_VAIN = 2
# Strategies may do worse than they did before by so much.
SPARE_BUDGET = 3


class Request(BaseModel):
    """What somebody asks for; empty topics, difficulties or strategies: what there is.

    `max_cost` in dollars; prices in dollars for a million tokens: of a usual one, and of the
    dearest, None where one is not known.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    domain: str
    count: int
    topics: tuple[str, ...] = ()
    difficulties: tuple[str, ...] = ()
    generator: str = ""
    strategies: tuple[str, ...] = ()
    max_calls: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_minutes: float | None = None
    model: str = ""
    price: float | None = None
    dearest: float | None = None

    def budget(self) -> Budget:
        """What is set, in the store's units."""
        return budget(self.max_calls, self.max_tokens, self.max_cost, self.max_minutes)


class Supply(Protocol):
    """What a batch can be made with."""

    def offer(self, strategy: str) -> Offer:
        """What a strategy takes; InvalidInput when there is none of that name."""
        ...

    def topics(self, generator: str, domain: str) -> Sequence[str]:
        """What a generator says it knows of a domain; empty when it says nothing."""
        ...

    def strategies(self) -> Sequence[str]:
        """The strategies of the model that are used unless others are named."""
        ...


class Drafted(NamedTuple):
    """A batch that is not begun: the plan, each cell's ladder of strategies, and the limit."""

    request: Request
    plan: FillingPlan
    ladders: Mapping[str, tuple[str, ...]]
    max_calls: int
    is_new_domain: bool


class CellReport(NamedTuple):
    """One cell of a batch by one strategy; reason: why it fell short, or why it has to wait."""

    topic: str
    difficulty: str
    strategy: str
    wanted: int
    made: int
    admitted: int
    waiting: int
    undecided: int
    reason: str | None


class Mixture(NamedTuple):
    """Where a domain's admitted examples come from."""

    synthetic: int
    real: int
    imported: int
    allowed_share: float

    def in_words(self) -> str:
        """The ratio in one sentence."""
        all_ = self.synthetic + self.real + self.imported
        share = self.synthetic / all_ if all_ else 0.0
        return (
            f"admitted, synthetic : real : imported = {self.synthetic} : {self.real} : "
            f"{self.imported}; {share:.0%} synthetic, a dataset version takes at most "
            f"{self.allowed_share:.0%}"
        )


class Report(NamedTuple):
    """How far a batch is, and what its domain is made of now.

    `details`: of attempts that came to nothing, what the first of each reason was told.
    `solved_again`: of examples that are there, how many that confirmed, and how many it did not.
    """

    batch: Batch
    whole: Standing
    cells: list[CellReport]
    fallbacks: list[Fallback]
    by_strategy: dict[str, dict[str, int]]
    mixture: Mixture
    details: dict[str, str]
    solved_again: dict[str, int]


def budget(
    max_calls: int | None,
    max_tokens: int | None,
    max_cost: float | None,
    max_minutes: float | None,
) -> Budget:
    """Limits as a person sets them, cost in dollars, in the store's units."""
    return Budget(
        calls=max_calls,
        tokens=max_tokens,
        cost=None if max_cost is None else math.floor(max_cost * MICROS),
        seconds=None if max_minutes is None else math.ceil(max_minutes * 60),
    )


def draft(store: Store, supply: Supply, request: Request) -> Drafted:
    """The plan of a request; InvalidInput or NotReady when it cannot be carried out."""
    if request.max_cost is not None and request.dearest is None:
        raise NotReady(
            "what a model costs is not known, so no cost can be kept to",
            remedy="name price_in and price_out of each model in TDSYS_MODELS",
        )
    with store.begin() as tx:
        is_new = request.domain not in policies.domains(tx)
        policy = Policy() if is_new else policies.current(tx, domain=request.domain)[1]
        counts = [] if is_new else examples.cells(tx, domain=request.domain)
        known = batches.experience(tx, domain=request.domain)
    if policy.collection == "off":
        raise NotReady(
            f"{request.domain} collects nothing: its policy's collection is off",
            remedy=f"tdsys policy set --domain {quote(request.domain)} collection=automatic",
        )
    held: Counter[Cell] = Counter()
    for one in counts:
        held[Cell(one.topic, one.difficulty)] += one.n * (one.state in HELD)
    cells = _cells(request, policy, [c for c, n in held.items() if n], supply)
    admitted: Counter[Cell] = Counter()
    for one in counts:
        admitted[Cell(one.topic, one.difficulty)] += one.n * (one.state == State.ADMITTED)
    offers = _offers(request, supply, has_material=admitted.total() > 0)
    wanted = quotas(cells, held, request.count, policy)
    planned = plan(
        wanted, offers, known, before={c: held[c] for c in cells},
        seed=request.count + sum(held.values()), price=request.price,
        able=lambda offer, cell: offer.can_begin(cell, admitted, policy.difficulties),
    )  # fmt: skip
    limit = request.max_calls if request.max_calls is not None else planned.calls * SPARE_BUDGET
    ladders = {o.strategy: _ladder(o.strategy, offers, known) for o in offers}
    return Drafted(request, planned, ladders, limit, is_new)


def _cells(request: Request, policy: Policy, seen: Sequence[Cell], supply: Supply) -> list[Cell]:
    """The wanted cells: as named, else as the policy wants them, else what the domain has."""
    wanted = policy.wanted_cells(seen)
    topics = [level(one) for one in request.topics]
    topics = topics or list(dict.fromkeys(cell.topic for cell in wanted)) or list(policy.topics)
    topics = topics or [level(t) for t in supply.topics(request.generator, request.domain)]
    if not topics:
        raise InvalidInput(
            f"nothing says which topics {request.domain} has",
            remedy="name some (--topics), or list them in its policy",
        )
    difficulties = [level(one) for one in request.difficulties] or list(policy.difficulties)
    difficulties = difficulties or list(dict.fromkeys(cell.difficulty for cell in wanted))
    if set(difficulties) <= set(DIFFICULTIES):
        # The usual three in their own order, and all of them where none is named.
        asked = request.difficulties or policy.difficulties
        difficulties = [d for d in DIFFICULTIES if not asked or d in difficulties]
    return [Cell(topic, difficulty) for topic in topics for difficulty in difficulties]


def _offers(request: Request, supply: Supply, *, has_material: bool) -> list[Offer]:
    """The strategies that are asked for, else all that can begin with what there is."""
    if request.kind is Kind.BOOTSTRAP:
        return [supply.offer(f"{GENERATOR}{request.generator}")]
    if request.strategies:
        return [supply.offer(name) for name in request.strategies]
    every = [supply.offer(name) for name in supply.strategies()]
    return [one for one in every if has_material or not one.needs_material]


def _ladder(name: str, offers: Sequence[Offer], known: Sequence[Experience]) -> tuple[str, ...]:
    """A strategy, the most successful other one that needs no material, the templates."""
    admitted: Counter[str] = Counter()
    for one in known:
        admitted[one.strategy] += one.admitted
    others = [o for o in offers if o.strategy != name]
    others.sort(key=lambda o: (o.needs_material, -admitted[o.strategy]))
    rungs = (name, *(o.strategy for o in others[:1]))
    return rungs if TEMPLATES in rungs else (*rungs, TEMPLATES)


def begin(
    store: Store, drafted: Drafted, *, actor: str, clock: Clock, key: UUID | None = None
) -> UUID:
    """Open the batch; workers may begin at once. The same `key` opens it once."""
    with store.begin() as tx:
        return opened(tx, drafted, actor=actor, now=clock(), key=key)


def opened(tx: Tx, drafted: Drafted, *, actor: str, now: datetime, key: UUID | None = None) -> UUID:
    """As `begin`, together with what else this transaction does."""
    request, limits = drafted.request, drafted.request.budget()
    opening = Opening(
        domain=request.domain,
        kind=request.kind,
        portions=_portions(drafted),
        plan=document(drafted.plan),
        model=request.model,
        max_calls=drafted.max_calls,
        actor=actor,
        max_tokens=limits.tokens,
        max_cost=limits.cost,
        price=request.dearest,
        max_seconds=limits.seconds,
    )
    policies.ensure_domain(tx, domain=request.domain, now=now)
    version, _ = policies.current(tx, domain=request.domain)
    return batches.open_(tx, opening=opening, policy_version=version, now=now, key=key)


def _portions(drafted: Drafted) -> list[Portion]:
    """The cells in turn, so that a batch that is stopped has some of each."""
    pieces = [
        (start, place, min(PORTION, one.wanted - start), one)
        for place, one in enumerate(drafted.plan.cells)
        for start in range(0, one.wanted, PORTION)
    ]
    pieces.sort(key=lambda piece: piece[:2])
    return [
        Portion(one.topic, one.difficulty, drafted.ladders[one.strategy], size)
        for _, _, size, one in pieces
    ]


def document(planned: FillingPlan) -> Document:
    """The plan as it is printed and kept."""
    return {
        "wanted": planned.wanted,
        "cells": [one._asdict() for one in planned.cells],
        "calls": planned.calls,
        "tokens": planned.tokens,
        "cost": planned.cost,
        "seconds": planned.seconds,
    }


def progress(store: Store, *, batch_id: UUID) -> tuple[Batch, Standing]:
    """How far a batch is as a whole: all that somebody who follows it needs to read often."""
    with store.begin() as tx:
        batch = batches.find(tx, batch_id=batch_id)
        return batch, standing(batches.tallies(tx, batch_id=batch_id))


def held_up(store: Store, *, batch_id: UUID) -> str | None:
    """Why an open batch has to wait for a model; None where it does not."""
    with store.begin() as tx:
        portions = batches.portions(tx, batch_id=batch_id)
        asked = making.times_asked(tx, batch_id=batch_id)
    if reasons := [one.reason for one in portions if one.state == CellState.DUE and one.reason]:
        return reasons[0]
    if asked < ASKED_IN_VAIN:
        return None
    return f"the judge gives no answer on what was made; asked {asked} of {MOST_OUTAGES} times"


def report(store: Store, *, batch_id: UUID) -> Report:
    """How far a batch is, cell by cell."""
    with store.begin() as tx:
        batch = batches.find(tx, batch_id=batch_id)
        portions = batches.portions(tx, batch_id=batch_id)
        tallies = batches.tallies(tx, batch_id=batch_id)
        mixture = _mixture(tx, batch.domain)
        details = batches.first_details(tx, batch_id=batch_id)
        solved_again = batches.solved_again(tx, batch_id=batch_id)
    return Report(
        batch=batch,
        whole=standing(tallies),
        cells=_cell_reports(portions, tallies),
        fallbacks=[one for portion in portions for one in portion.fallbacks],
        by_strategy=_by_strategy(tallies),
        mixture=mixture,
        details=details,
        solved_again=solved_again,
    )


def _mixture(tx: Tx, domain: str) -> Mixture:
    _, policy = policies.current(tx, domain=domain)
    counts = examples.counts(tx)
    admitted = Counter[str]()
    for one in counts:
        if one.domain == domain and one.state == State.ADMITTED:
            admitted[KINDS[one.source]] += one.n
    return Mixture(admitted[SYNTHETIC], admitted[REAL], admitted[IMPORTED], policy.synthetic_share)


def _cell_reports(portions: Sequence[Kept], tallies: Sequence[Tally]) -> list[CellReport]:
    """The portions of one cell and strategy together."""
    found: dict[tuple[str, str, str], list[Kept]] = defaultdict(list)
    for portion in portions:
        found[portion.topic, portion.difficulty, portion.strategy].append(portion)
    reports = []
    for named, parts in sorted(found.items()):
        ids = {part.id for part in parts}
        now = standing(one for one in tallies if one.cell_id in ids)
        reasons = list(dict.fromkeys(part.reason for part in parts if part.reason))
        reports.append(
            CellReport(
                *named,
                wanted=sum(part.wanted for part in parts),
                made=now.made,
                admitted=now.admitted,
                waiting=now.waiting,
                undecided=now.undecided,
                reason="; ".join(reasons) or None,
            )
        )
    return reports


def _by_strategy(tallies: Sequence[Tally]) -> dict[str, dict[str, int]]:
    """How many each strategy tried, made and got admitted."""
    names = dict.fromkeys(one.strategy for one in tallies)
    return {
        name: standing(one for one in tallies if one.strategy == name).model_dump(
            include={"tried", "made", "admitted"}
        )
        for name in names
    }


def ended(report: Report) -> Document:
    """A batch's result as it is printed: never a number without its reason."""
    batch, whole = report.batch, report.whole
    cells: list[JsonValue] = [one._asdict() for one in report.cells]
    return {
        "batch": str(batch.id),
        "domain": batch.domain,
        "state": batch.state.value,
        "wanted": batch.wanted,
        "made": whole.made,
        "admitted": whole.admitted,
        "waiting": whole.waiting,
        "undecided": whole.undecided,
        "cells": cells,
        "reasons": dict(whole.reasons),
        "details": dict(report.details),
        "solved_again": dict(report.solved_again),
        "fallbacks": [one.model_dump() for one in report.fallbacks],
        "strategies": {name: dict(counts) for name, counts in report.by_strategy.items()},
        "calls": batch.spent,
        "tokens": batch.tokens,
        "cost": None if batch.cost is None else batch.cost / MICROS,
        "max_calls": batch.max_calls,
        "max_tokens": batch.max_tokens,
        "max_cost": None if batch.max_cost is None else batch.max_cost / MICROS,
        "ends_at": None if batch.ends_at is None else batch.ends_at.isoformat(),
        "model": batch.model,
        "mixture": report.mixture._asdict(),
    }


def meant(store: Store, *, prefix: str) -> UUID:
    """The batch whose id begins so; InvalidInput when there is none, or more than one."""
    with store.begin() as tx:
        return batches.meant(tx, prefix=prefix)


def listed(store: Store, *, domain: str | None, limit: int) -> list[Batch]:
    """Batches, the newest first."""
    with store.begin() as tx:
        return batches.listed(tx, domain=domain, limit=limit)


def within(
    store: Store, *, domains: Collection[str] | None, limit: int, before: datetime | None = None
) -> list[Batch]:
    """Batches of what somebody may see, the newest first."""
    with store.begin() as tx:
        return batches.within(tx, domains=domains, limit=limit, before=before)


def seconds_left(store: Store, told: Report, *, now: datetime) -> float | None:
    """How long an open batch takes, at the pace and yield it has; None while nothing is made."""
    with store.begin() as tx:
        made, first = batches.made_since(tx, batch_id=told.batch.id, since=now - LATELY)
    if first is None or not told.whole.made:
        return None
    lacking = max(0, told.batch.wanted - told.whole.held)
    share = told.whole.held / told.whole.made
    pace = made / max(1.0, (now - first).total_seconds())
    return lacking / (pace * share) if share else None


def cancel(store: Store, *, batch_id: UUID, clock: Clock) -> None:
    """End an open batch; NotReady when it is not."""
    with store.begin() as tx:
        found = batches.find(tx, batch_id=batch_id)
        if not batches.cancel(tx, batch_id=batch_id, now=clock()):
            raise NotReady(f"batch {batch_id} is {found.state} already")


def resume(store: Store, *, batch_id: UUID, more: Budget, clock: Clock) -> int:
    """Go on with an ended batch where it fell short; how many portions are due again.

    `more` is for what is done from now on; what it leaves open is as much as at first.
    """
    with store.begin() as tx:
        batch = batches.find(tx, batch_id=batch_id)
        if more.cost is not None and batch.price is None:
            raise NotReady(f"what the model of batch {batch_id} costs was not known at first")
        again = batches.resume(tx, batch_id=batch_id, more=more, now=clock())
    if not again:
        raise NotReady(f"nothing of batch {batch_id} fell short", remedy="ask for another batch")
    return again


def experience(store: Store, *, domain: str | None) -> list[Experience]:
    """What every strategy has yielded in every cell."""
    with store.begin() as tx:
        return batches.experience(tx, domain=domain)
