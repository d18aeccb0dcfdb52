"""Limits of pace: one account may not take what all need."""

from __future__ import annotations

from datetime import datetime

from tdsys.core.pacing import Pace, Rate
from tdsys.core.people import Person
from tdsys.errors import NotReady
from tdsys.store import Store, paces


class TooSoon(NotReady):
    """It may be done, but only after `wait` seconds."""

    def __init__(self, message: str, wait: int) -> None:
        super().__init__(message, remedy=f"wait {wait} seconds, then try again")
        self.wait = wait


def keep(
    store: Store, person: Person, *, pace: Pace, rate: Rate, by_token: bool, now: datetime
) -> None:
    """Count what somebody does; TooSoon when it is more than the rate.

    The programs of an account share an allowance of their own: one that runs wild does not lock
    its person out, and many tokens are no way around.
    """
    who = f"{'tokens' if by_token else 'account'}:{person.id}"
    with store.begin() as tx:
        wait = paces.step(tx, who=who, pace=pace, rate=rate, now=now)
    if wait:
        raise TooSoon("this account has done a great deal in a short time", wait)
