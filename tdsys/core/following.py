"""Where a run is, as its page and `tdsys optimize watch` tell it; pure.

Its rule: a score on a minibatch is never held beside one on the whole validation split.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core.budget import evaluations
from tdsys.core.program import Plan, Spent, Trial

TOKENS_PRICED = 1_000_000


class Progress(BaseModel):
    """How far a run is: `best` of the full trials, calls, what was paid, and how long at most.

    A run that was claimed again goes through all of it anew, but for what was paid, which adds up.
    `cost` is in US dollars, `left_seconds` an upper bound; both None while nobody knows.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    phase: str = ""
    trials: int = 0
    planned: int = 0
    full: int = 0
    minibatches: int = 0
    best: float | None = None
    best_trial: int | None = None
    best_minibatch: float | None = None
    last: float | None = None
    last_kind: str | None = None
    calls: int = 0
    calls_at_most: int = 0
    paid: int = 0
    tokens: int = 0
    cost: float | None = None
    failed: int = 0
    left_seconds: float | None = None
    at: datetime | None = None

    @classmethod
    def read(cls, document: Mapping[str, JsonValue]) -> Progress:
        """As it was stored."""
        return cls.model_validate(document)

    def document(self) -> dict[str, JsonValue]:
        """As it is stored."""
        held: dict[str, JsonValue] = self.model_dump(mode="json", exclude_none=True)
        return held


NOTHING = Progress()


def after_trial(known: Progress, trial: Trial) -> Progress:
    """With one more trial."""
    news: dict[str, object] = {
        "trials": trial.number,
        "last": trial.score,
        "last_kind": trial.kind,
    }
    if trial.kind == "full":
        news["full"] = known.full + 1
        if known.best is None or trial.score > known.best:
            news |= {"best": trial.score, "best_trial": trial.number}
    else:
        news["minibatches"] = known.minibatches + 1
        news["best_minibatch"] = max(trial.score, known.best_minibatch or 0.0)
    return known.model_copy(update=news)


def after_calls(
    known: Progress, spent: Spent, *, price: float | None, earlier: Progress = NOTHING
) -> Progress:
    """With what it took so far, after `earlier` attempts; dollars for a million tokens."""
    paid, tokens = earlier.paid + spent.paid, earlier.tokens + spent.tokens
    cost = None if price is None else round(tokens * price / TOKENS_PRICED, 6)
    news = {**spent._asdict(), "paid": paid, "tokens": tokens, "cost": cost}
    return known.model_copy(update=news)


def planned(plan: Plan, *, earlier: Progress = NOTHING) -> Progress:
    """Before anything was done but what `earlier` attempts paid."""
    return Progress(
        phase="starting",
        planned=evaluations(plan),
        calls_at_most=plan.calls_at_most,
        paid=earlier.paid,
        tokens=earlier.tokens,
        cost=earlier.cost,
    )


def left(plan: Plan, spent: Spent, *, before: int | None, took: timedelta) -> float | None:
    """How many seconds the search takes at most, by what each paid call took so far.

    `before` are the calls that came before the first trial: of MIPROv2 it is then known how many
    are still to come.
    """
    if not spent.paid:
        return None
    if plan.method == "miprov2" and before is not None:
        calls = plan.evaluation_calls - (spent.calls - before)
    else:
        calls = plan.calls_at_most - spent.calls
    return round(max(0, calls) * took.total_seconds() / spent.paid, 1)
