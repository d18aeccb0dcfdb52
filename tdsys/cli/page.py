"""A report as one HTML file: no script, nothing from elsewhere, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import click
from markupsafe import Markup

from tdsys.cli.printing import note, write_text
from tdsys.core.printable import printable

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1c2330; --soft: #667085; --line: #d9dee7;
  --bar: #3b6fd4; --paper: #fff; --k1: #25794b; --k2: #8f5a00; --k3: #b3362f }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e9ef; --soft: #9aa4b5; --line: #333b49;
  --bar: #7ea6f4; --paper: #14181f; --k1: #5fc48c; --k2: #e0a545; --k3: #f08a80 }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font-size: 1.1rem; margin: 2rem 0 0 }}
table {{ border-collapse: collapse; margin: .5rem 0 1.5rem; width: 100% }}
th, td {{ text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line) }}
th {{ color: var(--soft); font-weight: 500; vertical-align: bottom }}
p {{ color: var(--soft) }}
.wide {{ overflow-x: auto }}
svg {{ width: 100%; max-width: 46rem; height: auto; display: block }}
svg .bar {{ fill: var(--bar) }} svg .grid {{ stroke: var(--line) }}
svg .label {{ font: 12px system-ui, sans-serif; fill: var(--soft) }}
svg .limit {{ stroke: var(--soft); stroke-dasharray: 4 3; stroke-width: 2 }}
svg .line {{ fill: none; stroke-width: 2 }} svg .end {{ fill: var(--paper); stroke-width: 2 }}
svg .pale {{ fill-opacity: .3 }} svg .cell {{ fill: var(--bar); stroke: var(--line) }}
svg .count {{ font: 12px system-ui, sans-serif; fill: var(--ink) }}
svg.map {{ width: auto; max-width: none }}
.k0 {{ color: var(--bar) }} .k1 {{ color: var(--k1) }} .k2 {{ color: var(--k2) }}
.k3 {{ color: var(--k3) }} .l0 {{ stroke: var(--bar) }} .l1 {{ stroke: var(--k1) }}
.l2 {{ stroke: var(--k2) }} .l3 {{ stroke: var(--k3) }} .f0 {{ fill: var(--bar) }}
.f1 {{ fill: var(--k1) }} .f2 {{ fill: var(--k2) }}
</style></head><body><main>
<h1>{title}</h1>
"""
TAIL = "</main></body></html>\n"
HTML = "--html"
to_page = click.option(
    HTML, "path", type=click.Path(path_type=Path), help="Write a page to look at."
)


def page(title: str, lead: Iterable[str], tables: Iterable[str]) -> str:
    """The whole file: a title, sentences, and what `table` made."""
    sentences = "".join(f"<p>{_shown(one)}</p>\n" for one in lead)
    return HEAD.format(title=_shown(title)) + sentences + "".join(tables) + TAIL


def write_page(path: Path, text: str) -> None:
    """Write a page and say so."""
    write_text(path, text, option=HTML)
    note(f"wrote {path}")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table under its caption that scrolls by itself where the screen is narrow; none of none."""
    body = "".join(
        "<tr>" + "".join(f"<td>{_shown(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    if not body:
        return ""
    head = "".join(f'<th scope="col">{_shown(one)}</th>' for one in titles)
    above = f"<h2>{_shown(caption)}</h2>\n" if caption else ""
    whole = f"<table><thead><tr>{head}</tr></thead>\n{body}</table>"
    return f'{above}<div class="wide" tabindex="0">{whole}</div>\n'


def picture(title: str, chart: Markup, names: Sequence[str], *, says: str = "") -> str:
    """A chart that was drawn elsewhere, with its title, the names of its lines and a sentence."""
    legend = " ".join(f'<span class="k{i}">— {_shown(n)}</span>' for i, n in enumerate(names))
    beneath = "".join(f"<p>{one}</p>\n" for one in (legend, _shown(says)) if one)
    return f"<h2>{_shown(title)}</h2>\n{chart}\n{beneath}"


def _shown(text: str) -> str:
    return escape(printable(text))
