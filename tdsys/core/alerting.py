"""What an alert says; the rules that fire one are a domain's policy."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Whether what an alert says is so, or was so."""

    FIRING = "firing"
    RESOLVED = "resolved"
