"""The versioned rules of one domain; process settings are elsewhere."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FieldType = Literal["text", "list"]


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


class Policy(BaseModel):
    """What a domain collects, admits and optimizes; every decision records its version.

    Without a signature the fields that (nearly) all admitted examples hold are taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: Literal["automatic", "manual", "off"] = "automatic"
    topics: tuple[str, ...] = ()
    difficulties: tuple[str, ...] = ("easy", "medium", "hard")
    signature: Signature | None = None
    weights: dict[str, float] = {
        "accuracy": 0.4,
        "coherence": 0.2,
        "relevance": 0.2,
        "educational_value": 0.2,
    }
    reject_below: dict[str, float] = {
        "accuracy": 0.3,
        "coherence": 0.3,
        "relevance": 0.3,
        "educational_value": 0.1,
    }
    admit_from: dict[str, float] = {
        "accuracy": 0.7,
        "coherence": 0.5,
        "relevance": 0.5,
        "educational_value": 0.3,
    }
    admit_quality: float = Field(0.6, ge=0, le=1)
    min_examples: int = Field(50, ge=6)
    max_examples: int = Field(400, ge=6)
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
