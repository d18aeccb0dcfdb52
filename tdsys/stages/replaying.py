"""Decide anew what is there already, by the policy in force: no model is asked.

A block of examples is one transaction; whoever is killed on the way is run again and finds only
the rest to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from tdsys.core.canaries import unless_suspended
from tdsys.core.lifecycle import State
from tdsys.core.policy import Policy
from tdsys.core.rubric import About, decide, ruled
from tdsys.stages.leases import Clock
from tdsys.store import Store, judgements, policies, replays
from tdsys.store.engine import Tx
from tdsys.store.replays import Anew, Judged

BLOCK = 1000
# Stored numbers have seven digits.
SAME = 1e-6


class Replayed(NamedTuple):
    """What deciding anew came to, or would.

    `moved` counts by state before and after, and by the new reason; `rated` are those that stay
    where they are with another quality. `by_people` were not looked at: a person's word, or no
    score.
    """

    policy_version: int
    considered: int
    by_people: int
    rated: int
    moved: Counter[tuple[State, State, str]]


def replay(
    store: Store,
    *,
    domain: str,
    actor: str,
    clock: Clock,
    dry_run: bool = False,
    tell: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Decide every example of a domain that a score decided; `tell` hears how many are done."""
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
    moved: Counter[tuple[State, State, str]] = Counter()
    considered = looked_at = rated = last = 0
    while True:
        with store.begin() as tx:
            ids = replays.behind(tx, domain=domain, last=last, limit=BLOCK, hold=not dry_run)
            found = replays.judged(tx, ids=ids)
            stopped = judgements.suspended(tx, keys=_jurors(found))
            changed = [one for one in (_anew(one, policy, stopped) for one in found) if one]
            if not dry_run:
                _write(tx, changed, version, actor, clock)
        if not ids:
            return Replayed(version, considered, looked_at - considered, rated, moved)
        last = ids[-1]
        considered += len(found)
        looked_at += len(ids)
        for one in changed:
            if one.state is one.judged.state:
                rated += 1
            else:
                moved[one.judged.state, one.state, one.decision.reason] += 1
        tell(len(ids))


def _write(tx: Tx, changed: list[Anew], version: int, actor: str, clock: Clock) -> None:
    replays.decide_anew(tx, anew=changed, policy_version=version, actor=actor, now=clock())


def _jurors(found: Sequence[Judged]) -> set[str]:
    return {said.juror.key for one in found for said in one.assessment.judgements}


def _anew(one: Judged, policy: Policy, stopped: Collection[str]) -> Anew | None:
    """What is decided of it now; None when that changes nothing."""
    about = About(one.cell, one.fingerprint)
    alone = decide(one.verdict, one.assessment, policy)
    decision = ruled(alone, one.verdict, policy, about, trusted_by=one.trusted_by)
    decision = unless_suspended(decision, one.assessment, stopped)
    found = Anew(one, decision)
    was, now = one.quality, decision.quality
    rated = was is None or now is None or abs(was - now) > SAME
    return found if rated or found.state is not one.state else None
