"""Charts as inline SVG: drawn by attributes only, because the pages allow no inline style.

Every chart says its numbers in words too, and the pages have the same numbers in a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from tdsys.core.printable import printable

WIDE, HIGH = 640, 160
PAD = 22


class Dot(NamedTuple):
    """A point of a chart between 0 and 1, and what it is."""

    x: float
    y: float
    kind: str
    says: str


class Reach(NamedTuple):
    """A value with the interval it lies in, all between 0 and 1."""

    label: str
    low: float
    value: float
    high: float


class Square(NamedTuple):
    """A square of a map: how full it is, 0 to 1 (None: nothing it could be full of), and words."""

    full: float | None
    label: str
    says: str


def columns(values: Sequence[tuple[str, int]], *, title: str) -> Markup:
    """Counts side by side; the first and the last are labelled."""
    most = max((n for _, n in values), default=0)
    step = WIDE / max(1, len(values))
    bars = [
        _bar(i * step + 1, step - 2, n / (most or 1), f"{label}: {n:,}", "bar")
        for i, (label, n) in enumerate(values)
    ]
    ends = [values[0][0], values[-1][0]] if values else []
    words = f"{title}: at most {most:,}, {sum(n for _, n in values):,} in all"
    return _drawn(words, [*bars, *_ends(ends)])


def spread(
    all_: Sequence[int], admitted: Sequence[int], *, limits: Sequence[tuple[str, float]], title: str
) -> Markup:
    """Scores by tenths, the admitted among them filled, with the limits a policy draws."""
    most = max(all_, default=0) or 1
    step = WIDE / max(1, len(all_))
    drawn: list[Markup] = []
    for i, (n, held) in enumerate(zip(all_, admitted, strict=True)):
        says = f"{i / 10:.1f} to {(i + 1) / 10:.1f}: {n:,}, admitted {held:,}"
        drawn += [
            _bar(i * step + 2, step - 4, n / most, says, "bar pale"),
            _bar(i * step + 2, step - 4, held / most, says, "bar"),
        ]
    drawn += [_upright(at * WIDE, f"{name} {at:g}") for name, at in limits]
    told = ", ".join(f"{n:,}" for n in all_)
    return _drawn(f"{title}, by tenths from 0 to 1: {told}", [*drawn, *_ends(["0", "1"])])


def dots(points: Sequence[Dot], *, title: str, best: Sequence[tuple[float, float]] = ()) -> Markup:
    """Points between 0 and 1 both ways, with lines at the quarters, and the `best` so far."""
    inner = HIGH - PAD
    lines = [
        Markup('<line class="grid" x1="0" x2="{0}" y1="{1:.1f}" y2="{1:.1f}"/>').format(
            WIDE, inner * quarter / 4
        )
        for quarter in range(1, 4)
    ]
    drawn = [
        Markup(
            '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}</title></circle>'
        ).format(one.kind, *_placed(one.x, one.y), _text(one.says))
        for one in points
    ]
    if best:
        corners = [_placed(x, y) for x, y in best]
        path = "".join(f"H{x:.1f}V{y:.1f}" for x, y in corners[1:])
        start = "M{:.1f} {:.1f}".format(*corners[0])
        drawn.insert(0, Markup('<path class="best" d="{}"/>').format(f"{start}{path}H{WIDE - 8}"))
    return _drawn(title, [*lines, *drawn])


def _placed(x: float, y: float) -> tuple[float, float]:
    inner = HIGH - PAD
    return 8 + x * (WIDE - 16), inner - y * (inner - 10)


def reaches(values: Sequence[Reach], *, title: str) -> Markup:
    """Values with their intervals on one line from 0 to 1."""
    row = 44
    drawn: list[Markup] = []
    for i, one in enumerate(values):
        y = i * row + 26
        says = f"{one.label}: {one.value:.3f}, between {one.low:.3f} and {one.high:.3f}"
        drawn.append(
            Markup(
                '<text class="label" x="0" y="{}">{}</text>'
                '<line class="reach" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>'
                '<circle class="dot" cx="{:.1f}" cy="{}" r="6"><title>{}</title></circle>'
            ).format(
                y - 12,
                _text(says),
                6 + one.low * (WIDE - 12),
                6 + one.high * (WIDE - 12),
                y,
                y,
                6 + one.value * (WIDE - 12),
                y,
                _text(says),
            )
        )
    return _drawn(title, drawn, high=row * len(values) + 4)


def trend(values: Sequence[Reach], *, title: str) -> Markup:
    """Values with their intervals from 0 to 1, one after the other, joined by a line."""
    inner, step = HIGH - PAD, WIDE / max(1, len(values))
    at = [(step * (i + 0.5), inner - one.value * (inner - 10)) for i, one in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    drawn = [Markup('<polyline class="trend" points="{}"/>').format(line)]
    drawn += [
        Markup(
            '<line class="reach" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>'
            '<circle class="dot" cx="{0:.1f}" cy="{3:.1f}" r="5"><title>{4}</title></circle>'
        ).format(
            x,
            inner - one.low * (inner - 10),
            inner - one.high * (inner - 10),
            y,
            _text(f"{one.label}: {one.value:.3f}, between {one.low:.3f} and {one.high:.3f}"),
        )
        for one, (x, y) in zip(values, at, strict=True)
    ]
    ends = [values[0].label, values[-1].label] if values else []
    return _drawn(title, [*drawn, *_ends(ends)])


class Line(NamedTuple):
    """A value over time: points between 0 and 1 both ways, None where nothing is known."""

    label: str
    points: Sequence[tuple[float, float | None]]


def lines(
    values: Sequence[Line],
    *,
    ends: Sequence[str],
    title: str,
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Values over time from 0 to 1, each by its name at its end; `marks` are upright lines."""
    inner = HIGH - PAD
    grid = [
        Markup('<line class="grid" x1="0" x2="{0}" y1="{1:.1f}" y2="{1:.1f}"/>').format(
            WIDE, inner * quarter / 4
        )
        for quarter in range(1, 4)
    ]
    drawn = [part for i, one in enumerate(values) for part in _line(one, i)]
    upright = [_upright(at * WIDE, says) for at, says in marks]
    return _drawn(title, [*grid, *upright, *drawn, *_ends(ends)])


