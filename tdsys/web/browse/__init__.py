"""The pages to look around in: examples, bulk actions, arrivals, datasets, runs, reports."""

from __future__ import annotations

from tdsys.web.browse import arrivals, bulk, datasets, examples, reports, runs

ROUTES = (
    *reports.ROUTES,
    *examples.ROUTES,
    *bulk.ROUTES,
    *arrivals.ROUTES,
    *datasets.ROUTES,
    *runs.ROUTES,
)
__all__ = ("ROUTES",)
