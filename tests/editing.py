"""Edits that leave a problem what it is, more or less, to look for it again."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

NAMES = "Omar Priya Lena Tomas Yuki Fatima Diego Ingrid Kofi Mei Rashid Olga".split()  # noqa: SIM905
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
CAPITALISED = re.compile(r"\b[A-Z][a-z]+\b")
# Words that stand capitalised in a text without being a name.
NOT_NAMES = frozenset(
    """A After All An And Another Are As At Before Both But By Calculate Each Every Find First For
    From Given Had Has Have He Her His How If In Is It Its Later Let Many Next No Not Now Of On
    Once One Only Or Other Our Out Over She Since So Some Solve Suppose Than That The Their Then
    There These They This Those To Together Today Two Under Until Up Was We Were What When Where
    Which While Who Why Will With You Your I Three Four Five Six Seven Ten""".split()  # noqa: SIM905
)
OTHER_WORDS = {
    "buys": "purchases", "buy": "purchase", "bought": "purchased", "each": "apiece",
    "gives": "hands", "gave": "handed", "total": "overall", "altogether": "overall",
    "left": "remaining", "every": "per", "has": "owns", "have": "own", "had": "owned",
    "wants": "wishes", "many": "numerous", "much": "large", "needs": "requires",
    "makes": "produces", "make": "produce", "made": "produced", "sells": "trades",
    "sold": "traded", "cost": "price", "costs": "goes for", "money": "cash", "dollars": "bucks",
    "gets": "receives", "got": "received", "takes": "uses", "week": "seven-day", "hours": "hrs",
    "minutes": "mins", "friends": "pals", "friend": "pal", "twice": "double", "more": "additional",
    "also": "too", "spends": "uses", "people": "persons", "children": "kids", "bag": "sack",
    "bags": "sacks", "house": "home", "car": "vehicle", "cars": "vehicles", "eats": "consumes",
    "books": "volumes", "book": "volume", "works": "labours", "work": "labour", "store": "shop",
    "students": "pupils", "find": "determine", "will": "is going to", "than": "compared with",
    "if": "supposing", "then": "afterwards", "and": "plus", "a": "one", "the": "that",
}  # fmt: skip

Edit = Callable[[str, random.Random, Sequence[str]], str]


def numbers(problem: str, rng: random.Random, _: Sequence[str] = ()) -> str:
    """Every number is another."""
    return NUMBER.sub(
        lambda m: str(int(float(m[0].replace(",", ""))) + rng.choice((3, 7, 11, 20))), problem
    )


def names(problem: str, rng: random.Random, _: Sequence[str] = ()) -> str:
    """Every name is another, the same everywhere."""
    given: dict[str, str] = {}
    first = rng.randrange(len(NAMES))

    def other(found: re.Match[str]) -> str:
        if found[0] in NOT_NAMES:
            return found[0]
        return given.setdefault(found[0], NAMES[(first + len(given)) % len(NAMES)])

    return CAPITALISED.sub(other, problem)


def both(problem: str, rng: random.Random, pool: Sequence[str] = ()) -> str:
    """Other numbers and other names."""
    return names(numbers(problem, rng, pool), rng, pool)


def distracted(problem: str, rng: random.Random, pool: Sequence[str]) -> str:
    """A sentence of another problem before the question."""
    said = sentences(problem)
    return " ".join([*said[:-1], sentences(rng.choice(pool))[0], said[-1]])


def asked(problem: str, rng: random.Random, pool: Sequence[str]) -> str:
    """The question of another problem."""
    return " ".join([*sentences(problem)[:-1], sentences(rng.choice(pool))[-1]])


def shortened(problem: str, rng: random.Random, _: Sequence[str] = ()) -> str:
    """A sentence less, where there are four."""
    said = sentences(problem)
    if len(said) >= 4:
        said.pop(rng.randrange(len(said) - 1))
    return " ".join(said)


def shuffled(problem: str, rng: random.Random, _: Sequence[str] = ()) -> str:
    """The sentences in another order, the question last."""
    said = sentences(problem)
    return " ".join([*rng.sample(said[:-1], len(said) - 1), said[-1]])


def reworded(problem: str, rng: random.Random, _: Sequence[str] = ()) -> str:
    """Other words from a list, clauses the other way round, numbers and names as they are."""
    said = sentences(problem)
    if rng.random() < 0.5:
        said[-1] = f"Work out the answer: {said[-1]}"
    return " ".join(_turned(" ".join(map(_other, one.split())), rng) for one in said)


def sentences(problem: str) -> list[str]:
    return re.split(r"(?<=[.?!])\s+", problem.strip())


def _other(word: str) -> str:
    known = OTHER_WORDS.get(word.lower().strip(".,?!"))
    return word if known is None else known + (word[-1] if word[-1] in ".,?!" else "")


def _turned(sentence: str, rng: random.Random) -> str:
    clauses = sentence.split(", ")
    if len(clauses) != 2 or rng.random() > 0.7:
        return sentence
    return f"{clauses[1].rstrip('.?!')} {clauses[0]}{sentence[-1]}"


EDITS: dict[str, Edit] = {
    "other numbers": numbers,
    "other names": names,
    "both": both,
    "a sentence more": distracted,
    "a sentence less": shortened,
    "other order": shuffled,
    "another question": asked,
    "other words": reworded,
}
