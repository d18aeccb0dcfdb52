"""Embedders: a provider that answers as OpenAI's does, or what a customer installs.

Its rule: an embedder is a stranger. A provider is asked through the gateway like any model, and
never by litellm; what can be done nothing with is one text's mishap, not the block's.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import entry_points
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import dspy
from dspy import lm15

from tdsys.core.embedding import Unembedded
from tdsys.errors import ConfigurationError, InvalidInput, ModelUnavailable
from tdsys.limiter import LocalLimiter
from tdsys.llm.gateway import Gateway, Route
from tdsys.llm.naming import KEY_VARIABLES, check_name, gauge

GROUP = "tdsys.embedders"
OPENAI = "https://api.openai.com/v1"
# Scoring goes on without, so it does not wait long.
TIMEOUT_SECONDS = 20.0
RETRIES = 1
REASON_SHOWN = 200
# A hundred vectors of 16,000 numbers as JSON, and more than enough.
MOST_BYTES = 64 * 1024**2
PIECE_BYTES = 256 * 1024
MATRIX = 2
Ask: TypeAlias = Callable[[list[str]], Any]
# What one text may be to blame for; whatever else a provider says is about all of them.
OF_A_TEXT = (lm15.InvalidRequestError, ValueError, TypeError, OverflowError)
KINDS: dict[int, Any] = {
    http.client.UNAUTHORIZED: lm15.AuthError,
    http.client.FORBIDDEN: lm15.AuthError,
    http.client.PAYMENT_REQUIRED: lm15.BillingError,
    http.client.NOT_FOUND: lm15.UnsupportedModelError,
    http.client.METHOD_NOT_ALLOWED: lm15.UnsupportedModelError,
    http.client.REQUEST_TIMEOUT: lm15.TimeoutError,
    http.client.TOO_MANY_REQUESTS: lm15.RateLimitError,
}
REFUSALS = (lm15.AuthError, lm15.BillingError, lm15.UnsupportedModelError)


class _Address(NamedTuple):
    """Where a provider takes texts, and the key."""

    url: str
    key: str


class ModelEmbedder:
    """Embeds by whatever a policy names; `api_base`: another endpoint for every provider."""

    def __init__(self, gateway: Gateway | None, *, api_base: str | None) -> None:
        self._gateway, self._api_base = gateway or Gateway(LocalLimiter()), api_base

    def check(self, model: str) -> None:
        """Refuse a name nothing can come of; keys are the workers', who may be elsewhere."""
        provider, slash, named = model.partition("/")
        if not slash:
            _installed(model)
        elif provider not in KEY_VARIABLES or not named:
            raise InvalidInput(
                f"embedder.model={model}: no provider is called {provider!r}",
                remedy=f"use PROVIDER/MODEL with one of {', '.join(sorted(KEY_VARIABLES))}",
            )

    def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float] | Unembedded]:
        """A row for each text, or why it has none; TdsysError where nobody answers."""
        return _rows(self._asking(model), list(texts))

    def _asking(self, model: str) -> Ask:
        if "/" not in model:
            return partial(_tried, _installed(model))
        address = self._address(model)
        route = Route(model, gauge(model, self._api_base), RETRIES, 0.0)
        named = model.partition("/")[2]
        return partial(_through, self._gateway, route, partial(_posted, address, named))

    def _address(self, model: str) -> _Address:
        check_name(model, setting="embedder.model")
        provider = model.partition("/")[0]
        prefix = provider.upper()
        known = os.environ.get(f"{prefix}_API_BASE") or os.environ.get(f"{prefix}_BASE_URL")
        base = self._api_base or known or (OPENAI if provider == "openai" else None)
        if base is None or not _is_address(base):
            raise ConfigurationError(
                f"embedder.model={model}: nobody knows where its embeddings are",
                remedy="set TDSYS_EMBEDDER_API_BASE to the address that ends before /embeddings",
            )
        variable = KEY_VARIABLES[provider]
        return _Address(f"{base.rstrip('/')}/embeddings", os.environ.get(variable or "", ""))


def _is_address(base: str) -> bool:
    try:
        parts = urlsplit(base)
        return parts.scheme in {"http", "https"} and parts.port != 0 and bool(parts.hostname)
    except ValueError:
        return False


def _rows(ask: Ask, texts: list[str]) -> list[Sequence[float] | Unembedded]:
    """Halved until what is left is answered, or is the one text that is to blame."""
    try:
        found = dspy.Embedder(ask, batch_size=len(texts), caching=False)(texts)
        if found.ndim != MATRIX or len(found) != len(texts):
            raise ValueError(f"not one row of numbers for each of {len(texts)} texts")
    except OF_A_TEXT as bad:
        if len(texts) == 1:
            return [Unembedded(f"{type(bad).__name__}: {bad}"[:REASON_SHOWN])]
        half = len(texts) // 2
        return _rows(ask, texts[:half]) + _rows(ask, texts[half:])
    rows: list[Sequence[float] | Unembedded] = found.tolist()
    return rows


