"""How a model is opened and used, and the one border where DSPy's exceptions become ours.

Its rule: settings live in `dspy.context` blocks only; nothing here calls `dspy.configure`, so the
package works in any thread of any process, and an LM object is never carried through a fork.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import resource
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import getproxies

import dspy
from dspy import lm15
from dspy._vendor.lm15.transports import StdlibTransport
from dspy.clients.engines.lm15_engine import LM15Engine
from dspy.utils.caching import default_cache_dir
from dspy.utils.callback import BaseCallback
from dspy.utils.usage_tracker import UsageTracker
from pydantic import TypeAdapter

from tdsys.core.tombs import Eviction, Mark
from tdsys.errors import ConfigurationError, ModelUnavailable, NotReady, TdsysError
from tdsys.limiter import LocalLimiter
from tdsys.llm import answers
from tdsys.llm.gateway import GatedEngine, Gateway, Route
from tdsys.llm.naming import OFFLINE, gauge
from tdsys.llm.offline.engine import BRAIN, OfflineEngine, resampling

RETRIES = 8
# A run of hours waits so long for a model that is away, before it is put off.
PATIENCE_SECONDS = 180.0
# A row is asked for again later anyway; whoever works on rows does not wait long.
ROW_RETRIES = 3
# Below the 120 s after which DSPy's Evaluate sends a slow request a second time.
TIMEOUT_SECONDS = 90.0
NOT_FOUND = 404
CACHE_BYTES = 4 * 1024**3
# Of each of those files, in pages of 4 KB: what is written once need not be kept in memory.
CACHED_PAGES = 64
# SQLite does not wait by itself where two change a file's form at the same moment.
OPENING_SECONDS = 20.0
LOCKED_SECONDS = 0.02
# Each thread that asks a model keeps up to thirty files of DSPy's cache open, and a usual limit is
# 1024; DSPy says nothing when it cannot open them, and answers are paid for again.
FILES = 8192
Unanswered = Callable[[Mapping[str, Any], Exception], None]
REFUSALS = (
    dspy.LMAuthError,
    dspy.LMBillingError,
    dspy.LMConfigurationError,
    dspy.LMUnsupportedModelError,
)


@dataclass(frozen=True)
class Model:
    """A model by its name; the LM object behind it is made on first use in each process.

    Without a `gateway` its limiter is this process's own. `prices` in dollars for a million tokens
    read and written, None: not known.
    """

    name: str = OFFLINE
    api_base: str | None = None
    seed: int = 7
    retries: int = RETRIES
    patience: float = PATIENCE_SECONDS
    gateway: Gateway | None = None
    prices: tuple[float, float] | None = None
    is_cached: bool = True

    @property
    def label(self) -> str:
        """The name stored with every result."""
        # Seed and version are part of it because answers are cached under it.
        return f"{OFFLINE}/tdsys-s{self.seed}-v{BRAIN}" if self.simulated else self.name

    @property
    def simulated(self) -> bool:
        """Whether this is the offline model."""
        return self.name == OFFLINE

    def for_rows(self) -> Model:
        """The same, for work that is put off and tried again when nobody answers."""
        return replace(self, retries=min(self.retries, ROW_RETRIES), patience=0.0)

    def for_ledger(self) -> Model:
        """As `for_rows`, where answers are in a ledger at once: a second copy is not cached."""
        # Of a judge's call with fifteen others beside it SQLite is a third.
        return replace(self.for_rows(), is_cached=False)

    def lm(self) -> Any:
        """The `dspy.LM` of this process."""
        return _opened(os.getpid(), self)


class Outcome(NamedTuple):
    """What one call of a program came to: a prediction, or why there is none."""

    prediction: Any
    error: Exception | None


class SharedTracker(UsageTracker):  # type: ignore[misc]
    """Counts tokens across threads; DSPy copies its tracker per thread and loses the counts."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self.tokens = self.paid = self.read = self.written = 0

    def __deepcopy__(self, memo: dict[int, object]) -> SharedTracker:
        return self

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:  # noqa: ARG002
        """Add what one call cost; a cached answer costs nothing and never gets here."""
        total = usage_entry.get("total_tokens") or 0
        read = usage_entry.get("prompt_tokens") or 0
        with self._lock:
            self.tokens += total
            self.paid += 1
            self.read += read
            # Whatever is no prompt is paid as an answer: reasoning, and what nobody names.
            self.written += max(0, total - read)

    def micros(self, prices: tuple[float, float] | None) -> float | None:
        """What it came to in millionths of a dollar; None: nobody knows the prices."""
        if prices is None:
            return None if self.tokens else 0.0
        return self.read * prices[0] + self.written * prices[1]


