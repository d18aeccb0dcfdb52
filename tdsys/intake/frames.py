"""How parent and child speak: frames of a JSON head and a body of bytes.

One rule: a length is checked before anything is read, so that nonsense costs nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import orjson

LONGEST = 64 * 1024 * 1024
_LENGTHS = struct.Struct(">II")
SIZE = _LENGTHS.size


def frame(head: object, body: bytes = b"") -> bytes:
    """One frame."""
    text = orjson.dumps(head)
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


def read(take: Callable[[int], bytes]) -> tuple[Any, bytes] | None:
    """The next frame, `take` returning so many bytes or fewer at the end; None after the last.

    ValueError for what is no frame.
    """
    lengths = take(SIZE)
    if not lengths:
        return None
    if len(lengths) < SIZE:
        raise ValueError("a frame ends in its lengths")
    head, body = _LENGTHS.unpack(lengths)
    if head + body > LONGEST:
        raise ValueError(f"a frame of {head + body:,} bytes")
    text, rest = take(head), take(body)
    if len(text) < head or len(rest) < body:
        raise ValueError("a frame ends early")
    return orjson.loads(text), rest
