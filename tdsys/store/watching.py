"""What the alert rules of a policy look at; reads only, and only what a rule asks for."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy import func, select

from tdsys.core.alerting import Observed
from tdsys.core.example import Source
from tdsys.core.lifecycle import State
from tdsys.core.policy import Policy
from tdsys.store import datasets, retirements, runs
from tdsys.store.engine import Tx
from tdsys.store.schema import CANDIDATE, RunState, capture_duplicates, domains, examples

DECIDED = (State.ADMITTED.value, State.IN_REVIEW.value, State.REJECTED.value)


def observed(tx: Tx, *, domain: str, policy: Policy) -> Observed:
    """One domain, as the rules of its policy see it."""
    rules = policy.alerts
    decided = _newest(tx, domain, rules.rejected_of) if rules.rejected_share else Counter()
    in_review, longest = _in(tx, domain, State.IN_REVIEW)
    last = runs.last_for(tx, domain=domain) if rules.failed_run else None
    watches_cells = rules.short_cell and bool(policy.wanted_cells())
    return Observed(
        domain=domain,
        heard_of=_heard_of(tx, domain) if rules.no_capture_hours else None,
        decided=decided.total(),
        rejected=decided[State.REJECTED],
        parked=_in(tx, domain, State.PARKED)[0],
        in_review=in_review,
        longest_in_review=longest,
        failed=(last.reason or "") if last and last.state is RunState.FAILED else None,
        has_version=watches_cells and datasets.latest(tx, domain=domain) is not None,
        admitted=retirements.admitted(tx, domain=domain) if watches_cells else {},
    )


def _heard_of(tx: Tx, domain: str) -> datetime:
    captured = Source.CAPTURED.value
    stored, again = examples.c, capture_duplicates.c
    known = (
        select(func.max(stored.created_at)).where(
            stored.domain == domain, stored.source == captured
        ),
        select(func.max(again.at)).where(again.domain == domain, again.source == captured),
        select(domains.c.created_at).where(domains.c.name == domain),
    )
    # Postgres passes over what is null.
    heard: datetime = tx.scalars(select(func.greatest(*(q.scalar_subquery() for q in known)))).one()
    return heard


def _newest(tx: Tx, domain: str, limit: int) -> Counter[str]:
    """The newest decisions of a domain by where they led."""
    newest = (
        select(examples.c.state)
        .where(
            examples.c.domain == domain,
            # Said, too, because the index is only of these.
            examples.c.state != CANDIDATE,
            examples.c.state.in_(DECIDED),
        )
        .order_by(examples.c.moved_at.desc())
        .limit(limit)
        .subquery()
    )
    return Counter(tx.scalars(select(newest.c.state)).all())


def _in(tx: Tx, domain: str, state: State) -> tuple[int, datetime | None]:
    """How many are in a state, and since when the first of them."""
    n, first = tx.execute(
        select(func.count(), func.min(examples.c.moved_at)).where(
            examples.c.domain == domain, examples.c.state == state.value
        )
    ).one()
    return n, first
