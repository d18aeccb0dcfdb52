"""Whether a domain's data could be optimized on now: what does not fit, what lacks, what it takes.

Everything that a run would find out after it paid is found out here, without a call of the model.
"""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple

from tdsys.core import budget, dataset
from tdsys.core.budget import PRESETS, Estimate
from tdsys.core.dataset import Member, Split
from tdsys.core.fitting import Misfit, together
from tdsys.core.grading import GenerationGrader
from tdsys.core.policy import Signature
from tdsys.core.program import Auto, Grader, Item, Optimizer, Recipe
from tdsys.core.rubric import Verifier
from tdsys.core.sections import Conversion
from tdsys.core.versions import Draft
from tdsys.stages import drafting
from tdsys.store import Store, runs


class Checked(NamedTuple):
    """The next version of a domain as a run would see it; `mended` are rules that would help.

    `missing` keeps it from being a version, `blockers` would make a run score nothing or crash.
    """

    signature: Signature
    sizes: dict[str, int]
    misfits: list[Misfit]
    unfit: int
    missing: list[str]
    blockers: list[str]
    estimates: dict[Auto, Estimate]
    rules: Conversion
    mended: Conversion

    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way; examples that do not fit are merely left out."""
        return not self.missing and not self.blockers


def check(
    store: Store,
    *,
    domain: str,
    optimizer: Optimizer,
    verifier: Verifier,
    price: float | None = None,
) -> Checked:
    """Look at everything; `price` is in US dollars for a million tokens of the model."""
    known = drafting.read(store, domain=domain)
    drafted = drafting.next_version(known)
    draft, rules = drafted.draft, known.policy.conversion
    missing = drafting.shortcomings(drafted, known)
    asks = optimizer.predictors(draft.signature, known.policy.program)
    return Checked(
        signature=draft.signature,
        sizes=draft.sizes,
        misfits=drafted.misfits,
        unfit=drafted.left_out,
        missing=missing,
        blockers=[] if missing else _blockers(known, draft.members, draft.signature, optimizer,
                                              verifier),
        estimates=_estimates(store, known, draft, asks, price),
        rules=rules,
        mended=together(drafted.misfits, rules),
    )  # fmt: skip


def _blockers(
    known: drafting.Known,
    members: list[Member],
    signature: Signature,
    optimizer: Optimizer,
    verifier: Verifier,
) -> list[str]:
    train, val = (_items(members, split, signature) for split in (Split.TRAIN, Split.VAL))
    policy = known.policy
    grader: Grader = GenerationGrader(known.domain, [*train, *val], verifier)
    if policy.metric is not None:
        grader = optimizer.metric(policy.metric)
    method = budget.choose(policy.optimizer, len(train), len(val)).method
    recipe = Recipe(method=method, auto=policy.auto, seed=policy.seed, program=policy.program)
    return optimizer.blockers(signature, train, val, grader=grader, recipe=recipe)


def _items(members: list[Member], split: Split, signature: Signature) -> list[Item]:
    return [dataset.item(m.example, signature) for m in members if m.split is split]


def _estimates(
    store: Store, known: drafting.Known, draft: Draft, asks: int, price: float | None
) -> dict[Auto, Estimate]:
    train, val = draft.sizes[Split.TRAIN], draft.sizes[Split.VAL]
    method = budget.choose(known.policy.optimizer, train, val).method
    contents = [m.example.inputs | m.example.outputs for m in draft.members]
    lengths = [sum(map(len, map(str, content.values()))) for content in contents]
    pace = _pace(store, known.domain)
    return {
        auto: budget.estimate(
            budget.plan(train, val, auto, predictors=asks, method=method),
            characters=fmean(lengths) if lengths else 0.0,
            price=price,
            seconds_per_call=pace,
        )
        for auto in PRESETS
    }


def _pace(store: Store, domain: str) -> float | None:
    """Seconds a call took in the last run that has a trial, with all that run at once."""
    with store.begin() as tx:
        last = runs.last_for(tx, domain=domain)
        trials = runs.trials(tx, run_id=last.id) if last else []
    calls = sum(trial.calls for trial in trials)
    return sum(trial.seconds for trial in trials) / calls if calls else None
