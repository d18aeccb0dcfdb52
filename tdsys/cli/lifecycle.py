"""`tdsys prune`: what leaves without a person, shown before it is done."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain, person
from tdsys.cli.following import progress
from tdsys.cli.printing import say, show_table
from tdsys.core.dataset import Split
from tdsys.errors import InvalidInput
from tdsys.stages import forgetting, pruning
from tdsys.stages.forgetting import Purged
from tdsys.stages.pruning import Plan, Pruned
from tdsys.store import policies

TITLES = ("topic", "difficulty", "admitted", "reason", "leave", "MB", "the first of them")
MEGABYTE = 1_000_000


@click.command()
@of_domain
@click.option("--dry-run", is_flag=True, help="Say what would be retired, change nothing.")
@click.option("--yes", is_flag=True, help="Do it.")
@as_json
def prune(domain: str | None, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Retire what is too old, too much alike or too much; delete what nothing used for long.

    A cell keeps its minimum, a domain its min_examples; a person's word goes last, and what the
    active program learned from stays.
    """
    if dry_run is yes:
        raise InvalidInput("say whether to do it", remedy="use --yes, or --dry-run to see what")
    store = runtime.current().store
    with store.begin() as tx:
        names = policies.domains(tx) if domain is None else [domain]
    found = [_done(name) if yes else _foreseen(name) for name in names]
    if as_json:
        say(json.dumps([_document(*one, applied=yes) for one in found]))
        return
    for one in found:
        _show(*one, done=yes)
    if not found:
        say("there is no domain yet, and so nothing to retire or to delete")


def _foreseen(domain: str) -> tuple[Plan, Purged]:
    here = runtime.current()
    plan = pruning.foreseen(here.store, domain=domain, clock=here.now, total=here.storage_limits)
    return plan, forgetting.foreseen(here.store, domain=domain, clock=here.now)


def _done(domain: str) -> tuple[Pruned, Purged]:
    """Prune and purge it here, showing how far that is."""
    here = runtime.current()
    with progress() as bars:
        bar = bars.add_task("examples", total=None)

        def tell(done: int, total: int) -> None:
            bars.update(bar, completed=done, total=total)

        pruned = pruning.prune(
            here.store,
            domain=domain,
            actor=person(),
            clock=here.now,
            total=here.storage_limits,
            tell=tell,
        )
        bars.update(bar, description="deleted", completed=0, total=None)
        return pruned, forgetting.purge(
            here.store, domain=domain, actor=person(), clock=here.now, tell=tell
        )


def _document(one: Plan | Pruned, gone: Purged, *, applied: bool) -> dict[str, object]:
    return {
        "domain": one.domain,
        "policy_version": one.policy_version,
        "cuts": [cut._asdict() for cut in one.cuts],
        "reasons": pruning.reasons(one.cuts),
        "stays": one.stays,
        "more": one.more or gone.more,
        "purged": gone.states,
        "applied": applied,
        **({"losses": one.losses} if isinstance(one, Plan) else {}),
    }


def _show(one: Plan | Pruned, gone: Purged, *, done: bool) -> None:
    told = pruning.reasons(one.cuts)
    said = ", ".join(f"{n} {reason}" for reason, n in sorted(told.items())) or "nothing"
    would = "retired" if done else "would retire"
    more = "; there is more" if one.more else ""
    say(f"{one.domain}, policy version {one.policy_version}: {would} {said}{more}")
    if one.cuts:
        show_table(TITLES, _rows(one.cuts))
    for why in one.stays:
        say(f"  {why}")
    if isinstance(one, Plan) and one.losses:
        say(f"  {_lost(one.losses)}")
    if gone.states:
        states = ", ".join(f"{n} {state}" for state, n in sorted(gone.states.items()))
        say(f"  {'deleted' if done else 'would delete'} for good: {states}")


def _lost(losses: dict[str, int]) -> str:
    counts = ", ".join(f"{n} of {split}" for split, n in sorted(losses.items()))
    told = f"the dataset version in force holds {counts} of them"
    if losses.keys() <= {Split.TRAIN}:
        return told
    return f"{told}; one that loses much of val or test begins a new major, pin what should stay"


def _rows(cuts: Sequence[pruning.Cut]) -> list[tuple[str, ...]]:
    return [
        (cut.topic, cut.difficulty, str(cut.admitted), cut.reason, str(cut.n),
         f"{cut.size / MEGABYTE:.2f}", cut.because)
        for cut in cuts
    ]  # fmt: skip