class Resampling(BaseCallback):  # type: ignore[misc]
    """Tells the offline engine which fresh sample is asked for; requests do not carry it."""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """Called by DSPy in the thread that makes the call."""
        asked = {**instance.kwargs, **(inputs.get("kwargs") or {})}
        resampling.set(int(asked.get("rollout_id") or 0))


class Chat(dspy.ChatAdapter):  # type: ignore[misc]
    """DSPy's way to write a prompt; describes each signature once, which is a third of the work.

    `unanswered` is told what was asked and why there is no answer that can be read; `once`: that is
    not asked for a second time in another form, which no budget knows of.
    """

    def __init__(self, unanswered: Unanswered | None = None, *, once: bool = False) -> None:
        super().__init__(use_json_adapter_fallback=not once)
        self._unanswered = unanswered

    def __call__(  # noqa: D102  # DSPy's
        self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: dict[str, Any]
    ) -> Any:
        try:
            return super().__call__(lm, lm_kwargs, signature, demos, inputs)
        except Exception as error:
            if self._unanswered is not None:
                self._unanswered(inputs, error)
            raise

    def format_system_message(self, signature: Any) -> str:
        """What every call of a signature is told first."""
        return _described(signature)


# DSPy wraps both once more for each subclass, and prepares a callback at each wrapping: with a
# callback of ours that was a tenth of an optimization's time. None of ours asks about adapters.
Chat.format = inspect.unwrap(dspy.ChatAdapter.format)
Chat.parse = inspect.unwrap(dspy.ChatAdapter.parse)


def _type_adapter(kind: Any) -> Any:
    try:
        return _known_adapter(kind)
    except TypeError:  # one that has no hash
        return TypeAdapter(kind)


_known_adapter = lru_cache(maxsize=256)(TypeAdapter)
# DSPy builds one for each field of each call, which costs more than reading the field does.
dspy.adapters.utils.TypeAdapter = _type_adapter


@lru_cache(maxsize=64)
def _described(signature: Any) -> str:
    return str(dspy.ChatAdapter().format_system_message(signature))


@contextlib.contextmanager
def using(
    lm: Any,
    *,
    gate: BaseCallback | None = None,
    callbacks: list[Any] | None = None,
    unanswered: Unanswered | None = None,
    about: str | None = None,
) -> Iterator[SharedTracker]:
    """Run DSPy code on `lm`; yields the tracker of what it costs.

    `gate` hears of calls of the model, `callbacks` of everything, which takes time for everything.
    `about`: `tombs.answers_in` the domain whose examples may be told of; None: any may.
    """
    _prepared(os.getpid(), default_cache_dir())
    tracker = SharedTracker()
    with dspy.context(
        lm=lm if gate is None else lm.copy(callbacks=[*lm.callbacks, gate]),
        adapter=Chat(unanswered),
        usage_tracker=tracker,
        disable_history=True,
        trace=[],  # else every answer stays in one list of the process, ten thousand of them
        callbacks=[] if callbacks is None else callbacks,
        **{answers.TAG: about},
    ):
        yield tracker


def evict(evictions: Callable[[Sequence[Mark]], Sequence[Eviction]]) -> int:
    """Drop answers that may not be kept from this machine's cache; how many. Then new work begins.

    `evictions` says what came after those that the machine is done with.
    """
    directory = default_cache_dir()
    dropped = 0
    if told := evictions(answers.marks(directory)):
        _prepared(os.getpid(), directory)
        dropped = answers.evict(directory, told)
    answers.begin(directory)
    return dropped


