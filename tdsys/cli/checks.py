"""`tdsys report checks`: how far each check of the verifier can be trusted, measured here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json
from tdsys.cli.printing import note, say, show_table
from tdsys.core.precision import Precision, Share
from tdsys.stages import checking

CHECKS = ("check", "says", "flagged", "precision", "recall", "false alarms")
KINDS = ("kind of fault", "examples", "failed", "failed or suspicious")
NOTHING = "–"
TELL_EVERY = 3.0


@click.command()
@click.argument(
    "solutions", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--count", default=3000, show_default=True, type=click.IntRange(min=1))
@as_json
def checks(solutions: Path | None, count: int, *, as_json: bool) -> None:
    """Try every check on the reference generator's faults, and on a file of labelled solutions.

    The file is GSM8K's example_model_solutions.jsonl or one of its form. Needs no server. Shares
    come with the bounds of their 95 % interval (Wilson).
    """
    verifier = runtime.current().verifier
    found = {"reference faults": checking.on_reference(verifier, count=count, looked=_progress())}
    if solutions:
        found |= checking.on_solutions(verifier, solutions, looked=_progress())
    if as_json:
        say(json.dumps({name: _document(one) for name, one in found.items()}))
        return
    for name, one in found.items():
        say(f"{name}: {one.examples} examples, {one.faulty} of them faulty")
        show_table(CHECKS, _checks(one))
        show_table(KINDS, _kinds(one))


def _progress() -> Callable[[int], None]:
    """Tells now and then how far it is."""
    told = time.monotonic()

    def looked(number: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            note(f"  {number} examples tried")

    return looked


def _checks(found: Precision) -> list[tuple[str, ...]]:
    return [
        (
            one.check,
            one.outcome,
            str(one.precision.n),
            *map(_shown, (one.precision, one.recall, one.false_alarms)),
        )
        for one in found.checks
    ]


def _kinds(found: Precision) -> list[tuple[str, ...]]:
    return [
        (one.kind, str(one.failed.n), _shown(one.failed), _shown(one.flagged))
        for one in found.kinds
    ]


def _shown(share: Share) -> str:
    if share.value is None:
        return NOTHING
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _document(found: Precision) -> dict[str, object]:
    return {
        "examples": found.examples,
        "faulty": found.faulty,
        "checks": [
            {name: _plain(value) for name, value in one._asdict().items()} for one in found.checks
        ],
        "kinds": [
            {name: _plain(value) for name, value in one._asdict().items()} for one in found.kinds
        ],
    }


def _plain(value: object) -> object:
    return value._asdict() if isinstance(value, Share) else value
