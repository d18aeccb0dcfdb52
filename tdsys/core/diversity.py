"""How varied a set of problems is, in numbers that fall when the same comes again.

One rule: what cannot be said of a set (of nothing, or of one cell) is None, never a number.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from tdsys.core.example import Cell, level
from tdsys.core.sketching import Sketch, sketch

# Comparing every two of them takes a second.
LARGEST_SAMPLE = 1000

_WORDS = re.compile(r"\w+")


class Piece(NamedTuple):
    """What of an example counts here."""

    problem: str
    cluster: int
    cell: Cell


class Diversity(NamedTuple):
    """`vendi`, `distinct_2` and `distinct_4` are of `sample` problems, the rest of all.

    `vendi` is how many wholly different problems would be as varied, `vendi_share` that of the
    sample; `entropy` is 1 where every topic has as many of every difficulty.
    """

    examples: int
    sample: int
    vendi: float | None
    vendi_share: float | None
    distinct_2: float | None
    distinct_4: float | None
    clusters: int
    cluster_ratio: float | None
    largest_cluster: int
    cells: int
    entropy: float | None


def measure(pieces: Sequence[Piece]) -> Diversity:
    """The metrics of a set; a large one is sampled evenly, in the order it has."""
    problems = [one.problem for one in sampled(pieces)]
    sizes = Counter(one.cluster for one in pieces)
    effective = vendi([sketch(problem) for problem in problems])
    return Diversity(
        examples=len(pieces),
        sample=len(problems),
        vendi=effective,
        vendi_share=None if effective is None else effective / len(problems),
        distinct_2=distinct(problems, 2),
        distinct_4=distinct(problems, 4),
        clusters=len(sizes),
        cluster_ratio=len(sizes) / len(pieces) if pieces else None,
        largest_cluster=max(sizes.values(), default=0),
        cells=len({one.cell for one in pieces}),
        entropy=entropy([one.cell for one in pieces]),
    )


def sampled(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """At most LARGEST_SAMPLE of them, at even distances."""
    if len(pieces) <= LARGEST_SAMPLE:
        return pieces
    return [pieces[n * len(pieces) // LARGEST_SAMPLE] for n in range(LARGEST_SAMPLE)]


def vendi(sketches: Sequence[Sketch]) -> float | None:
    """The Vendi score of order 2 over the cosine of words and pairs of neighbours.

    The Rényi entropy of order 2 of the kernel's eigenvalues needs none of them: their squares add
    up to the squares of its entries (Friedman and Dieng, The Vendi Score, 2023; Pasarkar and
    Dieng, Cousins of the Vendi Score, 2024).
    """
    if not sketches:
        return None
    times = Counter(one.template for one in sketches)
    different = list({one.template: one for one in sketches}.values())
    many = [times[one.template] for one in different]
    total = float(sum(n * n for n in many))
    postings: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for place, one in enumerate(different):
        common: dict[int, float] = defaultdict(float)
        length = math.hypot(*one.wording.values())
        for feature, heavy in one.wording.items():
            part = heavy / length
            for other, their_part in postings[feature]:
                common[other] += part * their_part
            postings[feature].append((place, part))
        alike = sum(many[other] * cosine * cosine for other, cosine in common.items())
        total += 2 * many[place] * alike
    return len(sketches) ** 2 / total


def distinct(problems: Sequence[str], n: int) -> float | None:
    """The share of runs of `n` words that are the first of their kind (Li et al., 2016)."""
    words = [_WORDS.findall(level(problem)) for problem in problems]
    runs = [tuple(one[at : at + n]) for one in words for at in range(len(one) - n + 1)]
    return len(set(runs)) / len(runs) if runs else None


def entropy(cells: Sequence[Cell]) -> float | None:
    """How even topics × difficulties are, of 0 to 1; None where there is one cell only.

    Of the grid of every topic and difficulty that is there, so an empty cell of it counts.
    """
    grid = len({one.topic for one in cells}) * len({one.difficulty for one in cells})
    if grid <= 1:
        return None
    shares = [n / len(cells) for n in Counter(cells).values()]
    return -sum(share * math.log(share) for share in shares) / math.log(grid)
