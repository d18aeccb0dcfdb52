"""What a worker must not swallow, and the list in the broker where it is kept for a person.

The one rule: a message is read by nobody before `fault` has found nothing wrong with it. The list
is in the broker, not in Postgres: a worker's parent process waits for no database.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from tdsys.wire import PREFIX, Queue, Task

if TYPE_CHECKING:
    from redis import Redis

LIST = PREFIX + "quarantine"
COUNTER = PREFIX + "quarantined"
KEPT = 1000
HEAD_BYTES = 4096
# A bell of ours takes one, one of Celery's own a little more.
LARGEST_BYTES = 16 * 1024
LONGEST_HEADER = 2048
# A bell has about ten; how deep a Python can read differs from one to the next.
MOST_BRACKETS = 200
LONGEST_EXPIRY = timedelta(days=30)
FIELDS = {"body", "content-encoding", "content-type", "headers", "properties"}
EMBEDDED = {"callbacks", "errbacks", "chain", "chord"}
ID = re.compile(r"[!-~]{1,200}")


class Kept(NamedTuple):
    """One message in quarantine; `head` is the first 4 KB of its `size` bytes."""

    number: int
    at: str
    queue: str
    reason: str
    size: int
    sha256: str
    head: bytes


class _Fault(Exception):
    """Why a message is not let in."""


def fault(raw: bytes, queue: Queue) -> str | None:
    """What is wrong with a message found in `queue`; None for one of ours."""
    try:
        _check(raw, queue)
    except _Fault as found:
        return str(found)
    except Exception as bug:  # noqa: BLE001  # whatever is in it, the worker must not end of it
        return f"looking at it failed with {type(bug).__name__}"
    return None


def keep(client: Redis, raw: bytes, *, queue: str, reason: str) -> int:
    """Put a message into quarantine, the oldest beyond `KEPT` out of it; its number."""
    number: Any = client.incr(COUNTER)
    entry = {
        "number": number,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "queue": queue,
        "reason": reason,
        "size": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "head": base64.b64encode(raw[:HEAD_BYTES]).decode(),
    }
    with client.pipeline() as pipe:
        pipe.lpush(LIST, json.dumps(entry))
        pipe.ltrim(LIST, 0, KEPT - 1)
        pipe.execute()
    return int(number)


def count(client: Redis) -> int:
    """How many messages are in quarantine."""
    found: Any = client.llen(LIST)
    return int(found)


def listed(client: Redis, *, limit: int = KEPT) -> list[Kept]:
    """The newest messages in quarantine, newest first."""
    found: Any = client.lrange(LIST, 0, limit - 1)
    return [_read(entry) for entry in found]


def drop(client: Redis, pieces: Collection[bytes]) -> int:
    """Take those out that quote one of these; how many."""
    entries: Any = client.lrange(LIST, 0, -1)
    told = [one for one in entries if any(piece in _read(one).head for piece in pieces)]
    return sum(int(client.lrem(LIST, 1, one)) for one in told)


def clear(client: Redis) -> int:
    """Empty the quarantine; how many messages there were."""
    with client.pipeline() as pipe:
        pipe.llen(LIST)
        pipe.delete(LIST)
        found: list[Any] = pipe.execute()
    return int(found[0])


def _read(entry: bytes) -> Kept:
    found = json.loads(entry)
    return Kept(**{**found, "head": base64.b64decode(found["head"])})


def _check(raw: bytes, queue: Queue) -> None:
    if len(raw) > LARGEST_BYTES:
        raise _Fault(f"larger than {LARGEST_BYTES} bytes")
    message = _json(raw, "the message")
    if not isinstance(message, dict) or set(message) != FIELDS:
        raise _Fault("not the envelope of a task")
    if (message["content-type"], message["content-encoding"]) != ("application/json", "utf-8"):
        raise _Fault("its content is not JSON in UTF-8")
    _check_headers(_plain(message["headers"], "headers"), queue)
    _check_properties(message["properties"], queue)
    _check_body(message["body"])


def _json(raw: bytes, what: str) -> Any:
    if raw.count(b"[") + raw.count(b"{") > MOST_BRACKETS:
        raise _Fault(f"{what} is nested too deeply")
    try:
        return json.loads(raw.decode(), object_hook=_untyped)
    except ValueError:
        raise _Fault(f"{what} is not JSON") from None


def _untyped(found: dict[str, Any]) -> dict[str, Any]:
    """Refuse what kombu would turn into an object; seen even where a later key hides it."""
    if "__type__" in found:
        raise _Fault("it names a type to be made")
    return found


def _plain(found: object, what: str) -> dict[str, Any]:
    """A mapping of names to short scalars: workers, logs and monitors keep them in memory."""
    if not isinstance(found, dict):
        raise _Fault(f"its {what} are missing or no mapping")
    for name, value in found.items():
        if not _is_small(name) or not _is_small(value):
            raise _Fault(f"one of its {what} is no short text or number: {name[:40]!r}")
    return found


def _is_small(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_HEADER and value.isprintable()
    return value is None or isinstance(value, bool | int | float) or value in ([], {}, [None, None])


def _check_headers(headers: dict[str, Any], queue: Queue) -> None:
    if headers.get("compression"):
        raise _Fault("it is compressed")
    if headers.get("task") not in [task.value for task in Task if task.queue is queue]:
        raise _Fault("its task is none of this queue's")
    if not _is_id(headers.get("id")):
        raise _Fault("its id is missing or no id")
    if headers.get("retries") or headers.get("eta"):
        raise _Fault("it wants to wait, or to be a second try")
    if headers.get("timelimit") not in (None, [None, None]):
        raise _Fault("it brings a time limit of its own")
    if not _is_near(headers.get("expires")):
        raise _Fault("it expires at no time that makes sense")


def _check_properties(properties: object, queue: Queue) -> None:
    if not isinstance(properties, dict):
        raise _Fault("its properties are missing or no mapping")
    delivery = _plain(properties.get("delivery_info"), "delivery properties")
    given = _plain({**properties, "delivery_info": None}, "properties")
    if delivery.get("routing_key") != queue.value or delivery.get("exchange") not in ("", queue):
        raise _Fault("it is addressed to another queue")
    if given.get("body_encoding") != "base64":
        raise _Fault("its body is not in base64")
    if not _is_id(given.get("delivery_tag")):
        raise _Fault("its delivery_tag is missing or no id")
    if not _is_count(given.get("priority", 0)):
        raise _Fault("its priority is no number")


def _check_body(body: object) -> None:
    """No task of ours takes an argument: its work is in Postgres, or in the captures' stream."""
    try:
        found: Any = _json(base64.b64decode(str(body), validate=True), "its body")
    except ValueError:
        raise _Fault("its body is not in base64") from None
    match found:
        case [[], dict(arguments), dict(embedded)]:
            pass
        case _:
            raise _Fault("its body is not that of a task")
    if arguments:
        raise _Fault("it brings arguments")
    if not set(embedded) <= EMBEDDED or any(embedded.values()):
        raise _Fault("it wants more done than its task")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(ID.fullmatch(value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 10**6


def _is_near(expires: object) -> bool:
    """Whether a message without or with this end is one that beat may have sent."""
    if expires is None:
        return True
    try:
        at = datetime.fromisoformat(expires if isinstance(expires, str) else "")
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return abs(at - datetime.now(UTC)) < LONGEST_EXPIRY
    except (ValueError, OverflowError):
        return False
