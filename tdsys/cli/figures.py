"""What the reports' pages draw: scores by tenths and by day, the map of cells, the mix by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap

from markupsafe import Markup

from tdsys.cli.page import picture
from tdsys.core.rubric import Dimension
from tdsys.stages.reporting import Covered, Spread
from tdsys.stages.trending import Point, Trend
from tdsys.stages.variety import MixedPeriod, Ratio
from tdsys.web.browse.address import hardness
from tdsys.web.charts import Square, spread, squares, stacked
from tdsys.web.trends import quality

MOST_TOPICS, MOST_DIFFICULTIES = 40, 12
SCROLLED = Markup('<div class="wide" tabindex="0">{}</div>')
NOTHING = "–"
TENTHS = ("dimension", "which", *(f"{n / 10:.1f}" for n in range(10)))
KINDS = Ratio._fields


def spreads(found: Sequence[Spread]) -> Iterator[str]:
    """The scores of each dimension by tenths, with the policy's limits."""
    for one in found:
        name = one.dimension.replace("_", " ")
        limits = [("rejected below", one.reject_below), ("admitted from", one.admit_from)]
        told = ", ".join(f"{what} {at:g}" for what, at in limits)
        chart = spread(one.all, one.admitted, limits=limits, title=name)
        says = f"By tenths from 0 to 1; pale: all that have a score, filled: admitted; {told}."
        yield picture(f"Scores: {name}", chart, [], says=says)


def tenths(found: Sequence[Spread]) -> list[tuple[str, ...]]:
    """The same numbers as rows."""
    return [
        (one.dimension.replace("_", " "), which, *map(str, counts))
        for one in found
        for which, counts in (("all", one.all), ("admitted", one.admitted))
    ]


def by_day(found: Trend) -> str:
    """The mean scores of each day; nothing before the second."""
    if sum(bool(one.quality) for one in found.points) < 2:  # noqa: PLR2004  # a line
        return ""
    drawn = quality(found)
    return picture(drawn.title, drawn.chart, drawn.names, says="Each day's mean, from 0 to 1.")


def day_row(one: Point) -> tuple[str, ...]:
    """A day's means with how many scores each is of."""
    told = (one.quality.get(d) for d in Dimension)
    return str(one.day), *(NOTHING if t is None else f"{t[1]:.2f} of {t[0]}" for t in told)


def heat(cells: Sequence[Covered]) -> str:
    """The map of topics and difficulties, the topics that lack most first; nothing of none."""
    if not cells:
        return ""
    topics = list(dict.fromkeys(one.topic for one in cells))
    difficulties = sorted({one.difficulty for one in cells}, key=hardness)
    at = {(one.topic, one.difficulty): _square(one) for one in cells}
    names = difficulties[:MOST_DIFFICULTIES]
    rows = [(t, [at.get((t, d)) for d in names]) for t in topics[:MOST_TOPICS]]
    says = f"{len(topics)} topics, {len(difficulties)} difficulties; stronger colour: fuller."
    if len(rows) < len(topics) or len(names) < len(difficulties):
        says += f" Shown are {len(rows)} topics and {len(names)} difficulties; all are below."
    title = f"Admitted examples by topic and difficulty: {says} The numbers are in the table."
    chart = SCROLLED.format(squares(rows, names=names, title=title))
    return picture("Admitted by topic and difficulty", chart, [], says=says)


def _square(one: Covered) -> Square:
    full = min(1.0, one.admitted / one.goal) if one.goal else None
    of = f"{one.admitted} of {one.goal}" if one.goal else f"{one.admitted}"
    return Square(full, of, f"{one.topic}, {one.difficulty}: {of} admitted")


def shares(found: Sequence[MixedPeriod]) -> Iterator[str]:
    """Synthetic, real and imported by the time they came; nothing of none."""
    if found:
        yield _mixed("Mix of what arrived", [(one, one.arrived) for one in found])
        yield _mixed(
            "Mix of what is admitted, by when it arrived", [(one, one.admitted) for one in found]
        )


def _mixed(title: str, held: Sequence[tuple[MixedPeriod, Ratio]]) -> str:
    first, last = held[0][0], held[-1][0]
    known = [(one, ratio) for one, ratio in held if ratio.shares]
    ends = list(starmap(_told, known[:1] + known[1:][-1:])) or ["nothing"]
    says = "; ".join(ends)
    chart = stacked(
        [((one.day - first.day).days // one.days, _told(one, ratio), ratio.shares or ())
         for one, ratio in known],
        slots=(last.day - first.day).days // first.days + 1,
        ends=[str(first.day), str(last.day)],
        title=f"{title}: {says}",
    )  # fmt: skip
    return picture(title, chart, KINDS, says=f"{says}.")


def _told(one: MixedPeriod, ratio: Ratio) -> str:
    """A period in words."""
    shares_ = ratio.shares or ()
    told = ", ".join(f"{kind} {n:.0%}" for kind, n in zip(KINDS, shares_, strict=False))
    when = f"{one.day}" if one.days == 1 else f"{one.days} days from {one.day}"
    return f"{when}: {told} of {sum(ratio):,}"
