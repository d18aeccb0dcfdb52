"""The house rules that a machine can check: layers, types, lint, sizes, names, secrets."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.application.use_cases import lint_imports
from importlinter.configuration import configure

ROOT = Path(__file__).parents[2]
CODE = [*sorted((ROOT / "tdsys").rglob("*.py")), ROOT / "beat_schedule.py"]
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
MEDIAN_FUNCTION = 8
MOCKS_PER_100_TESTS = 5
BANNED = re.compile(r"(util|utils|helpers?|common|base|manager|service|handler)s?$")


def command(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def functions() -> Iterator[tuple[str, int]]:
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", _length(node)


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_the_layers_hold() -> None:
    configure()
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None)


def test_ruff_has_nothing_to_say() -> None:
    command("ruff", "check", "--no-cache", ".")


def test_ruff_would_format_nothing_differently() -> None:
    command("ruff", "format", "--no-cache", "--check", ".")


def test_mypy_strict_has_nothing_to_say() -> None:
    command("mypy", "--cache-dir=/dev/null")


def test_files_are_short() -> None:
    long = {p.name: n for p in CODE if (n := len(p.read_text().splitlines())) > LONGEST_FILE}
    assert not long


def test_functions_are_short() -> None:
    lengths = dict(functions())
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION}
    assert statistics.median(lengths.values()) <= MEDIAN_FUNCTION


def test_no_module_or_class_has_a_name_that_says_nothing() -> None:
    modules = [p.stem for p in CODE]
    classes = [
        node.name.lower()
        for p in CODE
        for node in ast.walk(ast.parse(p.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert not [name for name in modules + classes if BANNED.search(name)]


def test_our_own_code_is_not_mocked() -> None:
    text = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py") if p != Path(__file__))
    mocks = len(re.findall(r"\b(MagicMock|Mock\(|patch\(|monkeypatch\.setattr|mocker\.)", text))
    tests = len(re.findall(r"^\s*def test_", text, re.MULTILINE))
    assert mocks * 100 <= MOCKS_PER_100_TESTS * tests


@pytest.mark.parametrize(
    "word", ["eval(", "exec(", "pickle", "sympify", "parse_expr", "yaml.load("]
)
def test_nothing_evaluates_or_unpickles(word: str) -> None:
    called = re.compile(rf"(?<![\w.\"'`]){re.escape(word)}")
    named = [p for p in CODE if called.search(p.read_text())]
    held = [p.name for p in named if called.search(_without_text(p.read_text()))]
    assert not held


def _without_text(source: str) -> str:
    """The source without docstrings and comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.unparse(tree)


def test_the_lock_has_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    names = re.findall(r"^[\w.\[\]-]+==", lock, re.MULTILINE)
    assert len(names) > 100
    assert lock.count("--hash=sha256:") >= len(names)


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    telling = re.compile(r"/(?:work|farm|home/\w+)/\w|files\.pythonhosted|pypi\.org")
    held = [
        name
        for name in listed
        if name
        and name != "tests/unit/test_house.py"
        and (ROOT / name).is_file()
        and (ROOT / name).suffix not in {".jsonl", ".svg"}
        and telling.search((ROOT / name).read_text(errors="replace"))
    ]
    assert not held
