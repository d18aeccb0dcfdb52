"""The versioned rules of one domain; process settings are elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from tdsys.core.example import Cell
from tdsys.core.mistakes import Unfit
from tdsys.core.sections import (
    Activation,
    AlertRules,
    Cells,
    Conversion,
    Embedding,
    Judges,
    Labels,
    Lifecycle,
    Trigger,
)

FieldType = Literal["text", "list"]
# Three splits of at least ten examples each; with fewer no interval means anything.
FEWEST_EXAMPLES = 30


class Signature(BaseModel):
    """The fields of the program a domain trains: names in order, with their type."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instructions: str = "Write a mathematics problem for the request, solve it and give the answer."
    inputs: dict[str, FieldType] = {"topic": "text", "difficulty": "text", "context": "text"}
    outputs: dict[str, FieldType] = {"problem": "text", "solution": "text", "answer": "text"}

    @model_validator(mode="after")
    def _no_field_is_both(self) -> Signature:
        both = ", ".join(sorted(set(self.inputs) & set(self.outputs)))
        if both or not self.inputs or not self.outputs:
            raise Unfit(
                f"both an input and an output: {both}" if both else "no inputs, or no outputs",
                remedy="use at least one input and one output, each name in one of the two",
            )
        return self


class Shares(BaseModel):
    """How a dataset version is divided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(0.35, gt=0, lt=1)
    val: float = Field(0.35, gt=0, lt=1)
    test: float = Field(0.30, gt=0, lt=1)

    @model_validator(mode="after")
    def _sums_to_one(self) -> Shares:
        if not math.isclose(self.train + self.val + self.test, 1):
            raise Unfit(
                "train, val and test shares must sum to 1",
                remedy="use for example 0.35, 0.35 and 0.3",
            )
        return self


class PerDimension(BaseModel):
    """One number in [0, 1] for each dimension a judge scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float = Field(ge=0, le=1)
    coherence: float = Field(ge=0, le=1)
    relevance: float = Field(ge=0, le=1)
    educational_value: float = Field(ge=0, le=1)

    def of(self, dimension: str) -> float:
        """The number for one dimension."""
        found: float = getattr(self, dimension)
        return found


class Weights(PerDimension):
    """How much each dimension counts; only their ratio matters."""

    @model_validator(mode="after")
    def _something_counts(self) -> Weights:
        if not any(self.model_dump().values()):
            raise Unfit(
                "at least one weight must be above 0", remedy="use 0 for some of them, not for all"
            )
        return self


