"""Which admitted examples a new one is made of: its cell's, easier or harder ones, or a crowd.

One rule: whoever approved it, what speaks to a model is no part of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from tdsys.core.batch import Kin, Maker, Parent, chosen
from tdsys.core.example import Cell
from tdsys.core.hardness import beside
from tdsys.core.policy import Policy
from tdsys.core.screening import steers
from tdsys.core.sketching import likeness, problem_of, sketch
from tdsys.store import Tx, counts, neighbours, parents

# So many neighbours of an example are looked through for those of its cell that are admitted.
LOOKED_THROUGH = 40


def drawn(tx: Tx, *, domain: str, cell: Cell, policy: Policy, kin: Kin, turn: int) -> list[Parent]:
    """Some that are fit, of many others at each `turn`; of the nearest difficulty that has any."""
    if kin in {Kin.EASIER, Kin.HARDER}:
        held = counts.admitted(tx, domain=domain)
        names = [one.difficulty for one, n in held.items() if one.topic == cell.topic and n]
        side = beside(cell.difficulty, names, policy.difficulties, harder=kin is Kin.HARDER)
        cells = [Cell(cell.topic, one) for one in side]
        pools = (parents.drawn(tx, domain=domain, cell=c, turn=turn, wider=False) for c in cells)
        return next((fit for pool in pools if (fit := _fit(pool))), [])
    is_crowd = kin is Kin.CROWD
    return _fit(parents.drawn(tx, domain=domain, cell=cell, turn=turn, drifting=is_crowd))


def shown(
    tx: Tx, pool: Sequence[Parent], maker: Maker, *, domain: str, cell: Cell, turn: int
) -> tuple[Parent, ...]:
    """What one attempt is shown of the pool; every turn begins with another one."""
    if maker.kin is not Kin.CROWD or not pool:
        return chosen(pool, maker.parents, turn)
    seed = pool[turn % len(pool)]
    found = neighbours.nearest(tx, example_id=seed.id, limit=LOOKED_THROUGH)
    near = parents.among(tx, domain=domain, cell=cell, ids=[one.example_id for one in found])
    crowd = {one.id: one for one in (seed, *_fit(near), *_most_alike(seed, pool))}
    return tuple(crowd.values())[: maker.parents]


def _most_alike(seed: Parent, pool: Sequence[Parent]) -> list[Parent]:
    """The pool by likeness to one of it: what the index does not find is less alike still."""
    own = sketch(problem_of(seed.outputs))
    return sorted(pool, key=lambda one: -likeness(own, sketch(problem_of(one.outputs))))


def _fit(pool: Sequence[Parent]) -> list[Parent]:
    return [one for one in pool if not steers(one.inputs, one.outputs)]
