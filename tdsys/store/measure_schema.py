"""What programs scored on each test item; under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Column, Double, ForeignKey, Integer, PrimaryKeyConstraint, Table, Text, Uuid

from tdsys.store.schema import metadata, one_of, runs


class Side(StrEnum):
    """Which program of a run's comparison: the one that was there, or the one it made."""

    BEFORE = "before"
    AFTER = "after"


# `uid` is the example's fingerprint; no value: it got no answer or no grade.
test_scores = Table(
    "test_scores",
    metadata,
    Column("run_id", Uuid, ForeignKey(runs.c.id), nullable=False),
    Column("side", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("uid", Text, nullable=False),
    Column("value", Double),
    PrimaryKeyConstraint("run_id", "side", "position"),
    one_of("side", Side),
)