class Policy(BaseModel):
    """What a domain collects, admits and optimizes; every decision records its version.

    Without a signature the fields that (nearly) all admitted examples hold are taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: Literal["automatic", "manual", "off"] = Field(
        "automatic",
        description="manual: nothing is admitted without a person; "
        "off: captures are counted and dropped",
    )
    signature: Signature | None = Field(
        None,
        description="input and output fields of the program, each text or list; "
        "left out: what nearly all admitted examples hold",
        examples=[Signature()],
    )
    conversion: Conversion = Field(
        Conversion(), description="how fields of examples become the program's where they differ"
    )
    topics: Labels = Field((), description="what is wanted, empty: any; other: to a person")
    difficulties: Labels = Field((), description="the same; with topics they are the wanted cells")
    cells: Cells = Field(
        Cells(), description="how many examples of one topic and difficulty, at least and at most"
    )
    weights: Weights = Field(
        Weights(accuracy=0.4, coherence=0.2, relevance=0.2, educational_value=0.2),
        description="how the four scores make one quality; only their ratio matters",
    )
    reject_below: PerDimension = Field(
        PerDimension(accuracy=0.3, coherence=0.3, relevance=0.3, educational_value=0.1),
        description="below in any dimension: rejected",
    )
    admit_from: PerDimension = Field(
        PerDimension(accuracy=0.7, coherence=0.5, relevance=0.5, educational_value=0.3),
        description="below in any dimension: to a person",
    )
    admit_quality: float = Field(0.6, ge=0, le=1, description="below overall: to a person")
    judges: Judges = Field(Judges(), description="who scores, and what if they disagree")
    audit_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="of what scores alone would decide, by lot to a person; 0: none",
    )
    unsolved: Literal["review", "judge"] = Field(
        "review",
        description="of what a model made and solvers found no usable answer to: to a person, or "
        "the judge alone decides",
    )
    min_examples: int = Field(50, ge=FEWEST_EXAMPLES, description="before the first version")
    max_examples: int = Field(
        400,
        ge=FEWEST_EXAMPLES,
        description="in one version; the best of each cell first, cells level",
    )
    synthetic_share: float = Field(
        1.0, ge=0, le=1, description="greatest share of synthetic examples in one version"
    )
    cluster_cap: int | None = Field(
        None,
        ge=1,
        description="how many near-duplicates of each other one version may hold; left out: any",
        examples=[3],
    )
    embedder: Embedding | None = Field(
        None,
        description="a model whose vectors tell near-duplicates, too; needs pgvector; left out: "
        "words alone do",
        examples=[Embedding(model="openai/text-embedding-3-small")],
    )
    shares: Shares = Field(
        Shares(), description="how a version is divided into train, val and test; 1 together"
    )
    optimization: Literal["automatic", "hold"] = Field(
        "automatic", description="hold: no version, no run"
    )
    growth: float = Field(
        0.2, gt=0, description="share of new examples that makes the next version"
    )
    settle_seconds: int = Field(5, ge=0, description="quiet time after the last arrival")
    optimizer: Literal["auto", "miprov2", "random_search", "gepa"] = Field(
        "auto", description="auto: MIPROv2, or random search where train or val have fewer than 15"
    )
    program: str | None = Field(
        None,
        min_length=1,
        description="an installed program of `tdsys.programs`; left out: one prompt of the "
        "signature's fields",
        examples=["two_steps"],
    )
    metric: str | None = Field(
        None,
        min_length=1,
        description="an installed metric of `tdsys.metrics`; left out: correct, new and as "
        "asked for",
        examples=["short_problems"],
    )
    failed_share: float = Field(
        0.1, ge=0, lt=1, description="a run with more evaluations without a score has failed"
    )
    auto: Literal["light", "medium", "heavy"] = Field(
        "light", description="the optimizer's budget preset"
    )
    seed: int = Field(9, ge=1, description="of the run; 0 is refused because MIPROv2 ignores it")
    max_calls: int = Field(
        5000, ge=1, description="a run planned above it is not queued, one that asks for more ends"
    )
    in_flight: int | None = Field(
        None,
        ge=1,
        le=64,
        description="calls of a run under way at once; left out: as few as a kill may lose",
        examples=[16],
    )
    max_daily_calls: int | None = Field(
        None,
        ge=1,
        description="runs of 24 hours planned above it together wait; left out: no limit",
        examples=[20_000],
    )
    trigger: Trigger = Field(
        Trigger(), description="what starts a run beside growth, and what keeps it waiting"
    )
    activation: Activation = Field(
        Activation(), description="when a new program replaces the active one"
    )
    lifecycle: Lifecycle = Field(
        Lifecycle(), description="when examples are retired, and deleted, without a person"
    )
    alerts: AlertRules = Field(AlertRules(), description="what is amiss, and from where on")
    second_reviews: float = Field(
        0.0, ge=0, le=1, description="share of reviewed examples that two people decide alone"
    )
    blind_reviews: bool = Field(
        default=False, description="reviewers see the judge's scores only after they decided"
    )

    @model_validator(mode="after")
    def _limits_agree(self) -> Policy:
        if self.min_examples > self.max_examples:
            raise Unfit(
                "min_examples is above max_examples",
                remedy=f"use min_examples of {self.max_examples} or less, "
                f"or max_examples of {self.min_examples} or more",
            )
        return self

    def outside(self, cell: Cell) -> str | None:
        """Which axis of a cell the domain does not want, `topic` or `difficulty`; None: both."""
        if self.topics and cell.topic not in self.topics:
            return "topic"
        return (
            "difficulty" if self.difficulties and cell.difficulty not in self.difficulties else None
        )

    def wanted_cells(self, seen: Iterable[Cell] = ()) -> list[Cell]:
        """Topics times difficulties; an axis without a list has what is `seen` of wanted cells."""
        known = [cell for cell in seen if not self.outside(cell)]
        if not (self.topics or self.difficulties):
            return sorted(set(known))
        topics = self.topics or sorted({cell.topic for cell in known})
        difficulties = self.difficulties or sorted({cell.difficulty for cell in known})
        return [Cell(topic, difficulty) for topic in topics for difficulty in difficulties]


# What another version of a policy may say without a run coming out otherwise.
_BESIDES_RUNS = frozenset({
    "collection", "audit_share", "optimization", "growth", "settle_seconds", "max_calls",
    "in_flight",
    "max_daily_calls", "lifecycle", "alerts", "judges", "second_reviews", "blind_reviews",
    "unsolved", "trigger", "activation",
})  # fmt: skip


def runs_alike(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> bool:
    """Whether two documents ask for the same run; what an older one lacks has its default."""
    default = Policy().model_dump(mode="json")
    return all(
        _meant(name, before.get(name, default[name]))
        == _meant(name, after.get(name, default[name]))
        for name in default
        if name not in _BESIDES_RUNS
    )


def _meant(name: str, value: JsonValue) -> JsonValue:
    """A section with what an older document lacks of it."""
    return Cells.model_validate(value).model_dump(mode="json") if name == "cells" else value


class Difference(NamedTuple):
    """A field that two policies do not share, by its dotted name."""

    field: str
    before: JsonValue
    after: JsonValue


def differences(
    before: Mapping[str, JsonValue], after: Mapping[str, JsonValue], *, within: str = ""
) -> list[Difference]:
    """Where two documents differ, in the order of the second; None for what one has not."""
    found: list[Difference] = []
    for name in [*after, *(n for n in before if n not in after)]:
        old, new = before.get(name), after.get(name)
        path = f"{within}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, within=f"{path}.")
        elif old != new:
            found.append(Difference(path, old, new))
    return found
