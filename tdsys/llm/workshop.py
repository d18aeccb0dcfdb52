"""Everything that can make an example, by the name of its strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from tdsys.core.batch import GENERATOR, TEMPLATES, Maker
from tdsys.errors import InvalidInput
from tdsys.llm import generators
from tdsys.llm.generators import GeneratorMaker, TemplateMaker


class ModelWorkshop:
    """Generators, templates, and the strategies of a model; each is made when it is asked for."""

    def __init__(self, model: Callable[[], Any]) -> None:
        self._model = model
        self._made: dict[str, Maker] = {}

    def maker(self, strategy: str) -> Maker:
        """The maker of that name; InvalidInput when there is none."""
        if strategy not in self._made:
            self._made[strategy] = self._new(strategy)
        return self._made[strategy]

    def topics(self, generator: str, domain: str) -> Sequence[str]:
        """What a generator says it knows of a domain; empty when it says nothing."""
        return generators.topics(_loaded(generator), domain) if generator else ()

    def strategies(self) -> Sequence[str]:
        """The strategies of the model that are used unless others are named."""
        return (TEMPLATES,)

    def _new(self, strategy: str) -> Maker:
        if strategy == TEMPLATES:
            return TemplateMaker()
        if strategy.startswith(GENERATOR):
            name = strategy.removeprefix(GENERATOR)
            return GeneratorMaker(name, _loaded(name), self._model)
        raise InvalidInput(f"there is no strategy {strategy!r}", remedy="see `tdsys strategy list`")


@cache
def _loaded(generator: str) -> Any:
    return generators.load(generator)
