"""Functions and DSPy programs whose calls are captured by themselves.

One rule: the call goes on as if nobody looked; what cannot be read is counted as `not_json`,
and as `not_a_domain` when it is the domain that cannot be told.
"""

from __future__ import annotations

import functools
import importlib
import sys

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Domain = str | Callable[[dict[str, Any]], str]


class Observer:
    """Captures calls of one kind; a `domain` that is a function is given the inputs."""

    def __init__(
        self, capture: Callable[..., str], domain: Domain, metadata: dict[str, Any] | None = None
    ) -> None:
        self._capture = capture
        self._domain = domain
        self._metadata = metadata

    def __call__(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function or class method, sync or async, its calls captured."""
        if isinstance(work, classmethod | staticmethod):
            return type(work)(self(work.__func__))
        inspect = importlib.import_module("inspect")

        @functools.wraps(work)
        def called(*args: Any, **kwargs: Any) -> Any:
            inputs = attempt(arguments_of, work, args, kwargs)
            try:
                result = work(*args, **kwargs)
            except BaseException as error:
                self.saw(inputs, None, error)
                raise
            self.saw(inputs, result)
            return result

        @functools.wraps(work)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            inputs = attempt(arguments_of, work, args, kwargs)
            try:
                result = await work(*args, **kwargs)
            except BaseException as error:
                self.saw(inputs, None, error)
                raise
            self.saw(inputs, result)
            return result

        return awaited if inspect.iscoroutinefunction(work) else called

    def saw(
        self,
        inputs: Any,
        result: object,
        error: BaseException | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Capture one finished call."""
        self._capture(
            domain=attempt(self._domain, inputs) if callable(self._domain) else self._domain,
            inputs=attempt(plain, inputs),
            outputs={"error": type(error).__name__} if error else attempt(outputs_of, result),
            metadata={**(self._metadata or {}), **(metadata or {})},
            ok=error is None,
        )


class ProgramCallback:
    """For `dspy.configure(callbacks=[...])`: captures each call that no DSPy call is around.

    So neither the parts of a program nor what an optimizer or an evaluation tries is captured.
    The protocol is that of dspy.utils.callback.BaseCallback, which may not be imported here.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._calls: dict[str, tuple[str, Any]] = {}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """A program begins; its inputs are read now because it may change them."""
        if _is_outermost():
            given = attempt(program_inputs, instance, inputs)
            self._calls[call_id] = (type(instance).__name__, given)

    def on_module_end(
        self, call_id: str, outputs: object, exception: BaseException | None = None
    ) -> None:
        """A program is through."""
        if (call := self._calls.pop(call_id, None)) is not None:
            name, inputs = call
            self._observer.saw(inputs, outputs, exception, {"program": name})

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Models, adapters, tools and whatever else DSPy tells about: of no interest."""
        if name.startswith("on_"):
            return _ignore
        raise AttributeError(name)


def arguments_of(
    work: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """What a function is called with, by name, without the object or class it is a method of."""
    bound = importlib.import_module("inspect").signature(work).bind(*args, **kwargs)
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for parameter in bound.signature.parameters.values():
        value = bound.arguments[parameter.name]
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(value)
        elif value or parameter.kind is not parameter.VAR_POSITIONAL:
            named[parameter.name] = value
    named.pop("self", None)
    if isinstance(named.get("cls"), type):
        del named["cls"]
    return named


def program_inputs(program: Any, inputs: dict[str, Any]) -> Any:
    """What a DSPy module is called with, by name."""
    args, kwargs = inputs.get("args", ()), inputs.get("kwargs", {})
    return plain(arguments_of(program.forward, args, kwargs) if args else kwargs)


def outputs_of(result: object) -> Any:
    """What a call gives back as an object of JSON; a bare value is called `output`."""
    found = plain(result)
    return found if isinstance(found, dict) else {"output": found}


def plain(value: Any) -> Any:
    """DSPy's predictions, pydantic's models, dataclasses and named tuples as JSON's types."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if hasattr(value, "toDict"):
        return value.toDict()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        fields = importlib.import_module("dataclasses").fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def attempt(work: Callable[..., Any], *given: Any) -> Any:
    """What `work` returns, or the error it raises, which no JSON can hold."""
    try:
        return work(*given)
    except Exception as error:  # noqa: BLE001  # the objects are the caller's
        return error


def _is_outermost() -> bool:
    module = sys.modules.get("dspy.utils.callback")
    active = getattr(module, "ACTIVE_CALL_ID", None)
    return active is None or active.get() is None


def _ignore(**_told: object) -> None:
    """Nothing to do."""
