"""Examples: how they arrive, how they are decided, and how many there are."""

from __future__ import annotations

from tdsys.store.examples.arrivals import Added, Ingested, Refusal, add, ingest
from tdsys.store.examples.census import (
    CellCount,
    Count,
    Labelled,
    ReasonCount,
    cells,
    counts,
    due,
    labelled,
    last_arrival,
    pending,
    reasons,
)
from tdsys.store.examples.decisions import admitted, claim, move, record, retry

__all__ = [
    "Added",
    "CellCount",
    "Count",
    "Ingested",
    "Labelled",
    "ReasonCount",
    "Refusal",
    "add",
    "admitted",
    "cells",
    "claim",
    "counts",
    "due",
    "ingest",
    "labelled",
    "last_arrival",
    "move",
    "pending",
    "reasons",
    "record",
    "retry",
]
