"""Everything that can make an example, by the name of its strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from tdsys.core.batch import GENERATOR, TEMPLATES, Maker, calls_per_try
from tdsys.core.calculating import Calculator
from tdsys.core.filling import Offer
from tdsys.core.resolving import MOST_SOLUTIONS
from tdsys.llm import generators
from tdsys.llm.generators import GeneratorMaker, TemplateMaker
from tdsys.llm.prompting import named, strategies


class ModelWorkshop:
    """Generators, templates, and the strategies of a model; each is made when it is asked for."""

    def __init__(
        self,
        model: Callable[[], Any],
        *,
        threads: int,
        calculator: Calculator,
        prices: Callable[[str], tuple[float, float] | None],
    ) -> None:
        self._model, self._threads, self._calculator = model, threads, calculator
        self._prices = prices
        self._made: dict[str, Maker] = {}

    def maker(self, strategy: str) -> Maker:
        """The maker of that name; InvalidInput when there is none."""
        if strategy not in self._made:
            self._made[strategy] = self._new(strategy)
        return self._made[strategy]

    def offer(self, strategy: str) -> Offer:
        """What a strategy takes; InvalidInput when there is none of that name."""
        if strategy == TEMPLATES or strategy.startswith(GENERATOR):
            return Offer(strategy, calls_per_try(self.maker(strategy)))
        wanted = named(strategy)
        parents = 0 if wanted.differs else wanted.parents
        return Offer(strategy, 1 + MOST_SOLUTIONS, parents, wanted.kin)

    def topics(self, generator: str, domain: str) -> Sequence[str]:
        """What a generator says it knows of a domain; empty when it says nothing."""
        return generators.topics(_loaded(generator), domain) if generator else ()

    def strategies(self) -> Sequence[str]:
        """The strategies of the model that are used unless others are named."""
        return [one.name for one in strategies().values() if not one.off]

    def _new(self, strategy: str) -> Maker:
        if strategy == TEMPLATES:
            return TemplateMaker()
        if strategy.startswith(GENERATOR):
            name = strategy.removeprefix(GENERATOR)
            return GeneratorMaker(
                name, _loaded(name), self._model, threads=self._threads, prices=self._prices
            )
        chosen = named(strategy)
        from tdsys.llm.synthesis import ModelMaker  # noqa: PLC0415  # dspy takes seconds to import

        return ModelMaker(chosen, self._model(), threads=self._threads, calculator=self._calculator)


@cache
def _loaded(generator: str) -> Any:
    return generators.load(generator)
