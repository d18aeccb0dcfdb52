"""The calls of a program whose calls nobody knows beforehand: each is paid for, or is not made.

Its rule: a call takes from the purse what it may cost at the worst before it is sent, and gives
back after it what it did not cost; so a purse is never overdrawn, whatever a program does.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import dspy
from dspy.utils import callback as dspy_callback
from dspy.utils.callback import BaseCallback

from tdsys.core.batch import Order
from tdsys.errors import ModelUnavailable
from tdsys.llm.session import SharedTracker, translate

# Of English and mathematics it is three to four.
BYTES_PER_TOKEN = 2
# Asked for where a program says 0 or nothing.
WARM = 1.0
# Of the tokens that a call may take its answer gets so much.
ANSWER_SHARE = 0.5
Prices = Callable[[str], tuple[float, float] | None]


class NotPaid(BaseException):
    """Ends an attempt before a call is sent; a BaseException, as programs swallow Exceptions."""


class Purse:
    """What a block of attempts may still take, for all its threads; None: as much as it likes."""

    def __init__(self, calls: int | None, tokens: int | None) -> None:
        self._lock = threading.Lock()
        self._calls, self._tokens = calls, tokens

    def take(self, calls: int, tokens: int) -> bool:
        """Set so much aside; False: there is not so much."""
        with self._lock:
            few = self._calls is not None and self._calls < calls
            if few or (self._tokens is not None and self._tokens < tokens):
                return False
            self._add(-calls, -tokens)
            return True

    def give_back(self, calls: int, tokens: int) -> None:
        """What a call did not cost after all; less than nothing where it cost more."""
        with self._lock:
            self._add(calls, tokens)

    def attempts(self, calls: int) -> int | None:
        """How many attempts of so many calls there are calls for; None: any number."""
        return None if self._calls is None else self._calls // calls

    def _add(self, calls: int, tokens: int) -> None:
        self._calls = None if self._calls is None else self._calls + calls
        self._tokens = None if self._tokens is None else self._tokens + tokens


class _Sent(NamedTuple):
    """A call on its way: what is set aside for it."""

    calls: int
    tokens: int


class Meter(SharedTracker, BaseCallback):  # type: ignore[misc]
    """What one attempt of a program asks of models, its own ones too.

    `most_tokens`: a budget of tokens is kept to; `dearest`: what a million tokens may cost at the
    most, None: anything. `calls` and `micros` are what was paid, `asked` the cached ones, too.
    """

    def __init__(
        self, purse: Purse, prices: Prices, *, is_capped: bool = False, dearest: float | None = None
    ) -> None:
        super().__init__()
        self._purse, self._prices = purse, prices
        self._is_capped, self._dearest = is_capped, dearest
        self._sent: dict[str, _Sent] = {}
        self._used: defaultdict[str, int] = defaultdict(int)
        self._is_over = False
        self.calls = self.asked = 0
        self.cost: float | None = 0.0
        self.models: set[str] = set()
        self.short = ""
        self.refused = ""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Take from the purse, or end the attempt before the call is sent."""
        with self._lock:
            self.refused = self.refused or self._cannot(instance, inputs)
            if self.refused or self._is_over:
                raise NotPaid
            worst = self._worst(instance, inputs)
            if not self._purse.take(*worst):
                self.short = f"it asked {self.asked} times and would have gone on"
                raise NotPaid
            self._sent[call_id] = worst
            self.asked += worst.calls
            self.models.add(str(instance.model))

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: ARG002
        """Book what it cost: nothing where the answer was there already, or nobody answered."""
        with self._lock:
            worst, used = self._sent.pop(call_id, None), self._used.pop(call_id, None)
            if worst is None or self._is_over:
                return
            is_watched = dspy.settings.usage_tracker is self
            is_free = used is None and (is_watched if exception is None else _is_away(exception))
            if not is_free:
                self.calls += worst.calls
                self.cost = self.cost if is_watched else None
            self._purse.give_back(worst.calls if is_free else 0, worst.tokens - (used or 0))

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        """Called by DSPy for every answer that was not there already, within its call."""
        super().add_usage(lm, usage_entry)
        total = usage_entry.get("total_tokens") or 0
        read = usage_entry.get("prompt_tokens") or 0
        prices = self._prices(lm)
        with self._lock:
            self._used[dspy_callback.ACTIVE_CALL_ID.get() or ""] += total
            if prices is None:
                self.cost = None if total else self.cost
            elif self.cost is not None:
                self.cost += read * prices[0] + max(0, total - read) * prices[1]

    def end(self) -> None:
        """No further call is made; what is on its way counts as paid at its worst."""
        with self._lock:
            if self._sent and self._is_capped:
                self.tokens += sum(one.tokens for one in self._sent.values())
            if self._sent:
                self.calls += sum(one.calls for one in self._sent.values())
                self.cost = None
            self._is_over = True

    def _worst(self, lm: Any, inputs: dict[str, Any]) -> _Sent:
        given = inputs.get("kwargs") or {}
        answers = int(given.get("n") or lm.kwargs.get("n") or 1)
        if not self._is_capped:
            return _Sent(answers, 0)
        shown = str((inputs.get("prompt"), inputs.get("messages"), given)).encode()
        each = len(shown) // BYTES_PER_TOKEN + (_longest(lm, inputs) or 0)
        return _Sent(answers, answers * each)

    def _cannot(self, lm: Any, inputs: dict[str, Any]) -> str:
        """Why no budget could be kept with this call."""
        if self._is_capped and _longest(lm, inputs) is None:
            return f"no max_tokens limits the answers of {lm.model}, so no budget can be kept to"
        prices = self._prices(str(lm.model))
        if self._dearest is not None and (prices is None or max(prices) > self._dearest):
            told = "is not known" if prices is None else "is more than the batch counts with"
            return f"what {lm.model} costs {told}: name its prices in TDSYS_MODELS"
        return ""


