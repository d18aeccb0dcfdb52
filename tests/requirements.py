"""The table of docs/requirements.md: which tests show which criterion.

`python -m tests.requirements` rewrites it.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "requirements.md"
ROW = re.compile(r"^\| (\d+\.\d+) \| (.*?) \| .* \|$")
NOT_BUILT = "not shown by a test yet"


def shown() -> dict[str, list[str]]:
    """Criterion number -> the tests that carry its marker, as `file::test`."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for number in _criteria(node):
                    found[number].append(f"{path.relative_to(ROOT / 'tests')}::{node.name}")
    return found


def rendered(text: str) -> str:
    """The document with its last column filled from the tests."""
    tests = shown()
    lines = []
    for line in text.splitlines():
        if row := ROW.match(line):
            number, criterion = row.groups()
            cell = "<br>".join(f"`{name}`" for name in tests.get(number, [])) or NOT_BUILT
            line = f"| {number} | {criterion} | {cell} |"  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines) + "\n"


def numbers(text: str) -> list[str]:
    """The criteria the document lists, in order."""
    return [row.group(1) for line in text.splitlines() if (row := ROW.match(line))]


def _criteria(node: ast.FunctionDef) -> list[str]:
    return [
        str(mark.args[0].value)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call)
        and ast.unparse(mark.func) == "pytest.mark.criterion"
        and isinstance(mark.args[0], ast.Constant)
    ]


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(DOCUMENT.read_text()))
