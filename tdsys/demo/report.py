"""The demo's result for people: funnel, catches, heat maps, scores, times."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tdsys.core.lifecycle import State
from tdsys.demo.result import DomainResult, Heat, Result

DIFFICULTIES = ("easy", "medium", "hard")
SHADES = ("grey30", "dark_green", "green4", "green3", "spring_green2")
BAR = 30


def show(console: Console, result: Result, heat: Iterable[Heat], *, folder: str) -> None:
    """Print the whole result."""
    console.print()
    console.print(_funnel(result))
    console.print(_faults(result))
    for one in heat:
        console.print(_heat(one))
    console.print(_scores(result))
    console.print(_times(result))
    console.print(Text(f"programs, datasets and result.json are in {folder}"))


def _funnel(result: Result) -> Table:
    total = result.captured + result.imported
    table = Table(
        "",
        "examples",
        "",
        title="What came in and what became of it",
        title_justify="left",
        title_style="bold",
    )
    for name, count in (
        ("captured", result.captured),
        ("imported", result.imported),
        ("admitted", result.admitted),
        ("rejected", result.rejected),
        ("in review (for a person)", result.in_review),
        ("parked", result.parked),
    ):
        table.add_row(name, str(count), Text("█" * round(BAR * count / max(total, 1)), "cyan"))
    for reason, count in result.reasons.items():
        table.add_row(
            Text(f"  {reason}", "dim"),
            Text(str(count), "dim"),
            Text("▒" * max(1, round(BAR * count / max(total, 1))), "dim"),
        )
    return table


def _faults(result: Result) -> Table:
    table = Table(
        "injected fault",
        "injected",
        "not admitted",
        title=f"Faults the generator was told to make: {_share(result)}",
        title_justify="left",
        title_style="bold",
    )
    for kind, numbers in result.faults.items():
        missed = numbers["injected"] - numbers["caught"]
        table.add_row(
            kind,
            str(numbers["injected"]),
            Text(str(numbers["caught"]), "green" if not missed else "yellow"),
        )
    table.caption = (
        f"clean examples rejected: {result.clean_rejected} of {result.clean} "
        f"({_percent(result.clean_rejected, result.clean)}); "
        f"sent to a person: {result.clean_in_review}"
    )
    return table


def _share(result: Result) -> str:
    hard = _percent(result.faults_caught, result.faults_injected)
    soft = _percent(result.soft_faults_caught, result.soft_faults_injected)
    return f"{hard} of the hard and {soft} of the soft ones were not admitted"


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _heat(one: Heat) -> Table:
    table = Table(
        "topic",
        *DIFFICULTIES,
        title=f"Admitted in {one.domain}, topic by difficulty",
        title_justify="left",
        title_style="bold",
    )
    counts = {(c.topic, c.difficulty): c.n for c in one.cells if c.state == State.ADMITTED}
    most = max(counts.values(), default=1)
    for topic in sorted({topic for topic, _ in counts}):
        table.add_row(topic, *(_shaded(counts.get((topic, d), 0), most) for d in DIFFICULTIES))
    return table


def _shaded(count: int, most: int) -> Text:
    shade = SHADES[min(len(SHADES) - 1, count * (len(SHADES) - 1) // max(most, 1))]
    return Text(f"{count:>5} ", style=f"bold white on {shade}")


def _scores(result: Result) -> Panel:
    table = Table(
        "domain", "train/val/test", "before", "after", "95 % interval", "gain", "program", box=None
    )
    for one in result.domains:
        table.add_row(*_score(one))
    word = "SIMULATED by the offline model" if result.simulated else f"measured on {result.model}"
    return Panel(table, title=f"Score on the test split, {word}", title_align="left")


def _score(one: DomainResult) -> tuple[str | Text, ...]:
    sizes = f"{one.train}/{one.val}/{one.test}"
    if one.before is None or one.after is None:
        return one.name, sizes, "", "", "", "", Text(one.why, "yellow")
    return (
        one.name,
        sizes,
        f"{one.before:.3f}",
        Text(f"{one.after:.3f}", "bold green"),
        f"{one.ci_low:.3f} to {one.ci_high:.3f}",
        f"{one.after - one.before:+.3f} ({one.gain_low:+.3f} to {one.gain_high:+.3f})",
        "active" if one.active else Text("not better, not activated", "yellow"),
    )


def _times(result: Result) -> Text:
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.stages.items())
    return Text(f"{result.seconds:.1f} s in all: {parts}")
