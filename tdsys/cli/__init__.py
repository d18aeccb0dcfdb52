"""The command line: each module parses arguments, calls a stage or the stack, and prints.

Its rule: text that came from outside is printed by `tdsys.cli.printing` only.
"""

from __future__ import annotations

import click

from tdsys import __version__
from tdsys.cli.late import LateGroup

COMMANDS = {
    "up": "stack.up",
    "down": "stack.down",
    "status": "stack.status",
    "db": "stack.db",
    "web": "web.web",
    "user": "user.user",
    "token": "user.token",
    "spool": "spool.spool",
    "import": "importing.import_",
    "imports": "imports.imports",
    "benchmark": "benchmark.benchmark",
    "bootstrap": "synthesis.bootstrap",
    "synthesize": "synthesis.synthesize",
    "batch": "batch.batch",
    "strategy": "strategy.strategy",
    "why": "why.why",
    "examples": "examples.examples",
    "policy": "policy.policy",
    "judge": "judge.judge",
    "replay": "replay.replay",
    "prune": "lifecycle.prune",
    "forget": "forget.forget",
    "report": "report.report",
    "alerts": "alerts.alerts",
    "models": "models.models",
    "optimize": "optimize.optimize",
    "effectiveness": "effectiveness.effectiveness",
    "program": "exports.program",
    "dataset": "dataset.dataset",
    "broker": "broker.broker",
    "quarantine": "broker.quarantine",
    "demo": "demo.demo",
    "verify": "verify.verify",
}


@click.group(cls=LateGroup, late=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Make, prove, judge and keep the training examples a DSPy program needs."""


__all__ = ["cli"]
