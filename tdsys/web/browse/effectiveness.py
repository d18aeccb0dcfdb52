"""What each example contributes, what is amiss, what is recommended, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape

from tdsys.core.advising import AdviceState, Kind
from tdsys.core.attribution import Contribution, Effect
from tdsys.core.people import Right
from tdsys.core.printable import printable
from tdsys.errors import InvalidInput, NotFound, NotReady
from tdsys.stages import advising, attributing, impact
from tdsys.stages.advising import MOVES, Survey
from tdsys.stages.attributing import UnderWay
from tdsys.store.impacts import Known
from tdsys.store.recommendations import Recommendation
from tdsys.web.browse.address import number
from tdsys.web.pages import Action, Done, Page
from tdsys.web.visit import Visit, missing

WIDE, ROW, LABEL = 640, 20, 250
SHOWN_OF_PROBLEM = 40


def shown(visit: Visit) -> dict[str, Any]:
    """One domain, or what there is to see of each."""
    domain = visit.domain()
    if domain is None:
        found = attributing.newest(visit.store, domains=visit.domains)
        return {"domain": None, "newest": [one.model_dump(mode="json") for one in found]}
    seen = advising.survey(visit.store, domain=domain, clock=lambda: visit.now)
    problems = {one.example: one.problem for one in seen.members}
    whole = attributing.newest_of(visit.store, domain=domain)
    contributions = whole.contributions if whole else []
    measured = impact.of_domain(visit.store, domain=domain, model=visit.runtime.settings.lm)
    return {
        "domain": domain,
        "version": seen.version.number,
        "attribution": whole and whole.whole.model_dump(mode="json"),
        "probes": whole and whole.counted._asdict(),
        "under_way": _under_way(whole.under_way) if whole and whole.under_way else None,
        "of_version": whole and whole.version.number,
        "chart": str(forest(contributions, problems)) if contributions else None,
        "contributions": [_contribution(one, problems) for one in contributions],
        "counts": Counter(one.verdict for one in contributions),
        "problems": _problems(seen),
        "unmeasured": advising.unmeasured(visit.store, domain=domain),
        "recommendations": [
            _recommendation(one, measured.get(one.id))
            for one in advising.listed(visit.store, domain=domain)
        ],
        "may": visit.person.may(Right.OPERATE, domain=domain),
    }


def recommend(visit: Visit) -> Done:
    """Work out anew what to do."""
    domain = visit.field("domain")
    visit.require(Right.OPERATE, domain=domain)
    found = advising.recommend(visit.store, domain=domain, clock=lambda: visit.now)
    return Done(_page(domain), f"{len(found)} recommendations are open.")


def apply(visit: Visit) -> Done:
    """Follow a recommendation whose doing needs no model."""
    one = _asked(visit)
    if one.kind is Kind.COLLECT:
        raise InvalidInput(
            "examples are collected from the command line",
            remedy=f"tdsys effectiveness apply {one.id}",
        )
    done = advising.apply(
        visit.store,
        id=one.id,
        supply=lambda: visit.runtime.workshop,
        model=visit.runtime.settings.lm,
        actor=visit.person.name,
        clock=lambda: visit.now,
        despite_impact=bool(visit.field("despite_impact")),
    )
    news = f"; dataset version {done.version.number} is frozen" if done.version else ""
    return Done(_page(one.domain), f"Applied: {len(done.moved)} examples moved{news}.")


def revert(visit: Visit) -> Done:
    """Take back what applying one did."""
    one = _asked(visit)
    advising.revert(visit.store, id=one.id, actor=visit.person.name, clock=lambda: visit.now)
    return Done(_page(one.domain), "It is taken back.")


def cancel(visit: Visit) -> Done:
    """Stop measuring what one changed."""
    one = _asked(visit)
    if not impact.cancel(visit.store, id=one.id, clock=lambda: visit.now):
        raise NotReady("its impact is not being measured", remedy="load the page anew")
    return Done(_page(one.domain), "The measurement is stopped.")


def _asked(visit: Visit) -> Recommendation:
    """The recommendation in the address; missing when this person may not see it."""
    try:
        one = advising.found(visit.store, id=number(visit, "recommendation"))
    except NotFound:
        raise missing("recommendation") from None
    if visit.domains is not None and one.domain not in visit.domains:
        raise missing("recommendation")
    visit.require(Right.OPERATE, domain=one.domain)
    return one


def _page(domain: str) -> str:
    return f"/effectiveness?{urlencode({'domain': domain})}"


def _contribution(one: Contribution, problems: dict[str, str]) -> dict[str, Any]:
    return {**one.model_dump(mode="json"), "problem": problems.get(one.example)}


def _problems(seen: Survey) -> list[dict[str, Any]]:
    return [
        {
            "example": one.known.example,
            "id": one.known.id,
            "problem": one.known.problem,
            "split": one.known.split,
            "fault": one.fault,
            "detail": one.detail,
            "others": one.others,
        }
        for one in seen.suspects
    ]


def _under_way(open_: UnderWay) -> dict[str, Any]:
    return {**open_.whole.model_dump(mode="json"), "probes": open_.counted._asdict()}


def _recommendation(one: Recommendation, measured: Known | None) -> dict[str, Any]:
    shown = measured and measured.shown
    return {
        **one.model_dump(mode="json"),
        "impact": shown and {**shown.model_dump(mode="json"), "told": shown.told},
        "is_worse": shown is not None and shown.is_worse,
        "can_cancel": measured is not None and measured.is_open,
        "can_apply": one.state is AdviceState.OPEN and one.kind is not Kind.COLLECT,
        "can_revert": one.state is AdviceState.APPLIED
        and (one.kind is Kind.RETIRE or one.kind not in MOVES),
    }


def forest(found: Sequence[Contribution], problems: dict[str, str]) -> Markup:
    """Each contribution with its interval on one axis, zero in the middle; unknown ones apart."""
    known = [one for one in found if one.value is not None]
    most = max((abs(end) for one in known for end in (one.ci_low, one.ci_high) if end), default=1)
    counts = Counter(one.verdict for one in found)
    words = "Contributions with 95 % intervals: " + ", ".join(
        f"{counts[effect]} {effect}" for effect in Effect
    )
    middle, half = (WIDE + LABEL) / 2, (WIDE - LABEL) / 2 - 8
    rows = [_row(place, one, problems, (middle, half / most)) for place, one in enumerate(known)]
    high = ROW * len(known) + 26
    zero = Markup('<line class="zero" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"/>').format(
        middle, high - 22
    )
    ends = Markup("").join(
        Markup('<text class="label" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            x, high - 6, anchor, text
        )
        for x, anchor, text in (
            (middle - half, "start", f"{-most:+.2f}"),
            (middle, "middle", "0"),
            (middle + half, "end", f"{most:+.2f}"),
        )
    )
    return Markup(
        '<svg class="chart forest" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>'
    ).format(WIDE, high, escape(printable(words)), zero, Markup("").join(rows), ends)


def _row(
    place: int, one: Contribution, problems: dict[str, str], scale: tuple[float, float]
) -> Markup:
    middle, step = scale
    y = place * ROW + 14
    low, value, high = (middle + (v or 0.0) * step for v in (one.ci_low, one.value, one.ci_high))
    text = problems.get(one.example) or one.example
    short = text[:SHOWN_OF_PROBLEM] + ("…" if len(text) > SHOWN_OF_PROBLEM else "")
    says = f"{text[:200]}: {one.value:+.3f}, {one.ci_low:+.3f} to {one.ci_high:+.3f}, {one.verdict}"
    return Markup(
        '<g class="{}"><title>{}</title><text class="label" x="0" y="{}">{}</text>'
        '<line class="reach" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>'
        '<circle class="dot" cx="{:.1f}" cy="{}" r="4"/></g>'
    ).format(
        one.verdict, escape(printable(says)), y + 4, escape(printable(short)), low, high, y, y,
        value, y,
    )  # fmt: skip


PAGE = Page("/effectiveness", Right.LOOK, shown, "browse/effectiveness.html")
ROUTES = (
    PAGE,
    Action("/effectiveness/recommend", Right.OPERATE, recommend),
    Action("/recommendations/{id:int}/apply", Right.OPERATE, apply),
    Action("/recommendations/{id:int}/revert", Right.OPERATE, revert),
    Action("/recommendations/{id:int}/cancel", Right.OPERATE, cancel),
)
