"""The pages to look around in: examples, bulk moves, arrivals, batches, runs and so on."""

from __future__ import annotations

from tdsys.web.browse import (
    alerts,
    arrivals,
    batches,
    bulk,
    datasets,
    effectiveness,
    examples,
    reports,
    runs,
)

ROUTES = (
    *reports.ROUTES,
    *examples.ROUTES,
    *bulk.ROUTES,
    *arrivals.ROUTES,
    *batches.ROUTES,
    *datasets.ROUTES,
    *runs.ROUTES,
    *effectiveness.ROUTES,
    *alerts.ROUTES,
)
__all__ = ("ROUTES",)
