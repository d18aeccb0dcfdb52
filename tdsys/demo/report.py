"""The demo's result for people: funnel, catches, heat maps, scores, times."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tdsys.core.lifecycle import State
from tdsys.core.printable import printable
from tdsys.demo.result import DomainResult, Heat, Result
from tdsys.reference import HARD_FAULTS

DIFFICULTIES = ("easy", "medium", "hard")
SHADES = ("grey30", "dark_green", "green4", "green3", "spring_green2")
BAR = 30


def show(console: Console, result: Result, heat: Iterable[Heat], *, folder: str) -> None:
    """Print the whole result."""
    for title, shown in (
        ("What came in and what became of it", _funnel(result)),
        (f"Faults the generator was told to make: {_share(result)}", _faults(result)),
        ("Admitted examples, topic by difficulty", Columns([_heat(one) for one in heat])),
        (f"Score on the test split, {printable(_origin(result))}", _scores(result)),
    ):
        console.print(Text(f"\n{title}", style="bold"))
        console.print(shown)
    console.print(_times(result))
    console.print(_shown(f"programs, datasets and result.json are in {folder}"))


def picture(console: Console) -> str:
    """Everything printed on a recording console as SVG, without rich's fonts from the network."""
    svg = console.export_svg(title="make demo")
    return re.sub(r"@font-face\s*{[^}]*}", "", svg)


def _shown(text: str, style: str = "") -> Text:
    """Text that may come from a generator, a file or a model: never markup, never obeyed."""
    return Text(printable(text), style)


def _table(*titles: str) -> Table:
    columns = (Column(header=_shown(title)) for title in titles)
    return Table(*columns, box=SIMPLE_HEAD)


def _funnel(result: Result) -> Table:
    total = result.captured + result.imported
    table = _table("", "examples", "")
    for name, count in (
        ("captured", result.captured),
        ("imported", result.imported),
        ("admitted", result.admitted),
        ("rejected", result.rejected),
        ("in review (for a person)", result.in_review),
        ("parked", result.parked),
    ):
        table.add_row(name, str(count), Text("█" * round(BAR * count / max(total, 1)), "cyan"))
    if result.reasons:
        table.add_row(Text("why not admitted:", "dim"))
    for reason, count in result.reasons.items():
        table.add_row(
            _shown(f"  {reason}", "dim"),
            Text(str(count), "dim"),
            Text("▒" * max(1, round(BAR * count / max(total, 1))), "dim"),
        )
    return table


def _faults(result: Result) -> Table:
    table = _table("injected fault", "injected", "not admitted")
    for kind, numbers in result.faults.items():
        injected, caught = numbers["injected"], numbers["caught"]
        colour = "green" if caught == injected else "yellow"
        name = kind if kind in HARD_FAULTS else f"{kind} (soft)"
        table.add_row(_shown(name), str(injected), Text(str(caught), colour))
    return table


def _share(result: Result) -> str:
    hard = _percent(result.faults_caught, result.faults_injected)
    soft = _percent(result.soft_faults_caught, result.soft_faults_injected)
    return (
        f"not admitted are {hard} of the hard, {soft} of the soft\n"
        f"clean examples rejected: {result.clean_rejected} of {result.clean} "
        f"({_percent(result.clean_rejected, result.clean)}); "
        f"sent to a person: {result.clean_in_review}"
    )


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _heat(one: Heat) -> Table:
    table = _table(one.domain, *DIFFICULTIES)
    counts = {(c.topic, c.difficulty): c.n for c in one.cells if c.state == State.ADMITTED}
    most = max(counts.values(), default=1)
    for topic in sorted({topic for topic, _ in counts}):
        table.add_row(
            _shown(topic), *(_shaded(counts.get((topic, d), 0), most) for d in DIFFICULTIES)
        )
    return table


def _shaded(count: int, most: int) -> Text:
    shade = SHADES[min(len(SHADES) - 1, count * (len(SHADES) - 1) // max(most, 1))]
    return Text(f"{count:>5} ", style=f"bold white on {shade}")


def _origin(result: Result) -> str:
    """Who made the numbers; the word SIMULATED wherever the offline model played a part."""
    program, judge = (role in result.simulated_roles for role in ("program", "judge"))
    if program and judge:
        return "SIMULATED by the offline model"
    if program:
        return f"SIMULATED: the program runs on the offline model, {result.judge} judges"
    if judge:
        return f"SIMULATED in part: the program runs on {result.model}, the offline model judges"
    return f"measured on {result.model}"


def _scores(result: Result) -> Table:
    table = _table("domain", "test", "before", "after", "95 %", "gain", "95 %", "active")
    table.pad_edge = False
    for one in result.domains:
        table.add_row(*_score(one))
    return table


def _score(one: DomainResult) -> tuple[str | Text, ...]:
    if one.before is None or one.after is None:
        return _shown(one.name), str(one.test), "", "", "", "", "", _shown(one.why, "yellow")
    return (
        _shown(one.name),
        str(one.test),
        f"{one.before:.2f}",
        Text(f"{one.after:.2f}", "bold green"),
        f"{one.ci_low:.2f}..{one.ci_high:.2f}",
        f"{one.after - one.before:+.2f}",
        f"{one.gain_low:.2f}..{one.gain_high:.2f}",
        Text("yes") if one.active else Text("no", "yellow"),
    )


def _times(result: Result) -> Text:
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.stages.items())
    return Text(f"{result.seconds:.1f} s in all: {parts}")
