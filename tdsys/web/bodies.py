"""The body of a request, as far as its route wants it read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import anyio.from_thread
from starlette.requests import Request

from tdsys.errors import InvalidInput

MOST_FIELDS = 5000


class Given(NamedTuple):
    """Fields of a form, the document they came in, or the bytes of an upload."""

    form: Mapping[str, list[str]] = {}
    document: Mapping[str, Any] = {}
    body: Iterator[bytes] = iter(())


async def read_form(request: Request) -> Given:
    """A form, or JSON as a form would carry it; InvalidInput for anything else."""
    body = await request.body()
    if "application/json" in request.headers.get("content-type", ""):
        return _from_json(body)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as bad:
        raise InvalidInput("the form cannot be read", remedy="reload the page") from bad
    form: dict[str, list[str]] = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return Given(form)


def read_pieces(request: Request) -> Given:
    """The body as it comes; for a thread that the event loop waits for."""
    return Given(body=_pieces(request))


def _pieces(request: Request) -> Iterator[bytes]:
    stream = request.stream()

    async def following() -> bytes | None:
        return await anext(stream, None)

    while (piece := anyio.from_thread.run(following)) is not None:
        if piece:
            yield piece


def _from_json(body: bytes) -> Given:
    try:
        found = json.loads(body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError) as bad:
        raise InvalidInput("the body is not JSON", remedy="send a JSON object") from bad
    if not isinstance(found, dict):
        raise InvalidInput("the body is no JSON object", remedy="send {...}")
    return Given({name: _texts(value) for name, value in found.items()}, found)


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is no number of JSON")


def _texts(value: object) -> list[str]:
    """A value or a list of them as a form would carry it; what is nested deeper is no field."""
    found = value if isinstance(value, list) else [value]
    flat = (one for one in found if one is not None and not isinstance(one, list | dict))
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in flat]