def run_all(program: Any, requests: Sequence[Mapping[str, Any]], *, threads: int) -> list[Outcome]:
    """Run a program on every request inside `using`, in order; a failure is an outcome too."""

    def attempt(**request: Any) -> Outcome:
        try:
            return Outcome(program(**request), None)
        except Exception as error:  # noqa: BLE001  # each caller sorts them with `translate`
            return Outcome(None, error)

    if threads == 1 or len(requests) == 1:
        # dspy.Parallel makes a progress bar even where none is shown, and tqdm takes no two threads
        return [attempt(**request) for request in requests]
    # timeout=0: a slow request must not be sent, and paid, twice.
    runner = dspy.Parallel(
        num_threads=threads, timeout=0, max_errors=10**9, disable_progress_bar=True
    )
    outcomes: list[Outcome] = runner([(attempt, dict(request)) for request in requests])
    return outcomes


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what DSPy and optuna print; a light run prints 49 KB."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def translate(error: BaseException) -> TdsysError:
    """What a DSPy error means for the work at hand: configuration, later, or this prompt only."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, REFUSALS) or getattr(error, "status", None) == NOT_FOUND:
        return ConfigurationError(
            f"the model refused us: {text}",
            remedy="check TDSYS_LM or TDSYS_JUDGE_LM, its address, key and account",
        )
    if isinstance(error, dspy.LMInvalidRequestError):
        return NotReady(
            f"the model cannot take this prompt: {text}",
            remedy="shorten the examples or choose a model with a larger context",
        )
    return ModelUnavailable(
        f"the model did not answer: {text}", remedy="nothing is lost; it is tried again later"
    )


@lru_cache(maxsize=8)
def _opened(pid: int, model: Model) -> Any:
    if model.simulated:
        offline = OfflineEngine(seed=model.seed)
        return dspy.LM(model.label, engine=offline, cache=model.is_cached, callbacks=[Resampling()])
    route = Route(model.name, gauge(model.name, model.api_base), model.retries, model.patience)
    gateway = model.gateway or _own_gateway(pid)
    # DSPy's own retries know nothing of the other workers and would wait a second time.
    engine = GatedEngine(_engine(pid, model.name, model.api_base), gateway, route)
    return dspy.LM(model.name, engine=engine, cache=model.is_cached, num_retries=0)


@lru_cache(maxsize=1)
def _own_gateway(pid: int) -> Gateway:  # noqa: ARG001  # the process is part of the key
    return Gateway(LocalLimiter())


@lru_cache(maxsize=8)
def _engine(pid: int, name: str, api_base: str | None) -> Any:  # noqa: ARG001  # as above
    """DSPy's own HTTP client, whose connections every role of a process shares; never litellm."""
    provider = name.partition("/")[0]
    address = api_base or _address_from_environment(provider)
    transport = StdlibTransport(
        read_timeout=TIMEOUT_SECONDS,
        write_timeout=TIMEOUT_SECONDS,
        pool_timeout=TIMEOUT_SECONDS,
        # Else the whole environment is searched for proxies at every call.
        trust_env=bool(getproxies()),
    )
    urls = {LM15Engine().resolve(name).provider: address} if address else None
    return LM15Engine(lm15.RouterConfig(base_urls=urls, transport=transport))


@lru_cache(maxsize=1)
def _prepared(pid: int, directory: str) -> None:  # noqa: ARG001  # the process is part of the key
    """Point DSPy's response cache at DSPY_CACHEDIR and silence its log, once per process."""
    logging.getLogger("dspy").setLevel(logging.CRITICAL)
    _allow_open_files()
    try:
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        _open_answers(directory)
    except (OSError, sqlite3.Error) as refused:
        raise ConfigurationError(
            f"the model's answers cannot be kept in {directory}: {refused}",
            remedy="set DSPY_CACHEDIR to a folder that can be written",
        ) from refused


def _open_answers(directory: str) -> None:
    """Who opens them at the same moment, in a thread or a process beside, is waited for."""
    deadline = time.monotonic() + OPENING_SECONDS
    while True:
        try:
            answers.install(directory, size=CACHE_BYTES)
            dspy.cache.disk_cache.reset("sqlite_cache_size", CACHED_PAGES)
        except sqlite3.OperationalError as busy:
            if "locked" not in str(busy) or time.monotonic() > deadline:
                raise
            time.sleep(LOCKED_SECONDS)
        else:
            return


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _address_from_environment(provider: str) -> str | None:
    prefix = provider.upper()
    return os.environ.get(f"{prefix}_API_BASE") or os.environ.get(f"{prefix}_BASE_URL")
