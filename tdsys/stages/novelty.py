"""Hold what a model has just made against benchmarks and against what is there already.

One rule: to be like something is no fault unless the strategy promised otherwise, but what is found
is told; to be a benchmark's is one always.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from tdsys.core.batch import Draft, Kin, Maker, Refused
from tdsys.core.contamination import Registered
from tdsys.core.lifecycle import State
from tdsys.core.rubric import Check, Outcome
from tdsys.core.sketching import NEAR, Sketch, likeness, linked, problem_of, sketch
from tdsys.store import Store, Tx, benchmarks, neighbours
from tdsys.store.neighbours import Neighbour

CONTAMINATION, NEAR_DUPLICATE = "contamination", "near_duplicate"
# So many of what is there are told of; what was rejected or retired is not there.
NEAREST = 5
GONE = {State.REJECTED, State.RETIRED}


def compared(
    store: Store, outcomes: Sequence[Draft | Refused], maker: Maker, *, domain: str
) -> list[Draft | Refused]:
    """Each draft with what was found; refusals where it must not be like that."""
    with store.begin() as tx:
        packed = benchmarks.packed(tx)
        registered = Registered({name: array("q", marks) for name, marks in packed.items()})
        found = [_uncontaminated(one, registered, len(packed)) for one in outcomes]
        if maker.vouches:  # templates and generators are placed like everything else, later
            return found
        return _placed(tx, found, maker, domain)


def refusal(draft: Draft, reason: str, detail: str, check: Check | None = None) -> Refused:
    """A draft that was paid for and is not taken."""
    checks = (*draft.checks, check) if check else draft.checks
    content = draft.outputs if check else None
    return Refused(reason, detail, content, checks, draft.calls, draft.tokens, micros=draft.micros)


def _uncontaminated(outcome: Draft | Refused, registered: Registered, many: int) -> Draft | Refused:
    problem = None if isinstance(outcome, Refused) else outcome.outputs.get("problem")
    if isinstance(outcome, Refused) or not isinstance(problem, str) or not registered:
        return outcome
    if name := registered.holds(problem):
        told = f"this problem is in the benchmark {name}"
        return refusal(outcome, "contaminated", told, _check(CONTAMINATION, told, failed=True))
    told = f"in none of {many} registered benchmark{'' if many == 1 else 's'}"
    return _with(outcome, _check(CONTAMINATION, told, failed=False))


def _placed(
    tx: Tx, outcomes: Sequence[Draft | Refused], maker: Maker, domain: str
) -> list[Draft | Refused]:
    """Each draft beside its nearest, those of its own block among them."""
    drafts = {place: one for place, one in enumerate(outcomes) if isinstance(one, Draft)}
    problems = [problem_of(one.outputs) for one in drafts.values()]
    nearest = neighbours.nearest_to(tx, domain=domain, new=problems, limit=NEAREST, apart=GONE)
    found, beside = list(outcomes), list[Sketch]()
    for (place, draft), problem, near in zip(drafts.items(), problems, nearest, strict=True):
        own = sketch(problem)
        found[place] = _compared(draft, own, near, maker, beside)
        if isinstance(found[place], Draft):
            beside.append(own)
    return found


def _compared(
    draft: Draft, own: Sketch, there: Sequence[Neighbour], maker: Maker, beside: Sequence[Sketch]
) -> Draft | Refused:
    near, told = _nearest(there)
    twin = next((one for one in beside if linked(own, one)), None)
    if twin and not near:
        near, told = True, f"{likeness(own, twin):.0%} like another that was made with it"
    check = _check(NEAR_DUPLICATE, told, failed=near and maker.kin is Kin.CROWD)
    if check.outcome is Outcome.FAILED:
        return refusal(draft, NEAR_DUPLICATE, told, check)
    return _with(draft, check)


def _nearest(found: Sequence[Neighbour]) -> tuple[bool, str]:
    """Whether one of the nearest would be of one cluster with it, and what to tell."""
    if not found:
        return False, f"nothing that is there is {NEAR:.0%} like it"
    first = next((one for one in found if one.same_cluster), found[0])
    numbers = ", with the same numbers" if first.same_numbers else ""
    verdict = "a near-duplicate" if first.same_cluster else "no near-duplicate"
    alike = f"{first.likeness:.0%} like it{numbers}: {verdict}"
    told = f"of the {len(found)} nearest, example {first.example_id} is {alike}"
    return first.same_cluster, told


def _check(name: str, evidence: str, *, failed: bool) -> Check:
    outcome = Outcome.FAILED if failed else Outcome.PASSED
    return Check(name=name, outcome=outcome, evidence=evidence)


def _with(draft: Draft, check: Check) -> Draft:
    return draft._replace(checks=(*draft.checks, check))