def _longest(lm: Any, inputs: dict[str, Any]) -> int | None:
    """How many tokens an answer may have; None where nothing says."""
    settings: dict[str, Any] = {**lm.kwargs, **(inputs.get("kwargs") or {})}
    told: Any = settings.get("max_completion_tokens") or settings.get("max_tokens")
    with suppress(TypeError, ValueError):
        return int(told)
    return None


def _is_away(failed: BaseException) -> bool:
    return isinstance(failed, dspy.LMError) and isinstance(translate(failed), ModelUnavailable)


@contextmanager
def fresh(program: Any, order: Order, meter: Meter) -> Iterator[Any]:
    """A program for one attempt, every call of which is metered and another attempt's is not.

    It is asked the same again and again, and DSPy would give the same answer. The same attempt gets
    the same: one whose worker was killed is not paid again.
    """
    shared = _resampled(dspy.settings.lm, order)
    with dspy.context(lm=shared, usage_tracker=meter, callbacks=[meter]):
        yield _with_own_models(program, order)


def _resampled(lm: Any, order: Order) -> Any:
    """A copy that answers this attempt alone, no longer than a budget of tokens allows."""
    given: dict[str, Any] = {
        "rollout_id": order.serial,
        # At 0 DSPy keeps one answer for all samples.
        "temperature": lm.kwargs.get("temperature") or WARM,
    }
    if order.most_tokens is not None:
        name = "max_completion_tokens" if "max_completion_tokens" in lm.kwargs else "max_tokens"
        longest = lm.kwargs.get(name) or order.most_tokens
        given[name] = min(longest, int(order.most_tokens * ANSWER_SHARE))
    return lm.copy(**given)


def _with_own_models(program: Any, order: Order) -> Any:
    """A program that brings models along, or asks at temperature 0, in a copy for this attempt."""
    parts = [vars(part) for _, part in program.named_sub_modules()]
    own = {id(value): value for part in parts for value in part.values() if _is_model(value)}
    cold = [part["config"] for part in parts if _is_cold(part.get("config"))]
    if not own and not cold:
        return program
    # Whatever a copy refers to under these ids is replaced; LMs are shared but for their settings.
    instead = {key: _resampled(lm, order) for key, lm in own.items()}
    instead |= {id(config): {**config, "temperature": WARM} for config in cold}
    try:
        return copy.deepcopy(program, instead)
    except Exception:  # noqa: BLE001  # a stranger's objects need not bear it: it says the same again
        return program


def _is_model(value: object) -> bool:
    return isinstance(value, dspy.BaseLM)


def _is_cold(config: object) -> bool:
    return isinstance(config, dict) and config.get("temperature") == 0
