"""What each example contributes as a demo: which subsets to try, and what the answer looks like.

The method is a datamodel of random subsets (Ilyas et al. 2022, arXiv 2202.00622; for demos Chang
and Jia, ACL 2023, arXiv 2212.10378): prompts with many different random sets of demos are each
asked a few validation requests, and the scores are regressed on who was in the prompt. The
regression itself is `tdsys.core.estimating`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from tdsys.core.policy import Signature
from tdsys.core.program import Grader, Item, ItemScore

# Sizes must vary: in subsets of one size effects are only relative to each other. Larger ones
# tell more for a call; beyond 14 demos prompts get long and effects saturate.
FEWEST_DEMOS, MOST_DEMOS = 2, 14
# Few requests a subset, many subsets. Two would be kinder to a provider's prompt cache, but find
# 0.90 and 0.94 of the planted helpful and harmful instead of 0.92 and 0.96 for the same calls.
REQUESTS_PER_SUBSET = 1
# The largest of three draws: every size occurs, and the telling ones more often.
DRAWS_OF_SIZE = 3
# With more candidates than this a budget that anybody pays says nothing about most of them.
MOST_CANDIDATES = 100
FEWEST_CANDIDATES = 4
CALLS_PER_CANDIDATE, MOST_CALLS = 40, 4000
# Of the scores of single answers around their request's mean, as measured on binary scores.
VARIANCE = 0.24
WANTED_ERROR = 0.03
# Effects of less than this, in points of the score, are not worth anybody's attention.
NEGLIGIBLE = 0.05
# Of those that are called helpful or harmful, at most this share may be so by chance alone.
FALSE_SHARE = 0.05
CONFIDENCE = 0.95


class Effect(StrEnum):
    """What the evidence says of an example as a demo."""

    HELPFUL = "helpful"
    HARMFUL = "harmful"
    NEUTRAL = "neutral"
    UNKNOWN = "unknown"


class Contribution(BaseModel):
    """What one example does to the score of a prompt it is in, in points of [0, 1].

    Without an interval (nor a value) there is not enough evidence; `n` is how many scores it had
    a part in. The interval is for this example alone and 95 %.
    """

    model_config = ConfigDict(frozen=True)

    example: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    verdict: Effect
    n: int


class Probe(NamedTuple):
    """One prompt to try: these examples as demos, in this order, asked these items' requests."""

    demos: tuple[str, ...]
    items: tuple[str, ...]


class Row(NamedTuple):
    """One score as evidence: who was in the prompt, which item was asked, what it came to.

    `context` is whatever else differed (the instruction, the dataset version), `subset` tells
    which scores are of one prompt and hence not independent.
    """

    demos: tuple[str, ...]
    item: str
    value: float
    context: str = ""
    subset: str = ""


class Candidate(NamedTuple):
    """An example that may be attributed: what prescreening goes by."""

    example: str
    cluster: int
    quality: float
    in_program: bool = False


def probes(pool: Sequence[str], items: Sequence[str], *, calls: int, seed: int) -> list[Probe]:
    """The subsets to try for so many calls: examples and items each dealt as from a deck.

    So each is met as often as any other, give or take one. The same arguments, the same probes.
    """
    draw = random.Random(seed)  # noqa: S311  # a design, not a secret
    examples, requests = _Deck(pool, draw), _Deck(items, draw)
    least, most = _sizes(len(pool))
    found = []
    while calls > 0:
        asked = min(REQUESTS_PER_SUBSET, len(items), calls)
        size = max(draw.randint(least, most) for _ in range(DRAWS_OF_SIZE))
        found.append(Probe(examples.deal(size), requests.deal(asked)))
        calls -= asked
    return found


def mean_size(pool: int) -> float:
    """How many demos a probe has on average, from a pool of that size."""
    least, most = _sizes(pool)
    n = most - least + 1
    chances = (((k + 1) / n) ** DRAWS_OF_SIZE - (k / n) ** DRAWS_OF_SIZE for k in range(n))
    return least + sum(k * chance for k, chance in enumerate(chances))


