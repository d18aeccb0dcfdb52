"""A topic: its vocabulary, its hints and the stories that can be told about it.

The one rule: a story says how many steps it takes, and taking any other number is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tdsys.reference.tale import Outcome, Tale

Tell = Callable[[Tale], Outcome]


@dataclass(frozen=True, slots=True)
class Story:
    """A way to tell a problem of a topic, in `steps` steps."""

    steps: int
    tell: Tell


@dataclass(frozen=True, slots=True)
class Topic:
    """`words`: at least one of them is in every problem; `hints` hold no digits."""

    domain: str
    name: str
    words: tuple[str, ...]
    hints: tuple[str, ...]
    stories: list[Story] = field(default_factory=list)

    def story(self, *, steps: int) -> Callable[[Tell], Tell]:
        """Register a story of the topic."""

        def register(tell: Tell) -> Tell:
            self.stories.append(Story(steps, tell))
            return tell

        return register
