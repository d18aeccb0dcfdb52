"""How often an answer is right, by how many independent solutions of its problem say the same.

One rule: no estimate is judged by the questions it was made of, nor an interval by solutions of
one question as if they were of many.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from tdsys.core.agreement import wilson
from tdsys.core.reliability import FOLDS, Point, brier, expected_error

STRENGTHS = (0.5, 2, 8, 32, 128)


class Agreement(NamedTuple):
    """So many of so many independent solutions say the stated answer."""

    agree: int
    of: int


class Stated(NamedTuple):
    """An answer to a numbered question, whose it is, what solvers said, and whether it is right.

    Where its solvers can be asked in several orders it comes once for each, with a part of its
    weight.
    """

    question: int
    maker: str
    said: Agreement
    right: bool
    weight: float = 1.0


class Estimated(NamedTuple):
    """The share of right answers among `n` with one agreement, and its 95 % interval."""

    said: Agreement
    n: float
    value: float
    low: float
    high: float


class Maker(NamedTuple):
    """One maker's answers: how many are right, and what the others' say of its own.

    `foretold` is the mean chance that the other makers' answers give to this one's that pass,
    `passing` the share of those that is right.
    """

    maker: str
    n: int
    right: float
    passing: float | None
    foretold: float | None


class Calibrated(NamedTuple):
    """What agreement is worth: shares, and how far off they are on questions they have not seen.

    Brier scores of saying the overall share always (`prior`), the share of solutions that agree
    (`raw`), and the best `method`, chosen anew without the held-out questions; `error` is the
    expected calibration error of the last.
    """

    questions: int
    answers: int
    right: float
    shares: list[Estimated]
    method: str
    prior: float
    raw: float
    held_out: float
    error: float
    makers: list[Maker]


Chances = Mapping[Agreement, float]
Fit = Callable[[Sequence[Stated]], Chances]


def calibrate(stated: Sequence[Stated], *, passing: Callable[[Agreement], bool]) -> Calibrated:
    """The worth of agreement among answers of at least FOLDS questions; some right, some not."""
    right = _share(stated)
    chosen = _best(stated)
    held = _held_out(stated, lambda rest: METHODS[_best(rest)](rest))
    return Calibrated(
        questions=len({one.question for one in stated}),
        answers=round(sum(one.weight for one in stated)),
        right=right,
        shares=estimates(stated),
        method=chosen,
        prior=_brier([Point(right, one.right, one.weight) for one in stated]),
        raw=_brier([Point(one.said.agree / one.said.of, one.right, one.weight) for one in stated]),
        held_out=_brier(held),
        error=expected_error(held) or 0.0,
        makers=[_maker(name, stated, passing) for name in sorted({one.maker for one in stated})],
    )


def estimates(stated: Iterable[Stated]) -> list[Estimated]:
    """The share right for each agreement, the most first.

    Wilson's interval of the effective number: what as many independent answers would be worth, by
    the variance between questions (Kish, Survey Sampling, 1965; ratio estimate).
    """
    by_question: dict[Agreement, dict[int, list[float]]] = defaultdict(dict)
    for one in stated:
        told = by_question[one.said].setdefault(one.question, [0.0, 0.0])
        told[0] += one.weight
        told[1] += one.weight * one.right
    found = [_estimated(said, list(told.values())) for said, told in by_question.items()]
    return sorted(found, key=lambda one: (-one.said.agree / one.said.of, one.said.of))


def _estimated(said: Agreement, counts: Sequence[Sequence[float]]) -> Estimated:
    n = sum(count for count, _ in counts)
    value = sum(right for _, right in counts) / n
    spread = sum((right - value * count) ** 2 for count, right in counts) / n**2
    # Of one kind only there is no spread; then every question counts once.
    effective = value * (1 - value) / spread if spread else float(len(counts))
    found = wilson(value * effective, effective)
    assert found is not None  # noqa: S101  # there is at least one
    return Estimated(said, n, value, found.low, found.high)


def _maker(name: str, stated: Sequence[Stated], passing: Callable[[Agreement], bool]) -> Maker:
    own = [one for one in stated if one.maker == name]
    others = [one for one in stated if one.maker != name]
    passed = [one for one in own if passing(one.said)]
    total = sum(one.weight for one in passed)
    foretold = None
    if total and others:
        chances = METHODS[_best(others)](others)
        prior = _share(others)
        foretold = sum(one.weight * chances.get(one.said, prior) for one in passed) / total
    return Maker(
        name,
        round(sum(one.weight for one in own)),
        _share(own),
        _share(passed) if total else None,
        foretold,
    )


def _share(stated: Sequence[Stated]) -> float:
    return math.fsum(one.weight for one in stated if one.right) / math.fsum(
        one.weight for one in stated
    )


def _brier(points: Sequence[Point]) -> float:
    return brier(points) or 0.0


def _held_out(stated: Sequence[Stated], fit: Fit) -> list[Point]:
    """Every answer with the chance that answers to other questions give it."""
    points: list[Point] = []
    for fold in range(FOLDS):
        rest = [one for one in stated if one.question % FOLDS != fold]
        held = [one for one in stated if one.question % FOLDS == fold]
        chances, prior = fit(rest), _share(rest)
        points += [Point(chances.get(one.said, prior), one.right, one.weight) for one in held]
    return points


def _best(stated: Sequence[Stated]) -> str:
    """The method whose chances are nearest on held-out questions."""
    # Folds of folds would be the same questions again, so the inner ones are numbered anew.
    order = {question: n for n, question in enumerate(sorted({one.question for one in stated}))}
    inner = [one._replace(question=order[one.question]) for one in stated]
    return min(METHODS, key=lambda name: _brier(_held_out(inner, METHODS[name])))


def _counted(stated: Iterable[Stated]) -> dict[Agreement, tuple[float, float]]:
    found: dict[Agreement, tuple[float, float]] = {}
    for one in stated:
        n, right = found.get(one.said, (0.0, 0.0))
        found[one.said] = n + one.weight, right + one.weight * one.right
    return found


def _drawn_to_all(stated: Sequence[Stated], *, strength: float) -> Chances:
    """Beta-binomial: each share drawn to the overall one as if by `strength` more answers."""
    prior = _share(stated)
    return {
        said: (right + strength * prior) / (n + strength)
        for said, (n, right) in _counted(stated).items()
    }


def _rising(stated: Sequence[Stated]) -> Chances:
    """Isotonic: more agreement is never less likely right (Ayer et al. 1955, pooled violators)."""
    found = sorted(_counted(stated).items(), key=lambda one: one[0].agree / one[0].of)
    pools: list[tuple[list[Agreement], float, float]] = []
    for said, (n, right) in found:
        pools.append(([said], n, right))
        while len(pools) > 1 and pools[-2][2] * pools[-1][1] >= pools[-1][2] * pools[-2][1]:
            last, before = pools.pop(), pools.pop()
            pools.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    return {said: right / n for names, n, right in pools for said in names}


METHODS: Mapping[str, Fit] = {
    "isotonic": _rising,
    **{f"beta-binomial, {s:g}": partial(_drawn_to_all, strength=s) for s in STRENGTHS},
}
