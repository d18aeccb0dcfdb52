"""What the README and docs list is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tdsys import errors
from tdsys.cli import cli
from tdsys.core import canaries, panel, rubric
from tdsys.core.lifecycle import State
from tdsys.core.policy import Policy
from tdsys.core.sections import Activation, AlertRules, Cells, Judges, Lifecycle, Member, Trigger
from tdsys.parsing.policyfile import policy_from
from tdsys.settings import Settings
from tdsys.stages import judging, scoring
from tdsys.wire import Queue, Task
from tests import requirements

README_PATH = Path(__file__).parents[2] / "README.md"
README = README_PATH.read_text()
# Words after `tdsys` up to an option, a name in capitals or the end of the code.
NAMED = re.compile(r"`tdsys((?: [a-z][a-z-]*)+)")


def rows(section: str) -> list[str]:
    """The code words in the first column of the section's table."""
    body = re.split(r"^## ", README, flags=re.MULTILINE)
    (found,) = [part for part in body if part.startswith(section)]
    return re.findall(r"^\| `([^`]+)`", found, re.MULTILINE)


def test_every_setting_is_listed_and_exists() -> None:
    fields = {f"TDSYS_{name.upper()}" for name in Settings.model_fields}
    stack = {"TDSYS_POSTGRES_PORT", "TDSYS_VALKEY_PORT", "TDSYS_FLOWER_PORT"}
    client = {"TDSYS_SPOOL_DIR"}
    assert set(rows("Settings")) == fields | stack | client


def test_every_policy_field_is_listed_and_exists() -> None:
    assert set(rows("Policy")) == set(Policy.model_fields)
    assert all(f"| {field.description} |" in README for field in Policy.model_fields.values())


def test_every_task_is_listed_and_exists() -> None:
    assert set(rows("Tasks")) == {t.value for t in Task}
    assert all(f"`{q.value}`" in README for q in Queue)


def test_every_error_is_listed_and_exists() -> None:
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.TdsysError)
    }
    assert set(rows("Errors")) == kinds


def commands(group: click.Group, prefix: str = "tdsys") -> set[str]:
    found: set[str] = set()
    context = click.Context(group)
    for name in group.list_commands(context):
        command, path = group.get_command(context, name), f"{prefix} {name}"
        found |= commands(command, path) if isinstance(command, click.Group) else {path}
    return found


def test_every_command_is_listed_and_exists() -> None:
    assert set(rows("Commands")) == commands(cli)


def test_every_command_that_a_text_of_ours_names_exists() -> None:
    """In remedies above all: whoever reads one types it."""
    known = commands(cli)
    groups = {path.rsplit(" ", 1)[0] for path in known}
    texts = [path.read_text() for path in (README_PATH.parent / "tdsys").rglob("*.py")]
    texts += [path.read_text() for path in (README_PATH.parent / "docs").glob("*.md")]
    named = {f"tdsys{found}" for text in texts for found in NAMED.findall(text)}
    assert len(named) > len(known) // 2
    leaves = tuple(f"{path} " for path in known)
    unknown = {one for one in named - groups if not f"{one} ".startswith(leaves)}
    assert not unknown


def test_every_state_is_in_the_glossary() -> None:
    glossary = README.split("## Glossary")[1].split("\n## ")[0]
    assert all(state.value in glossary for state in State)


def test_the_requirements_document_is_up_to_date() -> None:
    text = requirements.DOCUMENT.read_text()
    assert requirements.rendered(text) == text, "run: python -m tests.requirements"
    assert len(requirements.numbers(text)) == 50


def test_every_marker_names_a_criterion() -> None:
    assert set(requirements.shown()) <= set(requirements.numbers(requirements.DOCUMENT.read_text()))


def test_every_criterion_is_shown_by_a_whole_system_of_processes() -> None:
    whole = ("e2e/", "faults/", "web/")
    shown = {number for number, tests in requirements.shown().items()
             if any(name.startswith(whole) for name in tests)}  # fmt: skip
    assert shown == set(requirements.numbers(requirements.DOCUMENT.read_text()))


POLICY_GUIDE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", POLICY_GUIDE, re.DOTALL)


def test_every_policy_in_the_guide_can_be_applied_and_every_field_is_in_one() -> None:
    written = "".join(EXAMPLES)
    for text in EXAMPLES:
        policy_from(text if text.startswith("domain:") else f"domain: a\n{text}")
    sections = (Cells, Judges, Member, Lifecycle, AlertRules, Trigger, Activation)
    for model in (Policy, *sections):
        for name in model.model_fields:
            assert re.search(rf"^ *(?:- )?{name}:", written, re.MULTILINE), name
            assert f"`{name}" in POLICY_GUIDE or f".{name}`" in POLICY_GUIDE, name


MODULES = (rubric, panel, canaries, judging, scoring)


def test_every_reason_of_a_decision_is_explained() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "judging.md").read_text()
    code = "".join(Path(str(module.__file__)).read_text() for module in MODULES)
    said = re.findall(r'(?:_to_person\(|reason=|"reason": )"(\w+)"', code)
    assert {"meets_policy", "judges_disagree", "abstained", "judge_suspended"} <= set(said)
    for reason in (*said, rubric.TRUSTED, rubric.AUDIT):
        assert f"`{reason}`" in guide, reason


GUIDES = (
    "broker.md",
    "calibration.md",
    "browsing.md",
    "capture.md",
    "datasets.md",
    "demo.svg",
    "diversity.md",
    "effectiveness.md",
    "faults.md",
    "import.md",
    "import-formats.md",
    "judging.md",
    "optimizers.md",
    "models.md",
    "optimization.md",
    "policy.md",
    "requirements.md",
    "synthesis.md",
    "review.md",
    "web.md",
    "verification.md",
)


@pytest.mark.parametrize("name", [f"docs/{name}" for name in GUIDES])
def test_what_the_readme_points_to_is_there(name: str) -> None:
    assert name in README
    assert (Path(__file__).parents[2] / name).is_file()
