"""Publish policies; what comes after them follows them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue, ValidationError

from tdsys.core.compatibility import Conflict, unlabelled
from tdsys.core.mistakes import first_mistake
from tdsys.core.policy import Difference, Policy, differences
from tdsys.errors import InvalidInput
from tdsys.store import Store, examples, policies, vectors
from tdsys.store.policies import Version

SEEN = 200


class Change(NamedTuple):
    """What putting a policy in force does; `version` is the one in force, 0 for a new domain.

    `warnings` are no mistakes, but with the examples that are there nothing would come of it.
    """

    domain: str
    version: int
    made: bool
    differences: list[Difference]
    warnings: list[Conflict]

    @property
    def next(self) -> int:
        """The version that it makes; a new domain begins with the default policy as the first."""
        if self.made:
            return 2 if self.differences else 1
        return self.version + bool(self.differences)


def put(store: Store, *, domain: str, policy: Policy, author: str, now: datetime) -> int:
    """Make `policy` the current version of `domain`, creating the domain; the version number.

    InvalidInput for an embedder where pgvector is not to be had.
    """
    with store.begin() as tx:
        if policy.embedder is not None:
            vectors.provide(tx)
        return policies.put(tx, domain=domain, policy=policy, author=author, now=now)


def apply(
    store: Store, *, domain: str, policy: Policy, author: str, now: datetime, dry_run: bool = False
) -> Change:
    """The same, but the version in force stays when it says the very same."""
    change = compare(store, domain=domain, policy=policy)
    if dry_run:
        if policy.embedder is not None:
            with store.begin() as tx:
                vectors.provide(tx, keep=False)
        return change
    if change.differences:
        number = put(store, domain=domain, policy=policy, author=author, now=now)
        return change._replace(version=number)
    with store.begin() as tx:
        policies.ensure_domain(tx, domain=domain, now=now)
    return change._replace(version=change.next)


def compare(store: Store, *, domain: str, policy: Policy) -> Change:
    """What would change; nothing does."""
    with store.begin() as tx:
        known = policies.currents(tx, names=[domain])
        seen = examples.newest(tx, domain=domain, limit=SEEN) if policy.signature else []
    version, before = known.get(domain, (0, Policy()))
    changed = differences(before.model_dump(mode="json"), policy.model_dump(mode="json"))
    warnings = unlabelled(policy.signature, seen) if policy.signature else []
    return Change(domain, version, domain not in known, changed, warnings)


def version(store: Store, *, domain: str, number: int | None = None) -> Version:
    """One version, by default the one in force; InvalidInput when there is none."""
    with store.begin() as tx:
        found = policies.history(tx, domain=domain)
    for one in found:
        if number in {None, one.version}:
            return one
    raise InvalidInput(
        f"{domain} has no policy version {number}", remedy=f"use 1 to {found[0].version}"
    )


def readable(document: dict[str, JsonValue], *, where: str) -> Policy:
    """A stored document as this program's policy; InvalidInput when it has other fields."""
    try:
        return Policy.model_validate(document)
    except ValidationError as bad:
        field, what = first_mistake(bad)
        raise InvalidInput(
            f"{where} is of another program version: {field}: {what}",
            remedy="write it anew with `tdsys policy init` and apply that",
        ) from None
