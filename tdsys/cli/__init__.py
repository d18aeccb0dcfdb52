"""The command line: each module parses arguments, calls a stage or the stack, and prints.

Its rule: text that came from outside is printed by `tdsys.cli.printing` only.
"""

from __future__ import annotations

import click

from tdsys import __version__
from tdsys.cli import (
    activation,
    alerts,
    batch,
    benchmark,
    broker,
    checks,
    dataset,
    demo,
    effectiveness,
    examples,
    exports,
    forget,
    freshness,
    importing,
    judge,
    lifecycle,
    models,
    optimize,
    policy,
    recommending,
    replay,
    report,
    spool,
    stack,
    strategy,
    synthesis,
    user,
    variety,
    verify,
    watching,
    web,
    why,
    yields,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Make, prove, judge and keep the training examples a DSPy program needs."""


for command in (
    stack.up,
    stack.down,
    stack.status,
    stack.db,
    web.web,
    user.user,
    user.token,
    spool.spool,
    importing.import_,
    benchmark.benchmark,
    synthesis.bootstrap,
    synthesis.synthesize,
    batch.batch,
    strategy.strategy,
    why.why,
    examples.examples,
    policy.policy,
    judge.judge,
    replay.replay,
    lifecycle.prune,
    forget.forget,
    report.report,
    alerts.alerts,
    models.models,
    optimize.optimize,
    effectiveness.effectiveness,
    exports.program,
    dataset.dataset,
    broker.broker,
    broker.quarantine,
    demo.demo,
    verify.verify,
):
    cli.add_command(command)
for more in (freshness.freshness, variety.diversity, variety.mix, checks.checks, yields.yield_):
    report.report.add_command(more)
for more in (
    recommending.problems,
    recommending.recommend,
    recommending.apply,
    recommending.revert,
    recommending.impact_,
):
    effectiveness.effectiveness.add_command(more)
for more in (
    activation.activate,
    activation.rollback,
    activation.history,
    watching.watch,
    watching.extensions,
):
    optimize.optimize.add_command(more)

__all__ = ["cli"]
