"""Where active programs lie in Redis for generators: one hash a domain, the service's alone.

One rule: what lies there is never the only copy. Postgres has it, and beat puts it back.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tdsys import wire
from tdsys.errors import BrokerUnavailable


class Shelf:
    """Documents by domain; every method raises BrokerUnavailable while Redis is away."""

    def __init__(self, broker: Redis, *, secret: str = "") -> None:
        self._broker = broker
        self._secret = secret.encode()

    def holds(self, documents: Sequence[tuple[str, bytes]]) -> list[bool]:
        """Of each domain, whether that very document lies there, signed as it would be now."""
        with _in_our_words(), self._broker.pipeline(transaction=False) as pipe:
            for domain, _ in documents:
                key: Any = wire.program_key(domain)
                names: Any = (wire.ETAG_FIELD, wire.SIGNATURE_FIELD)
                pipe.hmget(key, names)
                pipe.hstrlen(key, wire.DOCUMENT_FIELD)
            # What is no hash is an answer, too: nothing of ours lies there.
            found = iter(pipe.execute(raise_on_error=False))
        return [
            (next(found), next(found))
            == ([etag(document), self._signature(document) or None], len(document))
            for _, document in documents
        ]

    def put(self, domain: str, document: bytes) -> None:
        """Lay a document down in place of what was there, at once."""
        fields: Any = {wire.DOCUMENT_FIELD: document, wire.ETAG_FIELD: etag(document)}
        if self._secret:
            fields[wire.SIGNATURE_FIELD] = self._signature(document)
        key = wire.program_key(domain)
        with _in_our_words(), self._broker.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.hset(key, mapping=fields)
            pipe.execute()

    def _signature(self, document: bytes) -> bytes:
        if not self._secret:
            return b""
        return hmac.digest(self._secret, document, "sha256").hex().encode()


def etag(document: bytes) -> bytes:
    """What names a document: SHA-256, in hexadecimal."""
    return hashlib.sha256(document).hexdigest().encode()


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except RedisError as away:
        raise BrokerUnavailable(
            f"the broker does not take programs: {type(away).__name__}",
            remedy="it is tried again",
        ) from away
