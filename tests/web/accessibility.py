"""axe-core in a page: what it finds wrong is a failure that names the rule and the element."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What a theme can change; all the rest is asked in one of them.
OF_COLOURS = ["color-contrast", "link-in-text-block", "target-size"]
RUN = """async (asked) => {
  const found = await axe.run(document, { runOnly: asked, resultTypes: ["violations"] });
  return { passes: found.passes.length, violations: found.violations.map((one) => ({
    id: one.id, help: one.help, nodes: one.nodes.map((n) => `${n.html} ${n.failureSummary}`) })) };
}"""


@cache
def _axe() -> str:
    folder = Path(axe_playwright_python.__file__).parent
    (script,) = folder.rglob("axe.min.js")
    return script.read_text()


def violations(page: Page, rules: list[str] | None = None) -> list[dict[str, Any]]:
    """What axe-core finds in the page as it stands, by these rules or by all."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_axe())
    asked: dict[str, Any] = (
        {"type": "rule", "values": rules} if rules else {"type": "tag", "values": TAGS}
    )
    found = page.evaluate(RUN, asked)
    assert found["passes"] > (0 if rules else 5), "axe looked at nothing"
    wrong: list[dict[str, Any]] = found["violations"]
    return wrong


def assert_accessible(page: Page) -> None:
    """No violation in the light and in the dark theme."""
    for theme in ("light", "dark"):
        # colours that are on their way are nobody's choice
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
        wrong = violations(page, OF_COLOURS if theme == "dark" else None)
        told = "\n".join(
            f"{one['id']}: {one['help']}\n  " + "\n  ".join(one["nodes"]) for one in wrong
        )
        assert not wrong, f"{page.url} in the {theme} theme:\n{told}"
