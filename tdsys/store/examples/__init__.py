"""Examples: how they arrive, how they are decided, and how many there are."""

from __future__ import annotations

from tdsys.store.examples.arrivals import Added, Batch, Ingested, Refusal, add, ingest
from tdsys.store.examples.census import (
    Arrivals,
    CellCount,
    Count,
    Labelled,
    Listed,
    ReasonCount,
    Refused,
    Tenth,
    admissions,
    arrivals,
    cells,
    counts,
    labelled,
    listed,
    pending,
    reasons,
    refused,
    tenths,
)
from tdsys.store.examples.decisions import admitted, claim, move, prolong, record, retry

__all__ = [
    "Added",
    "Arrivals",
    "Batch",
    "CellCount",
    "Count",
    "Ingested",
    "Labelled",
    "Listed",
    "ReasonCount",
    "Refusal",
    "Refused",
    "Tenth",
    "add",
    "admissions",
    "admitted",
    "arrivals",
    "cells",
    "claim",
    "counts",
    "ingest",
    "labelled",
    "listed",
    "move",
    "pending",
    "prolong",
    "reasons",
    "record",
    "refused",
    "retry",
    "tenths",
]
