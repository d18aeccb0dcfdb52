"""How far a check can be trusted: precision and recall on examples whose label is known.

One rule: a share always comes with how many it is a share of and with its interval; of nothing it
is None.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from tdsys.core.rubric import Outcome, Verdict

Z_95 = 1.959964
ANY = "any"
FLAGS = (Outcome.FAILED, Outcome.SUSPICIOUS)


class Labelled(NamedTuple):
    """What the verifier said of an example; `kind` is what is wrong with it, None: nothing."""

    kind: str | None
    verdict: Verdict


class Share(NamedTuple):
    """`hits` of `n`, and between what the true share lies with 95 %."""

    hits: int
    n: int
    value: float | None
    low: float | None
    high: float | None


class CheckRecord(NamedTuple):
    """One check with one outcome (`any` check: at least one of them).

    `precision` is the share of faulty ones among the flagged, `recall` that of flagged among the
    faulty, `false_alarms` that of flagged among the sound.
    """

    check: str
    outcome: str
    precision: Share
    recall: Share
    false_alarms: Share


class KindRecord(NamedTuple):
    """What was flagged of one kind of fault."""

    kind: str
    failed: Share
    flagged: Share


class Precision(NamedTuple):
    """A verifier's record on one set of examples."""

    examples: int
    faulty: int
    checks: list[CheckRecord]
    kinds: list[KindRecord]


def share(hits: int, n: int) -> Share:
    """A share with Wilson's score interval (Wilson, 1927; Brown, Cai and DasGupta, 2001)."""
    if not n:
        return Share(hits, n, None, None, None)
    p, z2 = hits / n, Z_95 * Z_95
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Share(hits, n, p, max(0.0, middle - half), min(1.0, middle + half))


class Tally:
    """Verdicts counted one by one: nothing of an example is kept."""

    def __init__(self) -> None:
        self._labels: Counter[str | None] = Counter()
        self._flagged: Counter[tuple[str, Outcome, bool]] = Counter()
        self._kinds: Counter[tuple[str, bool]] = Counter()
        self._order: dict[str, None] = {}

    def add(self, one: Labelled) -> None:
        """Count one verdict."""
        is_faulty = one.kind is not None
        self._labels[one.kind] += 1
        self._order |= dict.fromkeys(check.name for check in one.verdict.checks)
        seen = {(check.name, check.outcome) for check in one.verdict.checks}
        seen |= {(ANY, outcome) for _, outcome in seen}
        self._flagged.update([(*pair, is_faulty) for pair in seen if pair[1] in FLAGS])
        if one.kind is not None:
            self._kinds[one.kind, True] += (ANY, Outcome.FAILED) in seen
            self._kinds[one.kind, False] += any((ANY, outcome) in seen for outcome in FLAGS)

    def result(self) -> Precision:
        """What it came to; a check that flagged nothing with an outcome is not in it."""
        sound = self._labels[None]
        faulty = self._labels.total() - sound
        checks = [
            self._record(name, outcome, sound, faulty)
            for name in [*self._order, ANY]
            for outcome in FLAGS
            if self._flagged[name, outcome, True] + self._flagged[name, outcome, False]
        ]
        kinds = sorted(kind for kind in self._labels if kind is not None)
        return Precision(self._labels.total(), faulty, checks, list(map(self._kind, kinds)))

    def _record(self, name: str, outcome: Outcome, sound: int, faulty: int) -> CheckRecord:
        right, wrong = self._flagged[name, outcome, True], self._flagged[name, outcome, False]
        return CheckRecord(
            check=name,
            outcome=outcome.value,
            precision=share(right, right + wrong),
            recall=share(right, faulty),
            false_alarms=share(wrong, sound),
        )

    def _kind(self, kind: str) -> KindRecord:
        n = self._labels[kind]
        return KindRecord(
            kind, share(self._kinds[kind, True], n), share(self._kinds[kind, False], n)
        )
