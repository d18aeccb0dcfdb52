"""What came in and what was made of it, to look at: imports, batches, versions, runs, programs.

One rule: what a person may not see is told like what is not there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tdsys.core.intake import Faulty, repair_line
from tdsys.core.program import Trial
from tdsys.errors import Conflict, NotFound
from tdsys.stages import importing
from tdsys.store import Store, capture_batches, datasets, imports, programs, runs
from tdsys.store.capture_batches import Arrived
from tdsys.store.datasets import DatasetVersion
from tdsys.store.examples import Refused
from tdsys.store.imports import Import
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run

REJECTS = 200
REFUSALS = 200
Domains = Collection[str] | None


class Trials(NamedTuple):
    """One run with its trials, the version it learns from, and its program if it made one."""

    run: Run
    version: DatasetVersion
    trials: list[Trial]
    program: StoredProgram | None


def imported(
    store: Store, *, domains: Domains, limit: int, before: datetime | None = None
) -> list[Import]:
    """The newest imports."""
    with store.begin() as tx:
        return imports.within(tx, domains=domains, limit=limit, before=before)


def one_import(store: Store, *, import_id: UUID, domains: Domains) -> Import:
    """One import."""
    found = importing.status(store, import_id=import_id)
    _check(found.domain, domains, f"there is no import {import_id}")
    return found


def refused(store: Store, *, import_id: UUID, after: int = 0) -> list[Faulty]:
    """The next of its refused records."""
    with store.begin() as tx:
        return imports.rejects(tx, import_id=import_id, limit=REJECTS, after=after)


def repair(store: Store, *, import_id: UUID) -> Iterator[str]:
    """All its refused records, as lines to be mended and imported again."""
    for one in importing.every_reject(store, import_id=import_id):
        yield repair_line(one) + "\n"


def arrived(store: Store, *, limit: int, before: datetime | None = None) -> list[Arrived]:
    """The newest batches of captures; they may hold any domain's."""
    with store.begin() as tx:
        return capture_batches.batches(tx, limit=limit, before=before)


def batch(store: Store, *, batch_id: str) -> tuple[Arrived, list[Refused]]:
    """One batch, and what was refused of it."""
    with store.begin() as tx:
        found = capture_batches.batch(tx, batch_id=batch_id)
        refusals = capture_batches.refusals(tx, batch_id=batch_id, limit=REFUSALS)
    if found is None:
        raise NotFound("there is no such batch", remedy="begin at the list of batches")
    return found, refusals


def versions(store: Store, *, domain: str, domains: Domains) -> list[DatasetVersion]:
    """All versions of a domain, the newest number first."""
    _check(domain, domains, f"there is no domain {domain!r}")
    with store.begin() as tx:
        return datasets.versions(tx, domain=domain)[::-1]


def newest_versions(store: Store, *, domains: Domains) -> list[DatasetVersion]:
    """The version of each domain that was frozen last."""
    with store.begin() as tx:
        return datasets.newest(tx, domains=domains)


def listed_runs(
    store: Store, *, domains: Domains, limit: int, before: datetime | None = None
) -> list[Run]:
    """The newest runs."""
    with store.begin() as tx:
        return runs.within(tx, domains=domains, limit=limit, before=before)


def run(store: Store, *, run_id: UUID, domains: Domains) -> Trials:
    """One run with all that is known of it."""
    with store.begin() as tx:
        found = runs.run(tx, run_id=run_id)
        if found is None:
            raise NotFound(f"there is no run {run_id}", remedy="begin at the list of runs")
        _check(found.domain, domains, f"there is no run {run_id}")
        return Trials(
            found,
            datasets.version(tx, id=found.version_id),
            runs.trials(tx, run_id=run_id),
            programs.of_run(tx, run_id=run_id),
        )


def cancel(store: Store, *, run_id: UUID, domains: Domains) -> None:
    """Ask an open run to stop; Conflict when it has ended."""
    run(store, run_id=run_id, domains=domains)
    with store.begin() as tx:
        asked = runs.request_cancel(tx, run_id=run_id)
    if not asked:
        raise Conflict("the run has ended already", remedy="look at it again")


def program(store: Store, *, program_id: int, domains: Domains) -> StoredProgram:
    """One program."""
    with store.begin() as tx:
        found = programs.program(tx, program_id=program_id)
    if found is None:
        raise NotFound(f"there is no program {program_id}", remedy="begin at the runs")
    _check(found.domain, domains, f"there is no program {program_id}")
    return found


def _check(domain: str, domains: Domains, otherwise: str) -> None:
    if domains is not None and domain not in domains:
        raise NotFound(otherwise, remedy="begin at the list")
