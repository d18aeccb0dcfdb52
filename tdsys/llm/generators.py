"""The customer's generators: entry points of `tdsys.generators`, called one problem at a time.

Its rule: a generator is a stranger. Whatever it raises or returns becomes a refusal with a reason,
and what it returns is data.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from tdsys.core.batch import GENERATOR, TEMPLATES, Draft, Kin, Order, Refused
from tdsys.core.example import Document, Malformed, check_document
from tdsys.errors import InvalidInput, ModelUnavailable
from tdsys.llm.crew import Asked, crew
from tdsys.reference import DOMAINS, ReferenceGenerator

if TYPE_CHECKING:
    from tdsys.llm.metering import Meter
    from tdsys.llm.session import Model

GROUP = "tdsys.generators"
REASON_SHOWN = 500
PATIENCE_SECONDS = 120.0
Attempt = Draft | Refused


def names() -> list[str]:
    """The installed generators."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load(name: str) -> Any:
    """The generator of that name, made if it is a class."""
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise InvalidInput(
            f"there is no generator {name!r}",
            remedy=f"use one of: {', '.join(names())}; or install one as an entry point of {GROUP}",
        )
    try:
        loaded = found[0].load()
        return loaded() if inspect.isclass(loaded) else loaded
    except Exception as broken:
        raise InvalidInput(
            f"the generator {name!r} cannot be loaded: {type(broken).__name__}: {broken}",
            remedy="it must be importable here and need no arguments",
        ) from broken


def topics(generator: Any, domain: str) -> Sequence[str]:
    """What a generator says it knows: its `topics(domain)`, if it has that."""
    told = getattr(generator, "topics", None)
    return tuple(map(str, told(domain))) if callable(told) else ()


class GeneratorMaker:
    """Makes examples with a customer's generator, one at a time; a DSPy program in `threads`.

    `calls` is the most that one attempt has asked so far; before the first, one for each prompt.
    `prices` knows the models that a program brings along.
    """

    vouches = True
    parents = 0
    kin = Kin.CELL

    def __init__(
        self,
        name: str,
        generator: Any,
        model: Callable[[], Any],
        *,
        patience: float = PATIENCE_SECONDS,
        threads: int = 1,
        prices: Callable[[str], tuple[float, float] | None] = lambda _: None,
    ) -> None:
        self._name, self._generator, self._model = name, generator, model
        self._patience, self._threads, self._terms = patience, threads, prices
        self._hangs = self._is_measured = False
        self.version = f"{GENERATOR}{name}"
        self.calls = max(1, len(generator.predictors())) if _is_dspy(generator) else 0

    def make(self, orders: Sequence[Order]) -> list[Draft | Refused]:
        """One outcome for each order, in their order."""
        if not _is_dspy(self._generator):
            return [self._heard(self._ask(order)) for order in orders]
        from tdsys.llm.metering import Meter, Purse  # noqa: PLC0415  # dspy is here already
        from tdsys.llm.session import using  # noqa: PLC0415

        purse = Purse(*_set_aside(orders))
        meters = [
            Meter(purse, self._prices, is_capped=one.most_tokens is not None, dearest=one.dearest)
            for one in orders
        ]
        with using(self._asks.lm()):
            # The first of all attempts says how many calls the others need.
            alone = 0 if self._is_measured else 1
            first = self._side_by_side(orders[:alone], meters[:alone])
            self._learn(meters[:alone])
            able = purse.attempts(self.calls)
            upto = len(orders) if able is None else min(len(orders), alone + able)
            rest = self._side_by_side(orders[alone:upto], meters[alone:upto])
        self._learn(meters[alone:upto])
        return [*first, *rest, *(_short("others took what there was") for _ in orders[upto:])]

    def _side_by_side(self, orders: Sequence[Order], meters: Sequence[Meter]) -> list[Attempt]:
        asked = [self._ask(*pair) for pair in zip(orders, meters, strict=True)]
        return [self._heard(*pair) for pair in zip(asked, meters, strict=True)]

    def _learn(self, meters: Sequence[Meter]) -> None:
        """How many calls an attempt takes: what the longest took, else more than was not enough."""
        whole = [one.asked for one in meters if one.asked and not one.short]
        cut = [one.asked for one in meters if one.short]
        if whole:
            self.calls = max(*whole, self.calls if self._is_measured else 1)
            self._is_measured = True
        elif cut:
            self.calls = 2 * max(*cut, self.calls)

    @cached_property
    def _asks(self) -> Model:
        model: Model = self._model().for_rows()
        return model

    def _prices(self, name: str) -> tuple[float, float] | None:
        if name != self._asks.label:
            return self._terms(name)
        return (0.0, 0.0) if self._asks.simulated else self._asks.prices

    def _ask(self, order: Order, meter: Meter | None = None) -> Asked[Attempt]:
        return crew(self._threads).ask(partial(self._outcome, order, meter))

    def _heard(self, asked: Asked[Attempt], meter: Meter | None = None) -> Attempt:
        """What an attempt came to, with what it cost; one that hangs is not asked again."""
        try:
            found = asked.result(self._patience)
        except TimeoutError:
            self._hangs = True
            found = Refused("generator_hangs", f"no answer in {self._patience:.0f} s")
        if meter is None:
            return found
        meter.end()
        if meter.short:
            found = _short(meter.short)
        elif meter.refused:
            found = Refused("unbounded", meter.refused)
        return found._replace(calls=meter.calls, tokens=meter.tokens, micros=meter.cost)

    def _outcome(self, order: Order, meter: Meter | None) -> Attempt:
        if self._hangs:
            return Refused("generator_hangs", "it did not answer before")
        try:
            inputs, outputs = _parts(self._answer(order, meter))
            check_document({"inputs": inputs, "outputs": outputs})
        except Malformed as bad:
            return Refused("malformed", str(bad)[:REASON_SHOWN])
        except Exception as failed:  # noqa: BLE001  # a stranger's code raises what it likes
            told = f"{type(failed).__name__}: {failed}"[:REASON_SHOWN]
            if _is_dspy(self._generator) and _is_outage(failed):
                return Refused("model_unavailable", told, later=True)
            return Refused("generator_failed", told)
        if not outputs:
            return Refused("malformed", "it returned no output fields")
        made_by: Document = {"strategy": self.version, "version": self.version,
                             "generator": self._name}  # fmt: skip
        models = sorted(meter.models) if meter else []
        if models:
            made_by["model"] = ", ".join(models)
        simulated = bool(models) and self._asks.simulated and models == [self._asks.label]
        return Draft(inputs, outputs, made_by, simulated=simulated)

    def _answer(self, order: Order, meter: Meter | None) -> Any:
        """What it says; whatever a stranger raises is an Exception here."""
        try:
            if meter is None:
                return _asked(self._generator, order)
            from tdsys.llm.metering import fresh  # noqa: PLC0415  # dspy is here already

            with fresh(self._generator, order, meter) as program:
                return _asked(program, order)
        except Exception:
            raise
        except BaseException as failed:
            raise RuntimeError(repr(failed)) from failed


