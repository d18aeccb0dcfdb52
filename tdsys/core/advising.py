"""Recommendations: what would make a domain's training data better, why, and by how much."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a recommendation asks for."""

    RETIRE = "retire"
    COLLECT = "collect"
    REJUDGE = "rejudge"
    FIX_LABEL = "fix_label"
    CHANGE_THRESHOLD = "change_threshold"


class AdviceState(StrEnum):
    """Where a recommendation stands; superseded: the evidence says another thing by now."""

    OPEN = "open"
    APPLIED = "applied"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"
