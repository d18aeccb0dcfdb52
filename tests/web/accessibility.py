"""axe-core in a page: what it finds wrong is a failure that names the rule and the element."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (tags) => {
  const found = await axe.run(document, { runOnly: tags, resultTypes: ["violations"] });
  return { passes: found.passes.length, violations: found.violations.map((one) => ({
    id: one.id, help: one.help, nodes: one.nodes.map((n) => `${n.html} ${n.failureSummary}`) })) };
}"""


# A page that follows something loads itself again every other second, and axe may take longer.
STAY = "() => { for (let one = setInterval(() => {}, 1e9); one > 0; one--) clearInterval(one); }"


@cache
def _axe() -> str:
    folder = Path(axe_playwright_python.__file__).parent
    (script,) = folder.rglob("axe.min.js")
    return script.read_text()


def violations(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds in the page as it stands."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_axe())
    found = page.evaluate(RUN, TAGS)
    assert found["passes"] > 5, "axe looked at nothing"
    wrong: list[dict[str, Any]] = found["violations"]
    return wrong


def assert_accessible(page: Page) -> None:
    """No violation in the light and in the dark theme."""
    page.evaluate(STAY)
    for theme in ("light", "dark"):
        # colours that are on their way are nobody's choice
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
        wrong = violations(page)
        told = "\n".join(
            f"{one['id']}: {one['help']}\n  " + "\n  ".join(one["nodes"]) for one in wrong
        )
        assert not wrong, f"{page.url} in the {theme} theme:\n{told}"
