"""Look among the examples: pages of them, one with all that is known of it, and what keeps up."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tdsys.core.browsing import Filter, Order, Place
from tdsys.errors import NotFound
from tdsys.stages.leases import Clock
from tdsys.store import Store, browsing, counts, histories, words
from tdsys.store.browsing import Page
from tdsys.store.histories import Whole
from tdsys.store.words import Near

BLOCK = 1000
BLOCKS = 50
NEAR = 10
CHOICES = 200
CHOSEN = ("topic", "difficulty", "reason")


class CaughtUp(NamedTuple):
    """How many examples became searchable, how many counts were added up; whether more wait."""

    indexed: int
    folded: int
    more: bool


class Told(NamedTuple):
    """One example as its page shows it."""

    example: Whole
    near: list[Near]


def page(
    store: Store,
    *,
    asked: Filter,
    order: Order,
    domains: Collection[str] | None,
    size: int,
    after: Place | None = None,
    before: Place | None = None,
) -> Page:
    """A part of the examples a filter means, of those in `domains` (None: all)."""
    with store.begin() as tx:
        return browsing.page(
            tx, asked=asked, order=order, domains=domains, size=size, after=after, before=before
        )


def choices(
    store: Store, *, asked: Filter, domains: Collection[str] | None
) -> dict[str, list[str]]:
    """What a person may choose from for each part of a filter: domains, then the commonest."""
    with store.begin() as tx:
        seen = browsing.seen_domains(tx, asked=Filter(), domains=domains)
        found = counts.values(tx, names=CHOSEN, domain=asked.domain, domains=domains)
    shown = {name: values[:CHOICES] for name, values in found.items()}
    return {"domain": seen[:CHOICES], **shown}


def not_searchable(store: Store) -> int:
    """About how many of the newest cannot be found by their words yet."""
    with store.begin() as tx:
        return words.behind(tx)


def example(store: Store, *, example_id: int, domains: Collection[str] | None) -> Told:
    """All that is known of one; NotFound where there is none, or none that may be seen."""
    with store.begin() as tx:
        found = histories.whole(tx, example_id=example_id)
        if found is None or (domains is not None and found.domain not in domains):
            raise NotFound(f"there is no example {example_id}", remedy="it may have been purged")
        return Told(found, words.near(tx, example_id=example_id, limit=NEAR))


def catch_up(store: Store, *, clock: Clock) -> CaughtUp:
    """Make a good many of the new examples searchable, and add up the counts."""
    indexed, last = 0, BLOCK
    for _ in range(BLOCKS):
        with store.begin() as tx:
            last = words.index(tx, limit=BLOCK, now=clock())
        indexed += last
        if last < BLOCK:
            break
    with store.begin() as tx:
        folded = counts.fold(tx)
    return CaughtUp(indexed, folded, more=last == BLOCK)
