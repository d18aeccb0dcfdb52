"""What a person should know about the broker a stack runs on, ours or one that was given.

The one rule: looking never fails and never waits long; what cannot be seen is said.
"""

from __future__ import annotations

from typing import NamedTuple

from redis.exceptions import RedisError

from tdsys import broker, quarantine

PATIENCE = 2.0


class BrokerLook(NamedTuple):
    """Messages in quarantine, None if not countable, and what speaks against the broker."""

    quarantined: int | None
    doubts: tuple[str, ...]

    @classmethod
    def at(cls, url: str) -> BrokerLook:
        """Look at the broker at `url`."""
        try:
            client = broker.connect(url, socket_timeout=PATIENCE, connect_timeout=PATIENCE)
        except ValueError as bad:
            return cls(None, (str(bad),))
        with client:
            try:
                return cls(quarantine.count(client), tuple(broker.doubts(client)))
            except RedisError as away:
                return cls(None, (f"it does not answer ({type(away).__name__})",))

    def lines(self) -> list[str]:
        """What to show; nothing where nothing is amiss."""
        kept = f"{self.quarantined} messages in quarantine: tdsys quarantine list"
        return [*([kept] if self.quarantined else []), *self.doubts]
