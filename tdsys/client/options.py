"""Options of a client that cannot be meant: a ValueError when it is made, never a surprise later.

The environment is not looked at here: a generator does not fall over what an operator mistyped.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from typing import Any

DURABILITIES = ("spool", "memory")


def check(**options: Any) -> None:
    """ValueError for the first that cannot be meant; None is meant where it is the default."""
    for name, value in options.items():
        is_default = value is None and name not in NEVER_NONE
        if not is_default and (said := CHECKS[name](value)):
            shown = "" if name in SECRET else f" is {value!r}"
            raise ValueError(f"{name}{shown}{said}")


def _address(value: object) -> str:
    if not isinstance(value, str):
        return " is no text; use for example redis://:PASSWORD@HOST:6379/0"
    from tdsys.broker import parsed  # noqa: PLC0415  # kept out of the generator's import time

    try:
        # Empty is what an unset variable comes to: TDSYS_REDIS_URL counts then.
        if value:
            parsed(value)
    except ValueError as wrong:
        return f" cannot be used: {wrong}"
    return ""


def _durability(value: object) -> str:
    return "" if value in DURABILITIES else "; use 'spool' or 'memory'"


def _folder(value: object) -> str:
    is_path = isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str)
    return "" if is_path else "; use the path of a folder"


def _bytes(value: object) -> str:
    fits = _is_within(value, 1, float("inf"))
    return "" if fits else "; use a number of bytes above 0, such as 64 * 1024 * 1024"


def _share(value: object) -> str:
    return "" if _is_within(value, 0, 1) else "; use a number from 0 to 1"


def _mask(value: object) -> str:
    return "" if callable(value) else "; use a function that takes a document and returns one"


def _choice(value: object) -> str:
    return "" if isinstance(value, bool) else "; use True or False"


def _spool(value: object) -> str:
    fits = hasattr(value, "append") and hasattr(value, "take")
    return "" if fits else "; use a FileSpool or a MemorySpool"


def _key(value: object) -> str:
    return "" if isinstance(value, str) else " is no text; use what TDSYS_PROGRAM_KEY is there"


def _is_within(value: Any, least: float, most: float) -> bool:
    """Whether it is a number in that range; a truth value is none."""
    try:
        return not isinstance(value, bool) and bool(least <= value <= most)
    except (TypeError, ValueError, ArithmeticError):
        return False


CHECKS = {
    "redis_url": _address,
    "durability": _durability,
    "spool_dir": _folder,
    "spool_bytes": _bytes,
    "sample_rate": _share,
    "mask": _mask,
    "capture_failures": _choice,
    "spool": _spool,
    "program_key": _key,
}
NEVER_NONE = frozenset({"durability", "sample_rate", "capture_failures"})
# A message is logged: neither a password nor a key is shown in it.
SECRET = frozenset({"redis_url", "program_key"})