def _through(gateway: Gateway, route: Route, ask: Ask, texts: list[str]) -> Any:
    try:
        return gateway.call(route, lambda: ask(texts))
    except REFUSALS as refused:
        raise ConfigurationError(
            f"{route.model} refused us: {refused}"[:REASON_SHOWN],
            remedy="check embedder.model, TDSYS_EMBEDDER_API_BASE, the key and the account",
        ) from None
    except lm15.InvalidRequestError:
        raise
    except lm15.LM15Error as away:
        raise ModelUnavailable(
            f"{route.model} did not embed: {away}"[:REASON_SHOWN],
            remedy="nothing is lost; it is tried again later",
        ) from None


def _posted(address: _Address, model: str, texts: list[str]) -> list[Any]:
    """The vectors in the order of the texts; an lm15 error, or ValueError for what are none."""
    status, answer, retry_after = _answer(address, {"model": model, "input": texts})
    if status != http.client.OK:
        raise _refusal(status, answer, retry_after)
    try:
        data = json.loads(answer)["data"]
        rows = {int(one.get("index", place)): one["embedding"] for place, one in enumerate(data)}
        return [rows[place] for place in range(len(texts))]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as bad:
        raise ValueError(f"no embeddings: {type(bad).__name__}") from None


def _answer(address: _Address, document: dict[str, Any]) -> tuple[int, bytes, float | None]:
    """Status, body and for how long it asks to be left alone; nobody is followed elsewhere."""
    parts = urlsplit(address.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"content-type": "application/json"}
    if address.key:
        headers["authorization"] = f"Bearer {address.key}"
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        calling = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
        try:
            calling.request("POST", path, json.dumps(document), headers)
            answer = calling.getresponse()
            body = _read(answer)
        finally:
            calling.close()
    except TimeoutError as late:
        raise lm15.TimeoutError("no answer in time") from late
    except (OSError, http.client.HTTPException) as away:
        raise lm15.TransportError(f"{type(away).__name__}: {away}") from away
    return answer.status, body, _seconds(answer.getheader("retry-after"))


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The body, as much as comes in time: the timeout of a connection is for each piece alone."""
    deadline, body = time.monotonic() + TIMEOUT_SECONDS, bytearray()
    while len(body) < MOST_BYTES and (piece := answer.read1(PIECE_BYTES)):
        body += piece
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def _refusal(status: int, body: bytes, retry_after: float | None) -> Exception:
    told = f"HTTP {status}: {' '.join(body.decode(errors='replace').split())[:REASON_SHOWN]}"
    away = status >= http.client.INTERNAL_SERVER_ERROR or status < http.client.BAD_REQUEST
    kind = lm15.ServerError if away else KINDS.get(status, lm15.InvalidRequestError)
    refused: Exception = kind(told, status=status, retry_after=retry_after)
    return refused


def _seconds(told: str | None) -> float | None:
    return float(told) if told and told.replace(".", "", 1).isdecimal() else None


def _installed(name: str) -> Ask:
    """The installed embedder of that name; InvalidInput where there is none that could be one."""
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(sorted({point.name for point in entry_points(group=GROUP)}))
        raise InvalidInput(
            f"{GROUP} has no {name!r}",
            remedy=f"use one of: {known}, or PROVIDER/MODEL" if known
            else f"use PROVIDER/MODEL, or install one as an entry point of {GROUP}",
        )  # fmt: skip
    try:
        loaded = found[0].load()
    except Exception as broken:
        raise InvalidInput(
            f"{GROUP} {name!r} cannot be loaded: {type(broken).__name__}: {broken}",
            remedy="it must be importable where the scoring worker runs",
        ) from broken
    if not callable(loaded):
        raise InvalidInput(
            f"{GROUP} {name!r} cannot be called",
            remedy="define a function of a list of texts; it returns a list of vectors",
        )
    asked: Ask = loaded
    return asked


def _tried(embed: Ask, texts: list[str]) -> Any:
    """What it returns; what it raises is this text's mishap, unless nobody can be reached."""
    try:
        return embed(texts)
    except OSError as away:
        raise ModelUnavailable(
            f"the installed embedder did not answer: {type(away).__name__}: {away}",
            remedy="nothing is lost; it is tried again later",
        ) from away
    except Exception as broken:
        raise ValueError(f"{type(broken).__name__}: {broken}") from broken
