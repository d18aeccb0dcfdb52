"""What the alert rules of a policy look at; reads only, and only what a rule asks for."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from sqlalchemy import func, select

from tdsys.core.alerting import Imported, Observed
from tdsys.core.example import Source
from tdsys.core.lifecycle import State
from tdsys.core.policy import Policy
from tdsys.core.trends import Shift, changes
from tdsys.store import counts, datasets, days, faring, programs, runs
from tdsys.store.engine import Tx
from tdsys.store.import_schema import ImportState, imports
from tdsys.store.schema import (
    ADMITTED,
    CANDIDATE,
    RunState,
    capture_duplicates,
    domains,
    examples,
)

DAY = timedelta(days=1)
# Changes long ago are no news; they are read to know what was before.
SPAN = timedelta(days=90)
DECIDED = (State.ADMITTED.value, State.IN_REVIEW.value, State.REJECTED.value)


def observed(tx: Tx, *, domain: str, policy: Policy, now: datetime) -> Observed:
    """One domain, as the rules of its policy see it."""
    rules = policy.alerts
    decided = _newest(tx, domain, rules.rejected_of) if rules.rejected_share else Counter()
    in_review, longest = _in(tx, domain, State.IN_REVIEW)
    last = runs.last_for(tx, domain=domain) if rules.failed_run else None
    watches_cells = rules.short_cell or rules.imbalance is not None
    versioned = datasets.latest(tx, domain=domain) is not None
    return Observed(
        domain=domain,
        heard_of=_heard_of(tx, domain) if rules.no_capture_hours else None,
        decided=decided.total(),
        rejected=decided[State.REJECTED],
        parked=_in(tx, domain, State.PARKED)[0],
        in_review=in_review,
        longest_in_review=longest,
        failed=(last.reason or "") if last and last.state is RunState.FAILED else None,
        has_version=versioned,
        admitted=counts.admitted(tx, domain=domain) if watches_cells and versioned else {},
        newest_admitted=_newest_admitted(tx, domain) if rules.stale_days and versioned else None,
        outdated=_outdated(tx, domain) if rules.stale_program_days else None,
        changes=_changes(tx, domain, now) if rules.quality_drop else (),
        planned=runs.planned_calls(tx, domain=domain, since=now - DAY)
        if rules.budget_share and policy.max_daily_calls
        else 0,
        imported=_imported(tx, domain) if rules.rejected_import else None,
        stored_bytes=_stored(tx) if rules.storage_gb else 0,
        regressed=faring.regressed(tx, domain=domain) if rules.regression else None,
        harmful=faring.harmful(tx, domain=domain) if rules.harmful_demos else (),
    )


def _newest_admitted(tx: Tx, domain: str) -> datetime | None:
    kept = examples.c
    found: datetime | None = tx.scalar(
        select(kept.moved_at)
        .where(kept.domain == domain, kept.state != CANDIDATE, kept.state == ADMITTED)
        .order_by(kept.moved_at.desc())
        .limit(1)
    )
    return found


def _outdated(tx: Tx, domain: str) -> datetime | None:
    program = programs.incumbent(tx, domain=domain)
    return program.created_at if program and program.stale else None


def _changes(tx: Tx, domain: str, now: datetime) -> list[Shift]:
    held = days.read(tx, domains=[domain], since=now.date() - SPAN, until=now.date())
    return changes(held.get(domain, []))


def _imported(tx: Tx, domain: str) -> Imported | None:
    kept = imports.c
    row = tx.execute(
        select(kept.filename, kept.read, kept.rejected, kept.state, kept.reason)
        .where(kept.domain == domain, kept.finished_at.is_not(None))
        .order_by(kept.finished_at.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    failed = (row.reason or "it failed") if row.state == ImportState.FAILED.value else ""
    return Imported(row.filename, row.read, row.rejected, failed)


def _stored(tx: Tx) -> int:
    found: int = tx.scalars(select(func.pg_database_size(func.current_database()))).one()
    return found


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
