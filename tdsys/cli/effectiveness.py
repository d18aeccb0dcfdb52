"""`tdsys effectiveness`: what each example contributes, what is amiss, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, of_domain, person
from tdsys.cli.following import progress
from tdsys.cli.late import LateGroup
from tdsys.cli.printing import note, say, show_table
from tdsys.cli.recommending import document as recommended
from tdsys.core.attribution import WANTED_ERROR, Contribution, Effect
from tdsys.errors import NotReady
from tdsys.stages import advising, attributing, impact
from tdsys.stages.attributing import Means, Planned, Shown, UnderWay
from tdsys.store.effect_schema import AttributionState
from tdsys.wire import Task

TITLES = ("example", "contribution", "95 % interval", "", "verdict", "scores")
# Half of a drawn interval's width, in characters.
REACH = 12
# How long one look at the work takes, before progress is told.
SECONDS = 1.0
FAILED = 1


ELSEWHERE = {
    "problems": "recommending.problems",
    "recommend": "recommending.recommend",
    "apply": "recommending.apply",
    "revert": "recommending.revert",
    "impact": "recommending.impact_",
}


@click.group(cls=LateGroup, late=ELSEWHERE)
def effectiveness() -> None:
    """What the training examples are worth."""


@effectiveness.command()
@for_domain
@click.option("--budget", type=click.IntRange(1), help="Ask the model no more often than this.")
@click.option("--dry-run", is_flag=True, help="Only tell what it would take, and find.")
@click.option("--detach", is_flag=True, help="Leave it to the workers.")
@as_json
def attribute(
    domain: str, budget: int | None, *, dry_run: bool, detach: bool, as_json: bool
) -> None:
    """Measure what each example of the newest dataset version does to a prompt it is in.

    Prompts with random examples as demos are tried on requests of the validation split. This
    process works along with the workers; killed, it or they go on where it was.
    """
    here = runtime.current()
    prober = here.prober
    plan = attributing.planned(here.store, domain=domain, budget=budget, model=prober.model)
    if dry_run:
        _tell_plan(plan, prober.model, simulated=prober.simulated, as_json=as_json)
        return
    begun = attributing.begin(
        here.store,
        plan,
        model=prober.model,
        simulated=prober.simulated,
        actor=person(),
        clock=here.now,
    )
    here.bells.ring(Task.ATTRIBUTE)
    if detach:
        say(
            json.dumps({"attribution": str(begun)}) if as_json else f"attribution {begun} is queued"
        )
        return
    _tell(_finished(begun), as_json=as_json)


@effectiveness.command()
@for_domain
@as_json
def show(domain: str, *, as_json: bool) -> None:
    """Show the newest contributions, and how far an attribution is that is under way."""
    here = runtime.current()
    store = here.store
    found = attributing.shown(store, domain=domain)
    measured = impact.of_domain(store, domain=domain, model=here.settings.lm)
    known = [one for one in advising.listed(store, domain=domain) if one.id in measured]
    if as_json:
        rows = [recommended(one, measured[one.id]) for one in known]
        say(json.dumps({**document(found), "recommendations": rows}))
    else:
        if found.under_way:
            say(_progress(found.under_way))
            say("the newest one that says something:")
        _tell_table(found)
        for one in known:
            say(f"recommendation {one.id}, {one.state}: {one.title}: {measured[one.id].shown.told}")
    _fail_like(found)


def _progress(open_: UnderWay) -> str:
    whole, counted = open_
    return (
        f"an attribution of {whole.domain} is under way: {counted.done} of "
        f"{counted.done + counted.due} prompts tried, {whole.spent} of at most {whole.budget} calls"
    )


@effectiveness.command()
@partial(of_domain, help_="The domain whose open attribution ends.")
@click.option(
    "--impact", "id_", type=click.IntRange(1), metavar="ID",
    help="The recommendation whose open measurement ends.",
)  # fmt: skip
@as_json
def cancel(domain: str | None, id_: int | None, *, as_json: bool) -> None:
    """Stop a domain's open attribution, whose scores stay as evidence, or an open measurement."""
    here = runtime.current()
    if (domain is None) == (id_ is None):
        raise click.UsageError("say --domain for an attribution, or --impact for a measurement")
    what = f"the attribution of {domain}"
    if domain is not None and not attributing.cancel(here.store, domain=domain, clock=here.now):
        raise NotReady(f"{domain} has no open attribution", remedy="see `tdsys effectiveness show`")
    if id_ is not None:
        what = f"measuring the impact of recommendation {id_}"
        if not impact.cancel(here.store, id=id_, clock=here.now):
            raise NotReady(
                f"the impact of recommendation {id_} is not being measured",
                remedy=f"`tdsys effectiveness impact {id_}` measures it, or shows what came of it",
            )
    say(json.dumps({"cancelled": what}) if as_json else f"{what} is cancelled")


