"""The generator: picks story, setting and numbers for an index, and spoils some on purpose.

The one rule: indices run through stories and settings in a fixed rotation, so that neighbours
differ; randomness only fills in the rest.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from tdsys.reference.composing import compose, stories_for
from tdsys.reference.contexts import CONTEXTS, Context
from tdsys.reference.faults import Material, pick_fault, spoil
from tdsys.reference.problem import DIFFICULTIES, Inputs, Problem
from tdsys.reference.stories import TOPICS
from tdsys.reference.topic import Topic

DOMAINS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {domain: tuple(topic.name for topic in topics) for domain, topics in TOPICS.items()}
)

REMEMBERED = 200
"""How many earlier problems of a domain can come again as a duplicate."""

SIBLING_OFFSET = 1_000_003
"""Indices this far away are used for material of faults, never for a stream's own problems."""

_BY_NAME: dict[tuple[str, str], Topic] = {
    (topic.domain, topic.name): topic for topics in TOPICS.values() for topic in topics
}


class ReferenceGenerator:
    """Makes problems by index or as a stream; `fault_rate` is the share that is spoilt."""

    def __init__(self, *, seed: int = 1, fault_rate: float = 0.0) -> None:
        if not 0 <= fault_rate <= 1:
            raise ValueError(f"fault_rate is {fault_rate}; it is a share between 0 and 1")
        self.seed = seed
        self.fault_rate = fault_rate

    def generate(self, domain: str, topic: str, difficulty: str, index: int) -> Problem:
        """The clean problem with this index; ValueError for an unknown cell."""
        cell = f"{self.seed}:{domain}:{topic}:{difficulty}"
        turn = random.Random(cell).randrange(len(CONTEXTS))
        context = CONTEXTS[(turn + 7 * index) % len(CONTEXTS)]
        return self._generate(domain, topic, difficulty, index, context)

    def topics(self, domain: str) -> tuple[str, ...]:
        """The topics of a domain it has stories for."""
        return DOMAINS.get(domain, ())

    def stream(self, domains: Sequence[str], count: int) -> Iterator[Problem]:
        """`count` problems that cycle evenly over domains, topics and difficulties."""
        earlier: dict[str, deque[Problem]] = {d: deque(maxlen=REMEMBERED) for d in domains}
        for number in range(count):
            domain = domains[number % len(domains)]
            problem = self._numbered(domain, number // len(domains))
            spoilt = self._spoilt(problem, number, earlier[domain])
            if spoilt.fault is None:
                earlier[domain].append(problem)
            yield spoilt

    def _numbered(self, domain: str, number: int) -> Problem:
        topics = DOMAINS[domain]
        round_, place = divmod(number, len(topics) * len(DIFFICULTIES))
        difficulty = DIFFICULTIES[place // len(topics)]
        return self.generate(domain, topics[place % len(topics)], difficulty, round_)

    def _generate(
        self, domain: str, topic: str, difficulty: str, index: int, context: Context
    ) -> Problem:
        known = _BY_NAME.get((domain, topic))
        if known is None or difficulty not in DIFFICULTIES:
            raise ValueError(_missing(domain, topic, difficulty))
        rng = random.Random(f"{self.seed}:{domain}:{topic}:{difficulty}:{index}:{context.setting}")
        stories = stories_for(known, difficulty)
        story = stories[(index + DIFFICULTIES.index(difficulty)) % len(stories)]
        outputs = compose(known, story, difficulty, context, rng)
        inputs: Inputs = {"topic": topic, "difficulty": difficulty, "context": context.setting}
        return Problem(domain, inputs, outputs)

    def _spoilt(self, problem: Problem, number: int, earlier: Sequence[Problem]) -> Problem:
        rng = random.Random(f"{self.seed}:fault:{number}")
        if rng.random() >= self.fault_rate:
            return problem
        material = Material(
            earlier=earlier,
            sibling=lambda: self._sibling(problem, number),
            stranger=lambda: self._stranger(problem, number, rng),
        )
        return spoil(problem, pick_fault(rng, material), rng, material)

    def _sibling(self, problem: Problem, number: int) -> Problem:
        """Another problem with the same inputs."""
        inputs = problem.inputs
        return self._generate(
            problem.domain,
            inputs["topic"],
            inputs["difficulty"],
            SIBLING_OFFSET + number,
            _setting(problem),
        )

    def _stranger(self, problem: Problem, number: int, rng: random.Random) -> Problem:
        """A problem of another domain in the same setting and difficulty."""
        domain = rng.choice([d for d in DOMAINS if d != problem.domain])
        topic = rng.choice(DOMAINS[domain])
        difficulty = problem.inputs["difficulty"]
        index = SIBLING_OFFSET + number
        return self._generate(domain, topic, difficulty, index, _setting(problem))


def _missing(domain: str, topic: str, difficulty: str) -> str:
    """What there is no template of, and the nearest that there is."""
    there = ("domains", tuple(DOMAINS))
    if known := DOMAINS.get(domain):
        there = ("difficulties", DIFFICULTIES) if topic in known else (f"topics of {domain}", known)
    what, names = there
    return f"no template of {domain}/{topic}/{difficulty}: the {what} are {', '.join(names)}"


def _setting(problem: Problem) -> Context:
    return next(c for c in CONTEXTS if c.setting == problem.inputs["context"])
