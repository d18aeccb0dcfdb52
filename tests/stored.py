"""Short ways to bring a store into a state that a test starts from."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tdsys.core.arrival import from_capture
from tdsys.core.comparison import Comparison
from tdsys.core.dataset import Member, Split, fingerprint
from tdsys.core.example import Candidate, Capture
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Signature
from tdsys.core.program import Plan, Trial
from tdsys.core.rubric import Assessment, Decision, Unscored, Verdict
from tdsys.store import Store, Tx, datasets, examples, imports, programs, runs
from tdsys.store.datasets import DatasetVersion
from tdsys.store.examples import Ingested
from tests.factories import NOW, make_assessment, make_verdict

LEASE = timedelta(seconds=60)
ADMIT = Decision(move=Move.ADMIT, reason="meets_policy", quality=0.75)
PLAN = Plan(
    trials=10,
    validated_on=20,
    minibatch=False,
    evaluation_calls=200,
    bootstrap_calls_at_most=60,
    proposal_calls=12,
)
BETTER = Comparison(
    requests=9,
    items=20,
    before=0.4,
    after=0.7,
    after_low=0.6,
    after_high=0.8,
    gain=0.3,
    gain_low=0.1,
    gain_high=0.5,
)


def in_one_transaction(store: Store, *steps: Callable[[Tx], object]) -> None:
    with store.begin() as tx:
        for step in steps:
            step(tx)


def die(_: Tx) -> None:
    raise ZeroDivisionError


def count(tx: Tx, table: str) -> int:
    return int(tx.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608  # a test's


def waits(store: Store) -> bool:
    """Whether somebody waits for a lock of another."""
    query = """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    with store.begin() as tx:
        return bool(tx.exec_driver_sql(query).scalar())


def ingest(tx: Tx, captures: Sequence[Capture], *, batch: str | None = None) -> Ingested:
    return examples.ingest(
        tx,
        batch_id=batch or uuid.uuid4().hex,
        batch=examples.Batch(dict(enumerate(map(from_capture, captures))), []),
        now=NOW,
    )


def claim(tx: Tx, *, limit: int = 1000, now: datetime = NOW) -> list[Candidate]:
    return examples.claim(tx, limit=limit, lease=LEASE, now=now)


def decide(
    tx: Tx,
    candidate: Candidate,
    decision: Decision = ADMIT,
    *,
    verdict: Verdict | None = None,
    answer: Assessment | Unscored | None = None,
    policy_version: int = 1,
    actor: str = "test",
    now: datetime = NOW,
) -> bool:
    heard = examples.Heard(
        candidate, verdict or make_verdict(), answer or make_assessment(), policy_version
    )
    decided = [examples.Decided(heard, decision, actor)]
    return bool(examples.record(tx, decided=decided, now=now))


def admit(tx: Tx, captures: Sequence[Capture]) -> list[int]:
    """Ingest, claim and admit; the ids."""
    ingest(tx, captures)
    claimed = claim(tx)
    for candidate in claimed:
        assert decide(tx, candidate)
    return [candidate.id for candidate in claimed]


def divided(tx: Tx, domain: str) -> list[Member]:
    """The domain's admitted examples, dealt to the splits in turn."""
    splits = list(Split)
    return [
        Member(example=e, split=splits[i % 3], cluster=i)
        for i, e in enumerate(examples.admitted(tx, domain=domain))
    ]


def upload(tx: Tx, *chunks: bytes, domain: str = "arithmetic", sha256: str = "") -> UUID:
    """A file that waits to be read."""
    import_id = imports.open_(tx, domain=domain, filename="f", options={}, actor="ann",
                             policy_version=1, now=NOW)  # fmt: skip
    for position, chunk in enumerate(chunks):
        imports.append(tx, import_id=import_id, position=position, content=chunk)
    size = sum(map(len, chunks))
    imports.seal(tx, import_id=import_id, sha256=sha256, size=size, now=NOW)
    return import_id


def freeze(tx: Tx, *, domain: str = "arithmetic", now: datetime = NOW) -> DatasetVersion:
    members = divided(tx, domain)
    return datasets.freeze(
        tx,
        domain=domain,
        fingerprint=fingerprint(members, Signature()),
        signature=Signature(),
        policy_version=1,
        members=members,
        now=now,
    )


def enqueue(tx: Tx, version: DatasetVersion, *, now: datetime = NOW) -> UUID | None:
    return runs.enqueue(
        tx,
        domain=version.domain,
        version_id=version.id,
        policy_version=version.policy_version,
        seed=9,
        auto="light",
        model="offline",
        plan=PLAN,
        now=now,
    )


def finished_run(tx: Tx, version: DatasetVersion) -> UUID:
    run_id = enqueue(tx, version)
    assert run_id is not None
    runs.finish(tx, run_id=run_id, state="finished", reason="done", outcome={}, now=NOW)
    return run_id


def write_trial(tx: Tx, run_id: UUID, trial: Trial) -> None:
    """As whoever has claimed the run last would."""
    run = runs.run(tx, run_id=run_id)
    assert run is not None
    assert runs.tell(tx, run=run, document=run.progress, trial=trial)


def keep(tx: Tx, version: DatasetVersion, *, run_id: UUID | None = None, **over: Any) -> int:
    given = {
        "state": {"generate": {"demos": []}},
        "envelope": {"seed": 9},
        "comparison": BETTER,
        "activate": True,
        "now": NOW,
    }
    return programs.keep(
        tx,
        domain=version.domain,
        run_id=run_id or finished_run(tx, version),
        version_id=version.id,
        **{**given, **over},
    )