def _line(one: Line, number: int) -> Iterator[Markup]:
    """A line from each day that is known to the next, with a dot at its end."""
    inner = HIGH - PAD
    known = [(6 + x * (WIDE - 12), inner - y * (inner - 8), y) for x, y in one.points
             if y is not None]  # fmt: skip
    yield Markup('<polyline class="line l{}" points="{}"><title>{}</title></polyline>').format(
        number, " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in known), _text(one.label)
    )
    for x, y, value in known[-1:]:
        yield Markup(
            '<circle class="end l{}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>'
        ).format(number, x, y, _text(f"{one.label}: {value:.2f}"))


def stacked(
    values: Sequence[tuple[float, str, Sequence[float]]],
    *,
    slots: int,
    ends: Sequence[str],
    title: str,
) -> Markup:
    """Shares on top of each other, each column at its place among the `slots`, with its words."""
    step, inner = WIDE / max(1, slots), HIGH - PAD
    drawn: list[Markup] = []
    for place, says, shares in values:
        below = 0.0
        for number, one in enumerate(shares):
            below += one
            drawn.append(
                Markup(
                    '<rect class="part f{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                    "<title>{}</title></rect>"
                ).format(
                    number,
                    place * step + 1,
                    inner * (1 - below),
                    max(1, step - 2),
                    inner * one,
                    _text(says),
                )
            )
    return _drawn(title, [*drawn, *_ends(ends)])


ROW, NAMES, LEAST_STEP, LONGEST = 30, 190, 90, 26


def squares(
    rows: Sequence[tuple[str, Sequence[Square | None]]], *, names: Sequence[str], title: str
) -> Markup:
    """A map of rows and columns: a stronger colour is a fuller square."""
    step = max(LEAST_STEP, (WIDE - NAMES) / max(1, len(names)))
    wide, high = round(NAMES + step * len(names)), ROW * (len(rows) + 1)
    drawn = [_written(NAMES + step * (i + 0.5), 18, n, "middle") for i, n in enumerate(names)]
    for number, (name, cells) in enumerate(rows, 1):
        drawn.append(_written(0, number * ROW + 19, name, "start"))
        drawn += [
            _square(NAMES + step * i, number * ROW, step - 2, cell)
            for i, cell in enumerate(cells)
            if cell is not None
        ]
    return Markup(
        '<svg class="chart map" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" '
        'aria-label="{2}">{3}</svg>'
    ).format(wide, high, _text(title), Markup("").join(drawn))


def _square(x: float, y: float, width: float, one: Square) -> Markup:
    return Markup(
        '<g><title>{}</title><rect class="cell" x="{:.1f}" y="{}" width="{:.1f}" height="{}" '
        'fill-opacity="{:.2f}"/><text class="count" x="{:.1f}" y="{}" text-anchor="middle">{}'
        "</text></g>"
    ).format(_text(one.says), x, y, width, ROW - 2, 0.4 * (one.full or 0), x + width / 2, y + 19,
             _text(one.label))  # fmt: skip


def _written(x: float, y: int, name: str, anchor: str) -> Markup:
    """A name, cut where it would run into others; all of it is in its title."""
    short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    return Markup(
        '<text class="label" x="{:.1f}" y="{}" text-anchor="{}">{}<title>{}</title></text>'
    ).format(x, y, anchor, _text(short), _text(name))


def share(n: int, most: int, *, says: str) -> Markup:
    """One bar that lies: how much of the most it is."""
    width = 100 * n / most if most else 0
    return Markup(
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        'aria-label="{}"><rect class="bar pale" width="100" height="8"/>'
        '<rect class="bar" width="{:.2f}" height="8"/></svg>'
    ).format(_text(says), width)


def _drawn(words: str, parts: Sequence[Markup], *, high: int = HIGH) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDE, high, _text(words), Markup("").join(parts))


def _bar(x: float, width: float, share_: float, says: str, kind: str) -> Markup:
    high = share_ * (HIGH - PAD)
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
        "<title>{}</title></rect>"
    ).format(kind, x, HIGH - PAD - high, max(1, width), high, _text(says))


def _upright(x: float, says: str) -> Markup:
    return Markup(
        '<line class="limit" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"><title>{2}</title></line>'
    ).format(x, HIGH - PAD, _text(says))


def _ends(labels: Sequence[str]) -> Iterator[Markup]:
    for label, x, anchor in zip(labels, (0, WIDE), ("start", "end"), strict=False):
        yield Markup('<text class="label" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            x, HIGH - 5, anchor, _text(label)
        )


def _text(text: str) -> Markup:
    return escape(printable(text))
