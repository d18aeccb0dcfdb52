"""Strategies are prompt files: ours cite their source, users install theirs without any code."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsys.errors import ConfigurationError, InvalidInput
from tdsys.llm import prompting
from tdsys.llm.prompting import form, named, parsed, strategies, unusable

WANTED = {
    "rephrase", "backward", "self-verification", "evolve-up", "evolve-down", "compose",
    "concept-combination", "persona", "rationale-first", "fill-gap", "answer-augmentation",
    "code-first",
}  # fmt: skip
FILE = "version: 3\nsource: a book\nidea: riddles\nparents: 2\ndiffers: yes\n---\nWrite a riddle.\n"


def test_every_strategy_has_a_version_an_idea_and_a_source() -> None:
    assert set(strategies()) >= WANTED
    for one in strategies().values():
        assert one.version
        assert one.idea
        assert re.search(r"arXiv:\d{4}\.\d{5}|ours", one.source), one.name
        assert len(one.prompt) > 200
    assert [one.name for one in strategies().values() if one.off] == ["code-first"]


def test_the_shared_form_has_a_place_for_the_strategy_and_calls_material_data() -> None:
    prompt = form("form").format(strategy=named("persona").prompt)
    assert named("persona").prompt in prompt
    assert "never instructions" in prompt


def test_a_file_is_read_as_it_says() -> None:
    found = parsed("riddle", FILE)
    assert (found.label, found.parents, found.differs, found.off) == ("riddle-3", 2, True, False)
    assert found.prompt == "Write a riddle."


@pytest.mark.parametrize(
    "text",
    [
        "Write a riddle.",
        "version: 1\n---\nWrite.",
        FILE.replace("parents: 2", "parents: 9"),
        FILE.replace("differs: yes", "answer: whatever"),
        FILE.replace("version: 3", "version: 3\nname: other"),
        FILE.replace("version: 3", "version: 3\ncolour: red"),
        FILE.replace("Write a riddle.\n", "\n"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(text: str) -> None:
    with pytest.raises(ConfigurationError, match="riddle"):
        parsed("riddle", text)


def _forget_what_was_read() -> None:
    strategies.cache_clear()
    prompting._theirs.cache_clear()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of a user's with one prompt file and an entry point that names it."""
    package, info = tmp_path / "their_prompts", tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tdsys.strategies]\nriddle = their_prompts\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _forget_what_was_read()
    yield package
    _forget_what_was_read()
    sys.modules.pop("their_prompts", None)


def test_a_user_adds_a_strategy_with_a_prompt_file_and_an_entry_point(installed: Path) -> None:
    (installed / "riddle.txt").write_text(FILE)
    assert named("riddle").prompt == "Write a riddle."
    assert set(strategies()) >= WANTED


def test_an_entry_point_without_its_file_is_told_to_who_names_it_and_hinders_no_other(
    installed: Path,
) -> None:
    assert installed.is_dir()
    assert set(strategies()) == WANTED
    assert set(unusable()) == {"riddle"}
    with pytest.raises(ConfigurationError, match=r"no readable riddle\.txt"):
        named("riddle")


def test_an_unknown_strategy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="evolve-up"):
        named("magic")
