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
from tdsys.core.corroboration import Calibrated, Estimated, Maker
from tdsys.core.precision import Precision, Share
from tdsys.stages import checking

CHECKS = ("check", "says", "flagged", "precision", "recall", "false alarms")
AGREEMENTS = ("solutions that agree", "answers", "right")
MAKERS = ("model", "answers", "right", "of those that pass", "foretold by the others'")
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

    The file is GSM8K's example_model_solutions.jsonl or one of its form. Where it holds solutions
    of several models, also what it is worth that they agree. Needs no server. Shares come with the
    bounds of their 95 % interval (Wilson).
    """
    verifier = runtime.current().verifier
    found = {"reference faults": checking.on_reference(verifier, count=count, looked=_progress())}
    if solutions:
        found |= checking.on_solutions(verifier, solutions, looked=_progress())
    agreed = checking.on_agreement(verifier, solutions) if solutions else None
    if as_json:
        told = {name: _document(one) for name, one in found.items()}
        say(json.dumps({**told, "agreement": agreed and _calibrated(agreed)}))
        return
    for name, one in found.items():
        say(f"{name}: {one.examples} examples, {one.faulty} of them faulty")
        show_table(CHECKS, _checks(one))
        show_table(KINDS, _kinds(one))
    if agreed:
        _show_agreement(agreed)


def _show_agreement(found: Calibrated) -> None:
    say(
        f"independent solutions: {found.answers} answers to {found.questions} questions, "
        f"{found.right:.1%} right; Brier score {found.prior:.3f} by that share alone, "
        f"{found.raw:.3f} by the share that agrees, {found.held_out:.3f} calibrated "
        f"({found.method}) on held-out questions, calibration error {found.error:.3f}"
    )
    show_table(AGREEMENTS, map(agreement_row, found.shares))
    show_table(MAKERS, map(maker_row, found.makers))


def agreement_row(one: Estimated) -> tuple[str, ...]:
    """One agreement, as it is shown here and in docs/verification.md."""
    right = f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})"
    return f"{one.said.agree} of {one.said.of}", f"{one.n:.0f}", right


def maker_row(one: Maker) -> tuple[str, ...]:
    """One maker, likewise."""
    shares = (one.right, one.passing, one.foretold)
    told = [NOTHING if share is None else f"{share:.1%}" for share in shares]
    return one.maker, str(one.n), *told


def _calibrated(found: Calibrated) -> dict[str, object]:
    shares = [{**one._asdict(), **one.said._asdict()} for one in found.shares]
    for one in shares:
        del one["said"]
    return {**found._asdict(), "shares": shares, "makers": [one._asdict() for one in found.makers]}


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
