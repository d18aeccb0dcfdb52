"""Strategies: prompt files by which a model makes problems, ours and those users install.

A file begins with `name: value` lines: version, source, idea, parents (0 to 5), and where they
apply material (easier, harder: than what is wanted), answer (kept: the material's, given: one of
its numbers), keeps (problem), differs (yes: from its material and from all that is there),
calculation (yes: a program is wanted first, and what it comes to is the answer) and off (yes: only
when it is named). After `---` comes the prompt.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from types import ModuleType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tdsys.core.batch import Kin
from tdsys.core.mistakes import first_mistake
from tdsys.errors import ConfigurationError, InvalidInput

log = logging.getLogger("tdsys.prompting")
GROUP = "tdsys.strategies"
FOLDER = "strategies"
MOST_PARENTS = 5
SUFFIX = ".txt"


class Strategy(BaseModel):
    """One way to have a model make a problem."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    source: str
    idea: str
    parents: int = Field(0, ge=0, le=MOST_PARENTS)
    answer: Literal["free", "kept", "given"] = "free"
    material: Literal[Kin.CELL, Kin.EASIER, Kin.HARDER] = Kin.CELL
    keeps: Literal["", "problem"] = ""
    differs: bool = False
    calculation: bool = False
    off: bool = False
    prompt: str = Field(min_length=1)

    @property
    def kin(self) -> Kin:
        """Which examples it is shown."""
        return Kin.CROWD if self.differs else self.material

    @property
    def label(self) -> str:
        """What examples made by it are labelled with."""
        return f"{self.name}-{self.version}"


@lru_cache(maxsize=1)
def strategies() -> dict[str, Strategy]:
    """Every strategy by name: the entry points of `tdsys.strategies` that can be read, and ours."""
    folder = files("tdsys.llm") / FOLDER
    names = [f.name for f in folder.iterdir() if f.name.endswith(SUFFIX)]
    found = {
        name.removesuffix(SUFFIX): (folder / name).read_text(encoding="utf-8")
        for name in sorted(names)
        if not name.startswith("_")
    }
    ours = {name: parsed(name, text) for name, text in found.items()}
    return {**_theirs()[0], **ours}


def unusable() -> dict[str, ConfigurationError]:
    """The installed ones that are left out, and why: the others can do without them."""
    return _theirs()[1]


def named(name: str) -> Strategy:
    """The strategy of that name; InvalidInput when there is none, or what is wrong with it."""
    if found := strategies().get(name):
        return found
    if broken := unusable().get(name):
        raise broken
    raise InvalidInput(
        f"there is no strategy {name!r}", remedy=f"use one of: {', '.join(strategies())}"
    )


@lru_cache(maxsize=1)
def _theirs() -> tuple[dict[str, Strategy], dict[str, ConfigurationError]]:
    good: dict[str, Strategy] = {}
    bad: dict[str, ConfigurationError] = {}
    for point in entry_points(group=GROUP):
        try:
            good[point.name] = parsed(point.name, _installed(point.name, point.value))
        except ConfigurationError as broken:
            log.warning("%s; it is left out", broken)
            bad[point.name] = broken
    return good, bad


def form(name: str) -> str:
    """A prompt that is no strategy: `form` is what all of them share, `solver` solves again."""
    return (files("tdsys.llm") / FOLDER / f"_{name}{SUFFIX}").read_text(encoding="utf-8")


def parsed(name: str, text: str) -> Strategy:
    """A strategy's file, read; ConfigurationError says what is wrong with it."""
    head, dashes, prompt = text.partition("\n---\n")
    pairs = [line.partition(":") for line in head.splitlines() if line.strip()]
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    if not dashes or "name" in fields or "prompt" in fields:
        raise _broken(name, "`name: value` lines, then a line ---, then the prompt are wanted")
    try:
        return Strategy.model_validate({**fields, "name": name, "prompt": prompt.strip()})
    except ValidationError as bad:
        path, message = first_mistake(bad)
        raise _broken(name, f"{path}: {message}") from None


def _broken(name: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the prompt file of strategy {name!r} cannot be used: {what}",
        remedy="see docs/synthesis.md for its form",
    )


def _installed(name: str, package: str) -> str:
    """The file NAME.txt in the package that an entry point names; nothing of it is run."""
    try:
        where: ModuleType | str = package.partition(":")[0]
        return (files(where) / f"{name}{SUFFIX}").read_text(encoding="utf-8")
    except (OSError, ImportError, TypeError) as missing:
        raise _broken(name, f"{package} has no readable {name}{SUFFIX}: {missing}") from missing
