"""Which difficulty is harder than which, as far as their names or a policy's list tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

USUAL = ("very easy", "easy", "medium", "hard", "very hard")
_NUMBER = re.compile(r"[0-9]+")


def easier_first(names: Iterable[str], listed: Sequence[str]) -> list[str]:
    """Difficulties in order; without those of which nobody can tell.

    The usual words by what they mean, `grade 3` and `grade 4` by their numbers, others as a policy
    has them `listed`.
    """
    found = sorted(set(names))
    if set(found) <= set(USUAL):
        return sorted(found, key=USUAL.index)
    words = {_NUMBER.sub("#", one) for one in found}
    if len(words) == 1 and words.pop().count("#") == 1:
        return sorted(found, key=lambda one: int(_NUMBER.findall(one)[0]))
    return [one for one in listed if one in found]


def beside(
    difficulty: str, names: Iterable[str], listed: Sequence[str], *, harder: bool
) -> list[str]:
    """Those of `names` that are harder, or easier, than a difficulty, the nearest first."""
    order = easier_first({*names, difficulty}, listed)
    if difficulty not in order:
        return []
    place = order.index(difficulty)
    return order[place + 1 :] if harder else order[:place][::-1]
