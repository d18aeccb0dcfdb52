"""The doorbells in Redis: each says that there is work, and rings once however often it is rung.

One rule: a bell never fails whoever rings it. The work is a row; beat rings for what nobody heard.
"""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

from tdsys import wire


class Bells:
    """The doorbells, as one process rings and answers them."""

    def __init__(self, broker: Redis) -> None:
        self._broker = broker
        self._owed: set[wire.Task] = set()

    def ring(self, task: wire.Task) -> None:
        """Ring a bell unless it is ringing; a broker that is away is beat's business.

        A ring that failed half-way has left a silent bell: the next one of this process sounds it.
        """
        owed = task in self._owed
        self._owed.add(task)
        try:
            bell = wire.bell_key(task)
            if self._broker.set(bell, "1", nx=True, px=wire.BELL_MILLISECONDS) or owed:
                self._broker.lpush(wire.queue_key(task.queue), wire.envelope(task))
        except RedisError:
            return
        self._owed.discard(task)

    def answer(self, task: wire.Task) -> bool:
        """Clear the bell before looking for work, so that a ring meanwhile is not swallowed.

        Whether it rang; a broker that is away tells of none.
        """
        try:
            return bool(self._broker.delete(wire.bell_key(task)))
        except RedisError:
            return False
