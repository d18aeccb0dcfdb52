"""Composes a problem: a story of the topic, then links until the steps fit the difficulty.

The one rule: numbers that do not suit are drawn again from the same source of randomness, so a
problem stays a function of its seed.
"""

from __future__ import annotations

import random

from tdsys.reference import money_links  # noqa: F401  registers its links
from tdsys.reference.contexts import Context
from tdsys.reference.links import LINKS
from tdsys.reference.problem import STEPS, Disagreement, Outputs
from tdsys.reference.steps import Redraw
from tdsys.reference.tale import Outcome, Tale
from tdsys.reference.topic import Story, Topic

ATTEMPTS = 400
QUESTION_FIRST = 0.2

BEGINNINGS = ("To begin with:", "First question:", "As a start:", "Find out first:")
"""How the question of a story is put when the story goes on after it."""


def stories_for(topic: Topic, difficulty: str) -> list[Story]:
    """The stories of a topic that are short enough for a difficulty."""
    most = STEPS[difficulty][1]
    return [story for story in topic.stories if story.steps <= most]


def compose(
    topic: Topic, story: Story, difficulty: str, context: Context, rng: random.Random
) -> Outputs:
    """One problem; Disagreement when a step fails its check or no numbers suit the story."""
    for _ in range(ATTEMPTS):
        try:
            return _attempt(topic, story, difficulty, context, rng)
        except Redraw:
            continue
    raise Disagreement(f"{topic.domain}/{topic.name}/{difficulty}: no numbers suit the story")


def _attempt(
    topic: Topic, story: Story, difficulty: str, context: Context, rng: random.Random
) -> Outputs:
    who, friend, third = rng.sample(context.people, 3)
    tale = Tale(rng, context, who, friend, third)
    outcome = story.tell(tale)
    if len(tale.solution) != story.steps:
        raise Disagreement(f"{topic.name}: {len(tale.solution)} steps, not {story.steps}")
    steps = rng.randint(max(STEPS[difficulty][0], story.steps), STEPS[difficulty][1])
    if steps > story.steps:
        tale.sentences.append(f"{rng.choice(BEGINNINGS)} {rng.choice(outcome.asks)}")
    outcome = _go_on(tale, outcome, steps)
    return _written(tale, outcome, topic)


def _go_on(tale: Tale, outcome: Outcome, steps: int) -> Outcome:
    told = set()
    while len(tale.solution) < steps:
        if outcome.final:
            raise Redraw
        links = [link for link in LINKS[outcome.kind] if link not in told]
        link = tale.rng.choice(links) if links else None
        if link is None:
            raise Redraw
        told.add(link)
        outcome = link(tale, outcome) or outcome
    return outcome


def _written(tale: Tale, outcome: Outcome, topic: Topic) -> Outputs:
    rng = tale.rng
    question = rng.choice(outcome.asks)
    first = rng.random() < QUESTION_FIRST
    sentences = [question, *tale.sentences] if first else [*tale.sentences, question]
    return Outputs(
        problem=" ".join(sentences),
        solution=" ".join(tale.solution),
        answer=outcome.value.text,
        hints=[*rng.sample(topic.hints, 2), *tale.hints[-1:]],
    )
