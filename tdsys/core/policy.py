"""The versioned rules of one domain; process settings are elsewhere."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
        both = set(self.inputs) & set(self.outputs)
        if both or not self.inputs or not self.outputs:
            raise ValueError(f"inputs and outputs must be non-empty and distinct; both: {both}")
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
            raise ValueError("train, val and test shares must sum to 1")
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
            raise ValueError("at least one weight must be above 0")
        return self


class Policy(BaseModel):
    """What a domain collects, admits and optimizes; every decision records its version.

    Without a signature the fields that (nearly) all admitted examples hold are taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: Literal["automatic", "manual", "off"] = "automatic"
    signature: Signature | None = None
    weights: Weights = Weights(accuracy=0.4, coherence=0.2, relevance=0.2, educational_value=0.2)
    reject_below: PerDimension = PerDimension(
        accuracy=0.3, coherence=0.3, relevance=0.3, educational_value=0.1
    )
    admit_from: PerDimension = PerDimension(
        accuracy=0.7, coherence=0.5, relevance=0.5, educational_value=0.3
    )
    admit_quality: float = Field(0.6, ge=0, le=1)
    min_examples: int = Field(50, ge=FEWEST_EXAMPLES)
    max_examples: int = Field(400, ge=FEWEST_EXAMPLES)
    shares: Shares = Shares()
    optimization: Literal["automatic", "hold"] = "automatic"
    growth: float = Field(0.2, gt=0)
    settle_seconds: int = Field(5, ge=0)
    auto: Literal["light", "medium", "heavy"] = "light"
    seed: int = Field(9, ge=1)
    max_calls: int = Field(5000, ge=1)

    @model_validator(mode="after")
    def _limits_agree(self) -> Policy:
        if self.min_examples > self.max_examples:
            raise ValueError("min_examples is above max_examples")
        return self
