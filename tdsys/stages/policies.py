"""Publish policies; what comes after them follows them."""

from __future__ import annotations

from datetime import datetime

from tdsys.core.policy import Policy
from tdsys.store import Store, policies


def put(store: Store, *, domain: str, policy: Policy, author: str, now: datetime) -> int:
    """Make `policy` the current version of `domain`, creating the domain; the version number."""
    with store.begin() as tx:
        policies.ensure_domain(tx, domain=domain, now=now)
        return policies.put(tx, domain=domain, policy=policy, author=author, now=now)
