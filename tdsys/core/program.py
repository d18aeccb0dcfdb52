"""What an optimization takes and gives: items, trials, the artefact, and its two ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core.example import Document
from tdsys.core.policy import Signature

Auto = Literal["light", "medium", "heavy"]
Method = Literal["miprov2", "random_search", "gepa"]


class Item(BaseModel):
    """One example as a program sees it: fields of the signature, and an id hidden from it."""

    model_config = ConfigDict(frozen=True)

    uid: str
    inputs: Document
    outputs: Document


class Grade(BaseModel):
    """How good one produced output is, in [0, 1], part by part; `feedback` says why, in words."""

    model_config = ConfigDict(frozen=True)

    value: float
    parts: dict[str, float]
    feedback: str = ""


class Grader(Protocol):
    """The metric: grades what a program produced for an item's inputs.

    Whatever it raises is an error of that item, never a score.
    """

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
    """Which example a demo came from, in which role, and in which part of the program.

    A bootstrapped demo holds the inputs of that example and outputs that a program wrote for it.
    """

    model_config = ConfigDict(frozen=True)

    uid: str | None
    role: Literal["labeled", "bootstrapped"]
    predictor: str = "self"


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
    """What a run will cost before it starts, in calls of the model; by which method, and why."""

    model_config = ConfigDict(frozen=True)

    method: Method = "miprov2"
    because: str = ""
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


class Recipe(BaseModel):
    """How a run searches: its method, budget and seed, and the program it starts from.

    `program` names an entry point of `tdsys.programs`, None the built-in program. The run ends
    when it asks for more than `max_calls`, or when more than `failed_share` of its `answers` (as
    planned) got no score. `in_flight` calls at most are under way at once: a killed worker has
    paid for them and loses them. `domain` is whose examples its prompts may hold: what is forgotten
    of it, and of no other, costs the run its cached answers.
    """

    model_config = ConfigDict(frozen=True)

    method: Method = "miprov2"
    auto: Auto = "light"
    seed: int = 9
    program: str | None = None
    max_calls: int | None = None
    failed_share: float = 0.1
    answers: int | None = None
    in_flight: int | None = None
    domain: str | None = None


class Spent(NamedTuple):
    """Where a run is and what it took so far: calls asked for, those paid for, and tokens paid."""

    phase: str = "starting"
    calls: int = 0
    paid: int = 0
    tokens: int = 0
    failed: int = 0


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

    def metric(self, name: str) -> Grader:
        """The installed metric of that name; InvalidInput when there is none."""
        ...

    def predictors(self, signature: Signature, program: str | None) -> int:
        """How many prompts the program asks one after another; InvalidInput when it is none."""
        ...

    def blockers(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        recipe: Recipe,
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
        recipe: Recipe,
        on_trial: Callable[[Trial], None],
        on_progress: Callable[[Spent], None],
        should_stop: Callable[[], bool],
    ) -> Artefact:
        """Search by the recipe.

        Cancelled when `should_stop` said so, ModelUnavailable when the model died, NotReady with
        the reasons when too much failed.
        """
        ...

    def evaluate(
        self,
        signature: Signature,
        state: dict[str, JsonValue] | None,
        items: Sequence[Item],
        *,
        grader: Grader,
        should_stop: Callable[[], bool],
        recipe: Recipe = ...,
    ) -> list[ItemScore]:
        """Score a program (None: the unoptimized one) on every item, in order.

        An answer that cannot be read is asked for again, with a fresh sample, a few times.
        Cancelled when `should_stop` said so.
        """
        ...
