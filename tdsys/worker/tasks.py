"""Every task, in pipeline order: each hands the stage what it needs and nothing more."""

from __future__ import annotations

from tdsys import runtime
from tdsys.core.alerting import Severity
from tdsys.stages import (
    alerting,
    attributing,
    browsing,
    capture,
    drifting,
    embedding,
    forgetting,
    impact,
    importing,
    notifying,
    operating,
    optimizing,
    outages,
    planning,
    pruning,
    reviewing,
    scoring,
    serving,
    synthesizing,
    trending,
)
from tdsys.stages.synthesizing import Means
from tdsys.wire import Queue, Task
from tdsys.worker.app import serves_only, task


@task(Task.INGEST)
def ingest() -> object:
    """Take in the captures that wait."""
    here = runtime.current()
    outcome = capture.drain(here.store, here.inbox, clock=here.now)
    if outcome.more:
        here.bells.ring(Task.INGEST)
    if outcome.new:
        here.bells.ring(Task.SCORE)
    return outcome


@task(Task.GENERATE)
def generate() -> object:
    """Make what batches ask for."""
    here = runtime.current()
    outcome = synthesizing.make_due(
        here.store,
        means=Means(here.workshop, here.verifier, here.solver, here.settings.call_tokens),
        clock=here.now,
        lease=here.lease,
        block=here.settings.lm_threads,
        is_alone=serves_only(Queue.SYNTHESIS),
        share=lambda: here.bells.ring(Task.GENERATE),
        tell=lambda: here.bells.ring(Task.SCORE),
    )
    if outcome.more:
        here.bells.ring(Task.GENERATE)
    return outcome


@task(Task.PARSE)
def parse() -> object:
    """Parse the imports that are due."""
    here = runtime.current()
    outcome = importing.read_due(here.store, intake=here.intake, clock=here.now, lease=here.lease)
    here.bells.ring(Task.SCORE)
    return outcome


@task(Task.SCORE)
def score() -> object:
    """Verify, judge and decide the candidates that are due."""
    here = runtime.current()
    outcome = scoring.score_due(
        here.store,
        judge=here.judge,
        verifier=here.verifier,
        clock=here.now,
        limits=here.scoring_limits,
        canaries=here.canaries,
        embedder=here.embedder,
        tell=lambda: here.bells.ring(Task.GENERATE),
    )
    if outcome.more:
        here.bells.ring(Task.SCORE)
    if outcome.decided:  # a batch may have waited for it
        here.bells.ring(Task.GENERATE)
    here.bells.ring(Task.PLAN)
    # Last, for others need not wait for an embedder.
    return outcome, embedding.catch_up(here.store, here.embedder, now=here.now())


@task(Task.PLAN)
def plan() -> object:
    """Freeze a dataset version and queue a run where a domain is ready for one."""
    here = runtime.current()
    reviewing.freshen(here.store, now=here.now())
    outcome = planning.plan_due(
        here.store, model=here.settings.lm, clock=here.now, price=here.program_price
    )
    if any(considered.run_id for considered in outcome):
        here.bells.ring(Task.OPTIMIZE)
    return outcome


@task(Task.PRUNE)
def prune() -> object:
    """Retire what policies say is too old, too much alike or too much; delete what is unused."""
    here = runtime.current()
    pruned = pruning.prune_due(here.store, clock=here.now, total=here.storage_limits)
    purged = forgetting.purge_due(here.store, clock=here.now)
    if any(one.more for one in pruned) or any(one.more for one in purged):
        here.bells.ring(Task.PRUNE)
    return pruned, purged


@task(Task.PUBLISH)
def publish() -> object:
    """Lay the active programs where generators look for them."""
    here = runtime.current()
    return serving.publish(here.store, here.shelf)


@task(Task.OPTIMIZE)
def optimize() -> object:
    """Run the optimizations that are due, one after another."""
    here = runtime.current()
    outcome = optimizing.run_due(
        here.store,
        optimizer=here.optimizer,
        verifier=here.verifier,
        clock=here.now,
        lease=here.lease,
        threads=here.settings.lm_threads,
        price=here.program_price,
    )
    if outcome:
        here.bells.ring(Task.PUBLISH)
    return outcome


@task(Task.ATTRIBUTE)
def attribute() -> object:
    """Try prompts of the attributions that are open, then make one run that measures an impact."""
    here = runtime.current()
    outcome = attributing.work_due(
        here.store,
        means=attributing.Means(here.prober, here.verifier, here.optimizer.metric),
        clock=here.now,
        lease=here.lease,
        share=lambda: here.bells.ring(Task.ATTRIBUTE),
    )
    made = impact.work_due(
        here.store,
        optimizer=here.optimizer,
        verifier=here.verifier,
        clock=here.now,
        lease=here.lease,
    )
    if outcome.more or made:
        here.bells.ring(Task.ATTRIBUTE)
    return outcome, made


@task(Task.FRESHNESS)
def freshness() -> object:
    """Write down what each domain is like today."""
    here = runtime.current()
    return trending.write_days(here.store, now=here.now())


@task(Task.CATCH_UP)
def catch_up() -> object:
    """Make what is new searchable, and add up what was counted."""
    here = runtime.current()
    outcome = browsing.catch_up(here.store, clock=here.now)
    if outcome.more:
        here.bells.ring(Task.CATCH_UP)
    return outcome


@task(Task.OPERATE)
def operate() -> object:
    """Go on with the bulk actions that are open."""
    here = runtime.current()
    outcome = operating.work(here.store, clock=here.now)
    here.bells.ring(Task.SCORE)
    here.bells.ring(Task.PLAN)
    return [(one.id, one.state, one.counts) for one in outcome]


@task(Task.ALERTS)
def alerts() -> object:
    """Hold every domain against its alert rules, and every model against its breaker."""
    here = runtime.current()
    standings = {name: here.limiter.standing(name) for name in here.models()}
    models = outages.tell(here.store, standings, now=here.now())
    outcome = alerting.evaluate(here.store, now=here.now())
    here.bells.ring(Task.DELIVER)
    return models, outcome


@task(Task.DELIVER)
def deliver() -> object:
    """Tell people what is amiss, by the channels that are set."""
    here = runtime.current()
    return notifying.deliver_due(
        here.store,
        here.channels,
        least=Severity(here.settings.alert_level),
        page=here.alerts_page,
        clock=here.now,
        lease=here.lease,
    )


@task(Task.DRIFT)
def drift() -> object:
    """Ask whether the judge still does what it was calibrated for."""
    here = runtime.current()
    return drifting.watch(here.store, now=here.now())
