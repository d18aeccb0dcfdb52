"""What an optimization takes and gives: items, trials, the artefact, and its two ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core.example import Document
from tdsys.core.policy import Signature

Auto = Literal["light", "medium", "heavy"]


class Item(BaseModel):
    """One example as a program sees it: fields of the signature, and an id hidden from it."""

    model_config = ConfigDict(frozen=True)

    uid: str
    inputs: Document
    outputs: Document


class Grade(BaseModel):
    """How good one produced output is, in [0, 1], part by part."""

    model_config = ConfigDict(frozen=True)

    value: float
    parts: dict[str, float]


class Grader(Protocol):
    """The metric: grades what a program produced for an item's inputs."""

    def __call__(self, item: Item, produced: Document) -> Grade:
        """The grade of `produced`; `item.outputs` is what the example holds."""
        ...


class ItemScore(BaseModel):
    """One item's score under one program; `error` when the program gave no answer at all."""

    model_config = ConfigDict(frozen=True)

    uid: str
    value: float | None
    error: str | None = None


class DemoRef(BaseModel):
    """Which example a demo came from, and in which role."""

    model_config = ConfigDict(frozen=True)

    uid: str | None
    role: Literal["labeled", "bootstrapped"]


class Trial(BaseModel):
    """One candidate program evaluated during a run.

    `score` is the mean over the items that got an answer; the others have no value.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    kind: Literal["full", "minibatch"]
    score: float
    instruction: str
    demos: tuple[DemoRef, ...]
    items: tuple[ItemScore, ...]
    seconds: float
    calls: int


class Plan(BaseModel):
    """What a run will cost before it starts, in calls of the model."""

    model_config = ConfigDict(frozen=True)

    trials: int
    validated_on: int
    minibatch: bool
    evaluation_calls: int
    bootstrap_calls_at_most: int
    proposal_calls: int

    @property
    def calls_at_most(self) -> int:
        """All calls together."""
        return self.evaluation_calls + self.bootstrap_calls_at_most + self.proposal_calls


class Artefact(BaseModel):
    """A compiled program: its state as JSON that plain `dspy` loads, and what it cost."""

    model_config = ConfigDict(frozen=True)

    state: dict[str, JsonValue]
    demos: tuple[DemoRef, ...]
    instruction: str
    calls: int
    tokens: int
    model: str
    simulated: bool
    dspy_version: str


class Optimizer(Protocol):
    """Compiles and evaluates programs; the only implementation lives with DSPy."""

    @property
    def model(self) -> str:
        """The model the program runs on, as stored with every result."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether that model is the offline one."""
        ...

    def blockers(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        auto: Auto,
    ) -> list[str]:
        """Everything the optimizer would silently score 0.0 or crash on late, with remedies."""
        ...

    def optimize(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        auto: Auto,
        seed: int,
        on_trial: Callable[[Trial], None],
        should_stop: Callable[[], bool],
    ) -> Artefact:
        """Run MIPROv2; Cancelled when `should_stop` said so, ModelUnavailable when it died."""
        ...

    def evaluate(
        self,
        signature: Signature,
        state: dict[str, JsonValue] | None,
        items: Sequence[Item],
        *,
        grader: Grader,
        should_stop: Callable[[], bool],
    ) -> list[ItemScore]:
        """Score a program (None: the unoptimized one) on every item, in order.

        An answer that cannot be read is asked for again, with a fresh sample, a few times.
        Cancelled when `should_stop` said so.
        """
        ...