def _finished(begun: UUID) -> Shown:
    """Work along until it is over, with progress on a terminal."""
    here = runtime.current()
    with progress() as bar:
        task = bar.add_task("prompts", total=None)
        while True:
            found = attributing.followed(here.store, attribution_id=begun)
            counted, whole = found.counted, found.whole
            if not whole.is_open:
                return found
            bar.update(
                task,
                completed=counted.done,
                total=counted.done + counted.due,
                description=f"{whole.spent} of at most {whole.budget} calls",
            )
            attributing.work_due(
                here.store,
                means=Means(here.prober, here.verifier, here.optimizer.metric),
                clock=here.now,
                lease=here.lease,
                only=begun,
                seconds=SECONDS,
                patience=SECONDS / 4,
            )


def _tell_plan(plan: Planned, model: str, *, simulated: bool, as_json: bool) -> None:
    told = {
        "version": plan.version.number,
        "model": model,
        "simulated": simulated,
        "candidates": len(plan.pool),
        "left_out": plan.left_out,
        "items": len(plan.items),
        "calls": plan.budget,
        "scores_before": plan.scores_before,
        "expected_error": plan.error,
        "calls_for_an_error_of_0.03": plan.calls_for,
    }
    if as_json:
        say(json.dumps(told))
        return
    out = f", {plan.left_out} left out by prescreening" if plan.left_out else ""
    say(
        f"version {plan.version.number}: {len(plan.pool)} examples{out}, asked "
        f"{len(plan.items)} requests of the validation split"
    )
    say(
        f"at most {plan.budget} calls of {_named(model, simulated=simulated)}, beside "
        f"{plan.scores_before} scores there are already"
    )
    say(
        f"each contribution would be known to ±{2 * plan.error:.3f}; "
        f"±{2 * WANTED_ERROR:.2f} takes about {plan.calls_for} calls in all"
    )


def _tell(found: Shown, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(document(found)))
    else:
        _tell_table(found)
    _fail_like(found)


def _fail_like(found: Shown) -> None:
    if found.whole.state is AttributionState.FAILED:
        raise SystemExit(FAILED)


def document(found: Shown) -> dict[str, object]:
    """An attribution as machines read it."""
    whole, counted, open_ = found.whole, found.counted, found.under_way
    return {
        "attribution": str(whole.id),
        "domain": whole.domain,
        "version": found.version.number,
        "state": whole.state,
        "reason": whole.reason,
        "stale": whole.stale,
        "model": whole.model,
        "simulated": whole.simulated,
        "budget": whole.budget,
        "calls": whole.spent,
        "scores": whole.scores,
        "unscored": counted.unscored,
        "probes": {"done": counted.done, "due": counted.due, "left": counted.left},
        "error": whole.error,
        "contributions": [one.model_dump(mode="json") for one in found.contributions],
        "under_way": open_
        and {
            "attribution": str(open_.whole.id),
            "budget": open_.whole.budget,
            "calls": open_.whole.spent,
            "probes": {"done": open_.counted.done, "due": open_.counted.due},
        },
    }


def _tell_table(found: Shown) -> None:
    whole, counted = found.whole, found.counted
    say(
        f"{whole.domain}, version {found.version.number}, on "
        f"{_named(whole.model, simulated=whole.simulated)}: {whole.state}; {whole.spent} of at "
        f"most {whole.budget} calls, {counted.done} prompts tried, {counted.unscored} unscored"
    )
    if whole.stale:
        note("the data changed since: these contributions are of an older version")
    if whole.reason:
        say(whole.reason)
    if found.contributions:
        most = max((abs(end) for one in found.contributions for end in _ends(one)), default=0.0)
        show_table(TITLES, [_row(one, most) for one in found.contributions])
        counts = [(sum(one.verdict is e for one in found.contributions), e) for e in Effect]
        say(", ".join(f"{n} {effect}" for n, effect in counts))


def _named(model: str, *, simulated: bool) -> str:
    return f"{model} (simulated)" if simulated else model


def _row(one: Contribution, most: float) -> tuple[str, ...]:
    if one.value is None or one.ci_low is None or one.ci_high is None:
        return one.example[:16], "", "", "", one.verdict, str(one.n)
    return (
        one.example[:16],
        f"{one.value:+.3f}",
        f"{one.ci_low:+.3f} to {one.ci_high:+.3f}",
        drawn(one.ci_low, one.value, one.ci_high, most),
        one.verdict,
        str(one.n),
    )


def drawn(low: float, value: float, high: float, most: float) -> str:
    """An interval as a line of characters, zero in the middle."""
    places = [round(at / (most or 1.0) * REACH) + REACH for at in (low, value, high)]
    line = ["─" if places[0] <= at <= places[2] else " " for at in range(2 * REACH + 1)]
    line[REACH] = "┼" if line[REACH] == "─" else "│"
    line[places[1]] = "●"
    return "".join(line)


def _ends(one: Contribution) -> Sequence[float]:
    return [end for end in (one.ci_low, one.ci_high) if end is not None]