def _sizes(pool: int) -> tuple[int, int]:
    """The fewest and the most demos of a probe: two sizes at least, also of the smallest pool."""
    most = min(MOST_DEMOS, max(1, pool // 2))
    return min(FEWEST_DEMOS, max(1, most - 1)), most


def expected_error(calls: int, pool: int) -> float:
    """The standard error of a contribution to expect from so many calls, in points.

    An example is in a share q of the prompts, so SE = sqrt(0.24 / (calls q (1 - q))).
    """
    q = mean_size(pool) / pool
    return math.sqrt(VARIANCE / (calls * q * (1 - q))) if calls > 0 else math.inf


def calls_for(error: float, pool: int) -> int:
    """How many calls bring the standard error down to this."""
    q = mean_size(pool) / pool
    return math.ceil(VARIANCE / (error**2 * q * (1 - q)))


def usual_calls(pool: int) -> int:
    """The budget where nobody names one."""
    return min(CALLS_PER_CANDIDATE * pool, MOST_CALLS)


def prescreened(candidates: Sequence[Candidate], *, most: int = MOST_CANDIDATES) -> list[str]:
    """At most so many: the live program's demos, then the best of each cluster, then the rest."""
    best: dict[int, Candidate] = {}
    for one in sorted(candidates, key=_rank):
        best.setdefault(one.cluster, one)
    represents = {one.example for one in best.values()}
    ordered = sorted(
        candidates, key=lambda one: (not one.in_program, one.example not in represents, _rank(one))
    )
    return sorted(one.example for one in ordered[:most])


def _rank(one: Candidate) -> tuple[float, str]:
    return -one.quality, one.example


def verdicts(
    values: Sequence[tuple[float, float, float, float]], *, share: float = FALSE_SHARE
) -> list[Effect]:
    """A verdict for each (value, low, high, p): false discoveries held below `share`.

    Benjamini and Hochberg 1995, over all that are tested together.
    """
    ranked = sorted(range(len(values)), key=lambda place: values[place][3])
    passed = 0
    for rank, place in enumerate(ranked, start=1):
        if values[place][3] <= share * rank / len(values):
            passed = rank
    found = set(ranked[:passed])
    return [_verdict(one, discovered=place in found) for place, one in enumerate(values)]


def _verdict(one: tuple[float, float, float, float], *, discovered: bool) -> Effect:
    value, low, high, _ = one
    if discovered:
        return Effect.HELPFUL if value > 0 else Effect.HARMFUL
    return Effect.NEUTRAL if low > -NEGLIGIBLE and high < NEGLIGIBLE else Effect.UNKNOWN


class _Deck:
    """Deals cards evenly; within one hand each is different."""

    def __init__(self, cards: Sequence[str], draw: random.Random) -> None:
        self._cards, self._draw = list(cards), draw
        self._left: list[str] = []

    def deal(self, count: int) -> tuple[str, ...]:
        hand: list[str] = []
        while len(hand) < count:
            hand.append(next(self._next(hand)))
        return tuple(hand)

    def _next(self, hand: Sequence[str]) -> Iterator[str]:
        """The next card that is not in the hand; a new deck goes below what is left."""
        while True:
            for place, card in enumerate(self._left):
                if card not in hand:
                    yield self._left.pop(place)
            self._left += self._draw.sample(self._cards, len(self._cards))


class Probed(NamedTuple):
    """What one probe came to, item by item, and how many answers were asked for."""

    scores: tuple[ItemScore, ...]
    calls: int


class Prober(Protocol):
    """Tries prompts with given demos; the only implementation lives with DSPy."""

    @property
    def model(self) -> str:
        """The model that answers, as stored with every result."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether that model is the offline one."""
        ...

    def probe(
        self,
        signature: Signature,
        tries: Sequence[tuple[Sequence[Item], Sequence[Item]]],
        *,
        grader: Grader,
        should_stop: Callable[[], bool],
    ) -> list[Probed]:
        """Score prompts, each (demos, items to ask), in order.

        An answer that cannot be read has value None and the error. Cancelled when `should_stop`
        said so, ModelUnavailable when the model does not answer.
        """
        ...
