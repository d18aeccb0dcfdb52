"""What labels say about scores, drawn: as SVG without script or anything from elsewhere.

One rule: nothing that came from outside is drawn; names of scores and numbers are all there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from tdsys.core.calibration import Scale
from tdsys.core.reliability import Bin

BARS = " ▁▂▃▄▅▆▇█"
UNKNOWN = "·"
STYLE = """<style>
.plot { --soft: #667085; --line: #d9dee7; --bar: #3b6fd4; --map: #c2571a;
  font: 11px system-ui, sans-serif }
@media (prefers-color-scheme: dark) { .plot { --soft: #9aa4b5; --line: #333b49;
  --bar: #7ea6f4; --map: #f0a06c } }
.plot text { fill: var(--soft) } .plot .name { font-size: 13px; font-weight: 600 }
.plot .frame { fill: none; stroke: var(--line) }
.plot .ideal { stroke: var(--soft); stroke-dasharray: 3 4 }
.plot .known { stroke: var(--bar); stroke-width: 1.5 } .plot circle { fill: var(--bar) }
.plot .counts { fill: var(--line) }
.plot .map { fill: none; stroke: var(--map); stroke-width: 1.5 }
</style>"""
SIDE = 180
LEFT, TOP = 34, 30
WIDTH, HEIGHT = LEFT + SIDE + 16, TOP + SIDE + 40
SMALLEST, LARGEST = 2.0, 6.0
STEPS = 50
COUNTS_HEIGHT = 36


def bars(bins: Sequence[Bin]) -> str:
    """The share of good ones in each tenth, for a terminal; a dot where there is no label."""
    return "".join(
        UNKNOWN if one.good is None else BARS[round(one.good.value * (len(BARS) - 1))]
        for one in bins
    )


def figure(scales: Sequence[Scale], *, columns: int = 3) -> str:
    """A reliability plot for each score, side by side, as one SVG that stands on its own."""
    cells = [*map(_plot, scales), _legend()]
    rows = -(-len(cells) // columns)
    drawn = "".join(
        f'<g transform="translate({place % columns * WIDTH} {place // columns * HEIGHT})">'
        f"{cell}</g>"
        for place, cell in enumerate(cells)
    )
    wide = min(columns, len(cells)) * WIDTH
    names = ", ".join(scale.name for scale in scales)
    return (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {wide} {rows * HEIGHT}" style="max-width: 100%" '
        f'aria-label="Share of good examples by score: {names}">{STYLE}{drawn}</svg>'
    )


def _plot(scale: Scale) -> str:
    return "".join(
        (
            f'<text class="name" x="{LEFT}" y="18">{_shown(scale.name)}</text>',
            _counts(scale.bins),
            f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}"/>',
            f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>',
            *_ticks(),
            _map(scale),
            *(_point(one, max(b.n for b in scale.bins)) for one in scale.bins if one.n),
        )
    )


def _legend() -> str:
    """What the marks mean."""
    x, rows = LEFT, [TOP + 24 * n + 12 for n in range(4)]
    marks = (
        f'<line class="known" x1="{x + 8}" y1="{rows[0] - 9}" x2="{x + 8}" y2="{rows[0] + 9}"/>',
        f'<circle cx="{x + 8}" cy="{rows[0]}" r="4"/>',
        f'<line class="map" x1="{x}" y1="{rows[1]}" x2="{x + 16}" y2="{rows[1]}"/>',
        f'<line class="ideal" x1="{x}" y1="{rows[2]}" x2="{x + 16}" y2="{rows[2]}"/>',
        f'<rect class="counts" x="{x + 3}" y="{rows[3] - 8}" width="10" height="14"/>',
    )
    words = (
        "share good, 95 % interval",
        "the map from score to share",
        "a score that is the share",
        "how many labels",
    )
    told = (f'<text x="{x + 24}" y="{y + 4}">{w}</text>' for y, w in zip(rows, words, strict=True))
    return "".join((*marks, *told))


def _ticks() -> list[str]:
    across = [
        f'<text x="{_x(v)}" y="{TOP + SIDE + 15}" text-anchor="middle">{v:g}</text>'
        for v in (0, 0.5, 1)
    ]
    up = [
        f'<text x="{LEFT - 6}" y="{_y(v) + 4}" text-anchor="end">{v:g}</text>' for v in (0, 0.5, 1)
    ]
    label = f'<text x="{_x(0.5)}" y="{TOP + SIDE + 30}" text-anchor="middle">score</text>'
    return [*across, *up, label]


def _counts(bins: Sequence[Bin]) -> str:
    """How many labels lie in each tenth, at the foot."""
    most = max(one.n for one in bins) or 1
    drawn = []
    for one in bins:
        high = round(COUNTS_HEIGHT * one.n / most, 1)
        left, width = _x(one.low) + 2, SIDE * (one.high - one.low) - 4
        drawn.append(
            f'<rect class="counts" x="{left:.1f}" y="{_y(0) - high:.1f}" width="{width:.1f}" '
            f'height="{high:.1f}"/>'
        )
    return "".join(drawn)


def _map(scale: Scale) -> str:
    if scale.fitted is None:
        return ""
    read = scale.fitted.map.of
    points = " ".join(f"{_x(n / STEPS)},{_y(read(n / STEPS))}" for n in range(STEPS + 1))
    return f'<polyline class="map" points="{points}"/>'


def _point(one: Bin, most: int) -> str:
    """The share of good ones, as large as the labels are many, with its interval."""
    assert one.good is not None  # noqa: S101  # there are labels
    assert one.score is not None  # noqa: S101
    x = _x(one.score)
    radius = SMALLEST + (LARGEST - SMALLEST) * (one.n / most) ** 0.5
    return (
        f'<line class="known" x1="{x}" y1="{_y(one.good.low)}" x2="{x}" y2="{_y(one.good.high)}"/>'
        f'<circle cx="{x}" cy="{_y(one.good.value)}" r="{radius:.1f}"/>'
    )


def _x(value: float) -> float:
    return round(LEFT + SIDE * value, 1)


def _y(value: float) -> float:
    return round(TOP + SIDE * (1 - value), 1)


def _shown(name: str) -> str:
    return name.replace("_", " ")
