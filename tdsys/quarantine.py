"""What a worker must not swallow, and the list in the broker where it is kept for a person.

The one rule: a message is read by nobody before `fault` has found nothing wrong with it. The list
is in the broker, not in Postgres: a worker's parent process waits for no database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from tdsys.wire import PREFIX, Queue, Task

if TYPE_CHECKING:
    from redis import Redis

LIST = PREFIX + "quarantine"
COUNTER = PREFIX + "quarantined"
KEPT = 1000
HEAD_BYTES = 4096
# A full batch of the client is 0.9 MB, 2.6 MB where every character takes an escape.
LARGEST_BYTES = 4 * 1024 * 1024
# The body is base64, so an envelope of ours has few; parsing a million would cost memory.
MOST_BRACKETS = 4096
LONGEST_HEADER = 2048
# The workers' own retries wait for 30 s; the rest is for clocks that differ.
LONGEST_AHEAD = timedelta(minutes=10)
LONGEST_EXPIRY = timedelta(days=30)
FIELDS = {"body", "content-encoding", "content-type", "headers", "properties"}
EMBEDDED = {"callbacks", "errbacks", "chain", "chord"}
ARGUMENTS: dict[Task, set[str]] = {Task.INGEST: {"batch_id", "records"}}
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
    if raw.count(b"[") + raw.count(b"{") > MOST_BRACKETS:
        raise _Fault("an envelope with more brackets than ours have")
    message = _json(raw, "the message")
    if not isinstance(message, dict) or set(message) != FIELDS:
        raise _Fault("not the envelope of a task")
    if (message["content-type"], message["content-encoding"]) != ("application/json", "utf-8"):
        raise _Fault("its content is not JSON in UTF-8")
    headers = _plain(message["headers"], "headers")
    _check_headers(headers, queue)
    _check_properties(message["properties"], queue)
    _check_body(message["body"], Task(headers["task"]))


def _json(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw.decode(), object_hook=_untyped)
    except RecursionError:
        raise _Fault(f"{what} is nested too deeply") from None
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
    if not _is_count(headers.get("retries", 0)) or not _is_count(headers.get("unexpected", 0)):
        raise _Fault("its number of retries is no number")
    if headers.get("timelimit") not in (None, [None, None]):
        raise _Fault("it brings a time limit of its own")
    if _ahead(headers.get("eta"), "eta") > LONGEST_AHEAD:
        raise _Fault("it is due further ahead than any retry of ours")
    if abs(_ahead(headers.get("expires"), "expires")) > LONGEST_EXPIRY:
        raise _Fault("it expires at a time that makes no sense")


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


def _check_body(body: object, task: Task) -> None:
    try:
        found: Any = _json(base64.b64decode(str(body), validate=True), "its body")
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise _Fault("its body is not in base64") from None
    match found:
        case [[], dict(arguments), dict(embedded)]:
            _check_arguments(arguments, task)
        case _:
            raise _Fault("its body is not that of a task")
    if not set(embedded) <= EMBEDDED or any(embedded.values()):
        raise _Fault("it wants more done than its task")


def _check_arguments(arguments: dict[str, Any], task: Task) -> None:
    if set(arguments) != ARGUMENTS.get(task, set()):
        raise _Fault(f"its arguments are not those of {task.value}")
    if not all(isinstance(value, str) for value in arguments.values()):
        raise _Fault("an argument is not a text")
    if "batch_id" in arguments and not _is_id(arguments["batch_id"]):
        raise _Fault("its batch_id is no id")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(ID.fullmatch(value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 10**6


def _ahead(value: object, name: str) -> timedelta:
    """How far in the future a header's time is; zero where there is none."""
    if value is None:
        return timedelta()
    try:
        at = datetime.fromisoformat(value if isinstance(value, str) else "")
        return (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
    except (ValueError, OverflowError):
        raise _Fault(f"its {name} is no time") from None