def _short(told: str) -> Refused:
    """An attempt that the calls set aside were too few for; what it asked is in the cache."""
    return Refused("calls_set_aside", told, later=True, short=True)


def _set_aside(orders: Sequence[Order]) -> tuple[int | None, int | None]:
    """The calls and tokens of a block together; None: any."""
    if any(one.most_calls is None for one in orders):
        return None, None
    calls = sum(one.most_calls or 0 for one in orders)
    if any(one.most_tokens is None for one in orders):
        return calls, None
    return calls, sum((one.most_calls or 0) * (one.most_tokens or 0) for one in orders)


class TemplateMaker:
    """Makes examples from the reference templates: every answer is computed twice, no model."""

    version = "templates-1"
    vouches = True
    calls = 0
    parents = 0
    kin = Kin.CELL

    def __init__(self) -> None:
        self._generator = ReferenceGenerator()

    def make(self, orders: Sequence[Order]) -> list[Draft | Refused]:
        """One outcome for each order; where there is no template of the cell, a refusal."""
        return [self._one(order) for order in orders]

    def _one(self, order: Order) -> Draft | Refused:
        topic, difficulty = order.cell
        domain = next((d for d, known in DOMAINS.items() if topic in known), order.domain)
        try:
            made = self._generator.generate(domain, topic, difficulty, order.serial)
        except ValueError as unknown:
            return Refused("no_template", str(unknown))
        made_by: Document = {"strategy": TEMPLATES, "version": self.version}
        return Draft(dict(made.inputs), dict(made.outputs), made_by)  # type: ignore[arg-type]  # plain values


def _asked(generator: Any, order: Order) -> Any:
    """What the generator says to the order, called with the arguments it names."""
    offered = {
        "domain": order.domain,
        "topic": order.cell.topic,
        "difficulty": order.cell.difficulty,
        "index": order.serial,
    }
    call = getattr(generator, "generate", None)
    if _is_dspy(generator) or not callable(call):
        call = generator
    wanted = _fields(generator) if _is_dspy(generator) else _named(call)
    if wanted is None:
        return call(**offered)
    offered["context"] = order.context
    return call(**{name: value for name, value in offered.items() if name in wanted})


def _fields(program: Any) -> Collection[str] | None:
    """What a DSPy program is asked: by its own signature, its `forward`, or its first prompt's."""
    own = getattr(getattr(program, "signature", None), "input_fields", None)
    if wanted := own or _named(program.forward):
        return wanted
    prompts = program.predictors()  # such as a `dspy.ChainOfThought`, which takes anything
    return prompts[0].signature.input_fields if prompts else None


def _named(call: Callable[..., Any]) -> Collection[str] | None:
    """The arguments that a function names; None: it takes any."""
    given = inspect.signature(call).parameters
    is_open = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in given.values())
    return None if is_open else given


def _parts(made: Any) -> tuple[Document, Document]:
    """Inputs and outputs of whatever came back; plain fields are outputs."""
    if hasattr(made, "inputs") and hasattr(made, "outputs"):
        return _plain(made.inputs), _plain(made.outputs)
    fields = _plain(made)
    if set(fields) >= {"outputs"} and isinstance(fields["outputs"], dict):
        inputs = fields.get("inputs")
        return inputs if isinstance(inputs, dict) else {}, fields["outputs"]
    return {}, fields


def _plain(fields: Any) -> Document:
    to_dict = getattr(fields, "toDict", None)
    told = to_dict() if callable(to_dict) else fields
    if not isinstance(told, Mapping):
        raise Malformed(
            "malformed",
            "",
            f"the generator returned a {type(fields).__name__}",
            remedy="return a mapping of output fields, or an object with inputs and outputs",
        )
    return dict(told)


def _is_outage(failed: Exception) -> bool:
    """Whether a DSPy generator's model did not answer."""
    import dspy  # noqa: PLC0415  # it is here already

    from tdsys.llm.session import translate  # noqa: PLC0415

    return isinstance(failed, dspy.LMError) and isinstance(translate(failed), ModelUnavailable)


def _is_dspy(generator: Any) -> bool:
    dspy = sys.modules.get("dspy")
    return dspy is not None and isinstance(generator, dspy.Module)
