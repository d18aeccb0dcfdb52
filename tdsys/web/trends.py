"""Trends as pictures, for the page and for the file that a command writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from tdsys.core.rubric import Dimension
from tdsys.core.trends import Shift
from tdsys.stages.overview import AGES, Age
from tdsys.stages.trending import Point, Trend
from tdsys.web.charts import Line, columns, lines


class Picture(NamedTuple):
    """A chart, what it shows, and the names of its lines in the order of their colours."""

    title: str
    chart: Markup
    names: list[str]


def pictures(trend: Trend) -> list[Picture]:
    """What there is to look at: age, quality, balance and mix; nothing without two days."""
    found = [Picture("Age of what is admitted", _ages(trend.ages), [])]
    if len(trend.points) > 1:
        found += [quality(trend), _spread(trend)]
    return found


def sentence(one: Shift) -> str:
    """A change in words."""
    how = "fell" if one.by < 0 else "rose"
    return (
        f"{one.dimension.replace('_', ' ')} {how} on {one.day:%Y-%m-%d}: mean {one.before:.2f} "
        f"before, {one.after:.2f} since, over {one.n} scores"
    )


def _ages(ages: list[Age]) -> Markup:
    admitted = next((one for one in ages if one.state == "admitted"), None)
    within = [*admitted.within, admitted.n] if admitted else [0] * (len(AGES) + 1)
    between = [f"{low + 1} to {high} days" for low, high in pairwise(AGES)]
    names = ["today", *between, f"over {AGES[-1]} days"]
    counts = [n - before for n, before in zip(within, [0, *within], strict=False)]
    return columns(list(zip(names, counts, strict=True)), title="Admitted examples by age")


def quality(trend: Trend) -> Picture:
    """The mean score of each day in each dimension, with where it changed."""
    drawn = [_line(d.replace("_", " "), trend.points, _mean_of(d)) for d in Dimension]
    at = _places(trend.points)
    marks = [(at(one.day), sentence(one)) for one in trend.shifts]
    return _picture("Mean score of each day", trend, drawn, marks)


def _mean_of(dimension: str) -> Callable[[Point], float | None]:
    return lambda one: one.quality[dimension][1] if dimension in one.quality else None


def _spread(trend: Trend) -> Picture:
    drawn = [
        _line("balance of the cells", trend.points, lambda p: p.balance),
        _line("synthetic share", trend.points, lambda p: p.synthetic),
    ]
    return _picture("Balance and mix of what is admitted", trend, drawn, [])


def _picture(
    title: str, trend: Trend, drawn: list[Line], marks: list[tuple[float, str]]
) -> Picture:
    ends = [f"{trend.points[i].day:%Y-%m-%d}" for i in (0, -1)]
    chart = lines(drawn, ends=ends, title=f"{title}: {trend.domain}", marks=marks)
    return Picture(title, chart, [one.label for one in drawn])


def _line(name: str, points: list[Point], value: Callable[[Point], float | None]) -> Line:
    at = _places(points)
    return Line(name, [(at(one.day), value(one)) for one in points])


def _places(points: list[Point]) -> Callable[[date], float]:
    """Where a day lies between the first and the last."""
    first, span = points[0].day, (points[-1].day - points[0].day).days or 1
    return lambda day: (day - first).days / span
