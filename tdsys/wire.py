"""The contract between producers and workers: names, keys and the bytes of a message.

Standard library only, because the capture client carries it into other people's processes.
A task's queue is the part of its name before the dot.
"""

from __future__ import annotations

import json
import os
from binascii import b2a_base64
from enum import StrEnum

PREFIX = "tdsys:"
BELL_MILLISECONDS = 30_000
ACK_SECONDS = 86_400
PRODUCER_SECONDS = 86_400

# Why a record that was sent is not stored: the service does not take it, or has the same id with
# other content. A client counts it as dropped under that name.
REFUSED = "refused"
CONFLICTING = "conflicting"

# Captures wait in this stream; messages only say that there are some. An entry is one batch: its
# id, which makes sending it again harmless, and its records as the text of a JSON list.
CAPTURES = f"{PREFIX}captures"
INGESTING = "ingesting"
BATCH_FIELD = b"batch"
RECORDS_FIELD = b"records"

# Active programs lie in one hash a domain: a JSON document, its SHA-256, and, where the service has
# a key for that, the HMAC-SHA-256 of the document under it, both in hexadecimal.
PROGRAM_FORMAT = 1
PROGRAM_BYTES = 4_000_000
DOCUMENT_FIELD = b"document"
ETAG_FIELD = b"etag"
SIGNATURE_FIELD = b"signature"


class Queue(StrEnum):
    """The seven queues, named after stages."""

    CAPTURE = "capture"
    SYNTHESIS = "synthesis"
    SCORING = "scoring"
    IMPORTS = "imports"
    LIFECYCLE = "lifecycle"
    OPTIMIZATION = "optimization"
    REPORTS = "reports"


class Task(StrEnum):
    """Every task a worker knows."""

    INGEST = "capture.ingest"
    GENERATE = "synthesis.generate"
    SCORE = "scoring.score"
    PARSE = "imports.parse"
    PLAN = "lifecycle.plan"
    PRUNE = "lifecycle.prune"
    PUBLISH = "lifecycle.publish"
    OPTIMIZE = "optimization.run"
    ATTRIBUTE = "optimization.attribute"
    OPERATE = "lifecycle.operate"
    FRESHNESS = "reports.freshness"
    CATCH_UP = "reports.catch_up"
    ALERTS = "reports.alerts"
    DELIVER = "reports.deliver"
    DRIFT = "reports.drift"

    @property
    def queue(self) -> Queue:
        """The queue this task is sent to."""
        return Queue(self.value.partition(".")[0])


def bell_key(task: Task) -> str:
    """The Redis key that is set while a doorbell for `task` is on its way."""
    return f"{PREFIX}bell:{task.value}"


def acknowledgement_key(batch_id: str) -> str:
    """The Redis key a worker sets once the rows of a capture batch are committed."""
    return f"{PREFIX}ack:{batch_id}"


def acknowledgement(*, stored: int, conflicting: int) -> str:
    """What stands under that key: how many of its records are stored, and how many conflict."""
    return json.dumps({"stored": stored, CONFLICTING: conflicting})


def unstored(acknowledgement: bytes, size: int) -> dict[str, int]:
    """How many of a batch's records are not stored, by reason; empty when all are.

    Also for a text of another form, such as the "1" of an older worker.
    """
    try:
        told = json.loads(acknowledgement)
        stored, conflicting = int(told["stored"]), int(told[CONFLICTING])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return {}
    conflicting = min(max(0, conflicting), size)
    found = {REFUSED: size - conflicting - max(0, stored), CONFLICTING: conflicting}
    return {reason: count for reason, count in found.items() if count > 0}


def producer_key(producer: str) -> str:
    """The Redis key under which a capture client leaves its counts, as JSON, for a day."""
    return f"{PREFIX}producer:{producer}"


def program_key(domain: str) -> str:
    """The Redis hash in which the programs of a domain lie for generators."""
    return f"{PREFIX}program:{domain}"


def queue_key(queue: Queue) -> str:
    """The Redis list that holds the messages of `queue`."""
    return PREFIX + queue.value


def envelope(task: Task) -> bytes:
    """One Celery protocol-2 message, ready for LPUSH onto `queue_key(task.queue)`.

    The form is Celery's (docs: "Message Protocol", version 2) inside kombu's Redis envelope;
    an integration test has the pinned kombu and a real worker read it.
    """
    task_id = _uuid()
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[], {}, embed])
    message = {
        "body": b2a_base64(body.encode(), newline=False).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task.value,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": f"{os.getpid()}@{host()}",
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "ignore_result": True,
        },
        "properties": {
            "correlation_id": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": task.queue.value},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": _uuid(),
        },
    }
    return json.dumps(message).encode()


def host() -> str:
    """The name of this machine."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _uuid() -> str:
    """A random UUID; the module of that name would take a generator's import 20 ms longer."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
