"""How a calibration is told: to people, to machines, and as a page."""

from __future__ import annotations

import json
import shlex

from tdsys.cli.page import page, table
from tdsys.cli.plot import bars, figure
from tdsys.cli.printing import say, show_table
from tdsys.core.agreement import Share
from tdsys.core.calibration import Scale, Stratum, Threshold, best, fields
from tdsys.core.policy import Policy
from tdsys.core.reliability import Bin
from tdsys.stages.calibrating import Calibration

SCALES = ("score", "labels", "off by", "Brier", "map", "Brier after")
IN_TEXT = (*SCALES, "good by tenth")
THRESHOLDS = ("threshold", "now", "at", "by the", "precision, held out", "recall, held out")
NUMBERS = ("dimension", "labels", "weighted kappa", "alpha", "judge less person", "distance")
BINS = ("score", "from", "below", "labels", "mean score", "good")
UNSAID = "–"


def show(found: Calibration, policy: Policy) -> None:
    """Print it."""
    for sentence in in_words(found):
        say(sentence)
    show_table(IN_TEXT, [(*_scale(one), bars(one.bins)) for one in found.findings.scales])
    if found.findings.numbers:
        show_table(NUMBERS, _numbers(found))
    if found.findings.thresholds:
        show_table(THRESHOLDS, map(_threshold, found.findings.thresholds))
    say(recommendation(found, policy))


def document(found: Calibration, policy: Policy) -> dict[str, object]:
    """It for machines, with the command that takes its recommendation."""
    chosen = best(found.findings.thresholds)
    return {
        **found.model_dump(mode="json"),
        "recommended": command(found.domain, chosen, policy) if chosen else None,
    }


def page_of(found: Calibration, policy: Policy) -> str:
    """It as a page: the plots, and every number of them in a table below."""
    bins = [_bin(scale, one) for scale in found.findings.scales for one in scale.bins if one.n]
    parts = [
        figure(found.findings.scales),
        table(
            THRESHOLDS,
            map(_threshold, found.findings.thresholds),
            "Thresholds that would do, each alone",
        ),
        table(SCALES, map(_scale, found.findings.scales), "How far each score is what it promises"),
        table(NUMBERS, _numbers(found), "Numbers of people beside the judge's"),
        table(BINS, bins, "The points of the plots, by tenths"),
    ]
    lead = [*in_words(found), recommendation(found, policy)]
    return page(f"Calibration: {found.domain}", lead, parts)


def in_words(found: Calibration) -> list[str]:
    """Whose labels, how far judge and people agree, and what is accepted at present."""
    what, judged = found.findings, " ".join(found.judge)
    kappa = what.kappa
    interval = f" [{kappa.low:.2f}, {kappa.high:.2f}]" if kappa else ""
    agreed = _number(kappa.value if kappa else None) + interval
    simulated = ", SIMULATED" if found.simulated else ""
    whose = f"{what.n} labels from {found.source}, {what.good} good"
    weighted, alpha = _number(what.weighted_kappa), _number(what.alpha)
    taken = what.accepted
    worth = f"precision {_share(taken.precision)}, recall {_share(taken.recall)}"
    lines = [
        f"{found.domain}, policy version {found.policy_version}: {judged}{simulated}; {whose}",
        *_sampled(found),
        f"beyond chance: kappa {agreed}, weighted {weighted}, Krippendorff's alpha {alpha}",
        f"accepted at the present thresholds: {taken.accepted} of them; {worth}",
    ]
    left_out = ", ".join(f"{n} {why}" for why, n in sorted(found.left_out.items()) if n)
    return [*lines, f"left out: {left_out}"] if left_out else lines


def recommendation(found: Calibration, policy: Policy) -> str:
    """What to do about the thresholds."""
    wanted = f"{found.findings.wanted:.0%} of what is accepted to be good"
    chosen = best(found.findings.thresholds)
    if chosen is None:
        return f"no single threshold reaches what was wanted among these labels: {wanted}"
    return f"for {wanted}, by the {chosen.basis}: {command(found.domain, chosen, policy)}"


def command(domain: str, chosen: Threshold, policy: Policy) -> str:
    """The command that puts a threshold in force, ready for a shell."""
    changed = [
        f"{name}={json.dumps(value, separators=(',', ':'))}"
        for name, value in fields(chosen, policy).items()
    ]
    return shlex.join(["tdsys", "policy", "set", "--domain", domain, *changed])


def _sampled(found: Calibration) -> list[str]:
    """How the labels came about, and what no label can tell."""
    lines = []
    for one in found.sampled:
        alone = one.stratum is Stratum.ALONE
        what = "scores alone decided" if alone else "people were to decide anyway"
        lines.append(f"of {one.scored:,} that {what}, people decided {one.labelled:,}")
        if alone and one.scored and not one.labelled:
            lines.append("so nothing is known of what is accepted unseen: raise `audit_share`")
    return lines


def _scale(scale: Scale) -> tuple[str, ...]:
    fitted = scale.fitted
    kind = fitted.map.kind if fitted else UNSAID
    return (
        scale.name,
        str(sum(one.n for one in scale.bins)),
        _number(scale.expected_error),
        _number(scale.brier, 3),
        kind,
        _number(fitted.after if fitted else None, 3),
    )


def _numbers(found: Calibration) -> list[tuple[str, ...]]:
    return [
        (
            one.dimension,
            str(one.n),
            _number(one.weighted_kappa),
            _number(one.alpha),
            f"{one.bias:+.2f}",
            f"{one.distance:.2f}",
        )
        for one in found.findings.numbers
    ]


def _threshold(one: Threshold) -> tuple[str, ...]:
    name = "admit_quality" if one.knob == "quality" else f"admit_from.{one.knob}"
    held = one.held_out
    return (
        name,
        f"{one.now:g}",
        f"{one.at:g}",
        one.basis,
        _share(held.precision),
        _share(held.recall),
    )


def _bin(scale: Scale, one: Bin) -> tuple[str, ...]:
    bounds = f"{one.low:.1f}", f"{one.high:.1f}"
    return scale.name, *bounds, str(one.n), _number(one.score), _share(one.good)


def _share(share: Share | None) -> str:
    if share is None:
        return UNSAID
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"


def _number(value: float | None, digits: int = 2) -> str:
    return UNSAID if value is None else f"{value:.{digits}f}"
