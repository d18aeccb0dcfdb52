"""Which program is served: put in force by a person, taken back, and how runs did over time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from tdsys.errors import Conflict, NotFound, NotReady
from tdsys.store import (
    Store,
    Tx,
    activations,
    datasets,
    measurements,
    policies,
    programs,
    runs,
    served,
    triggers,
)
from tdsys.store.activations import Activation
from tdsys.store.datasets import DatasetVersion
from tdsys.store.measurements import Slice
from tdsys.store.program_schema import Activated
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run
from tdsys.store.served import Served

LISTED = 100


class Told(NamedTuple):
    """One run, what it learned from and made, when its program was put in force, and its captures.

    `slices`: how its program and the one before did on the test split, by topic and difficulty.
    `served` is None where no generator said that the program had made what was captured.
    """

    run: Run
    version: DatasetVersion
    program: StoredProgram | None
    because: tuple[str, ...]
    activations: tuple[Activation, ...]
    served: Served | None
    slices: tuple[Slice, ...] = ()


def activate(
    store: Store, *, domain: str, program_id: int | None, actor: str, reason: str, now: datetime
) -> Activation:
    """Make a program (None: the newest) the active one, on a person's word.

    NotFound for one that is not the domain's; Conflict when it is active already.
    """
    with store.begin() as tx:
        policies.current(tx, domain=domain)
        policies.hold(tx, domain=domain)
        found = _of(tx, domain, program_id)
        if found.active:
            raise Conflict(f"program {found.id} is active already", remedy="nothing was changed")
        return activations.activate(
            tx, domain=domain, program_id=found.id, how=Activated.BY_PERSON, actor=actor,
            reason=reason, now=now,
        )  # fmt: skip


def rollback(store: Store, *, domain: str, actor: str, reason: str, now: datetime) -> Activation:
    """Make the program active again that was so before; NotReady when there was none."""
    with store.begin() as tx:
        policies.current(tx, domain=domain)
        policies.hold(tx, domain=domain)
        last = activations.newest(tx, domain=domain)
        if last is None or last.former_id is None:
            raise NotReady(
                f"no program of {domain} was active before this one",
                remedy="see `tdsys optimize history`",
            )
        return activations.activate(
            tx, domain=domain, program_id=last.former_id, how=Activated.BY_ROLLBACK, actor=actor,
            reason=reason, now=now,
        )  # fmt: skip


def history(store: Store, *, domain: str, domains: Collection[str] | None = None) -> list[Told]:
    """The newest runs of a domain that have ended or not, each with all that came of it."""
    if domains is not None and domain not in domains:
        raise NotFound(f"there is no domain {domain!r}", remedy="begin at the list")
    with store.snapshot() as tx:
        policies.current(tx, domain=domain)
        versions = {one.id: one for one in datasets.versions(tx, domain=domain)}
        made = {one.run_id: one for one in programs.programs(tx, domain=domain)}
        put = activations.listed(tx, domain=domain)
        found = runs.runs(tx, domain=domain, limit=LISTED)
        answers = served.by_program(tx, domain=domain)
        causes = {one.id: triggers.cause(tx, run_id=one.id) for one in found}
        slices = {one: tuple(measurements.slices(tx, run_id=one)) for one in made}
    told = [_told(one, versions, made.get(one.id), causes[one.id], put) for one in found]
    return [
        one._replace(served=answers.get(str(one.program.id)), slices=slices[one.run.id])
        if one.program
        else one
        for one in told
    ]


def _of(tx: Tx, domain: str, program_id: int | None) -> StoredProgram:
    every = programs.programs(tx, domain=domain)
    found = next((one for one in every if program_id in {None, one.id}), None)
    if found is None:
        which = "no program yet" if program_id is None else f"no program {program_id}"
        raise NotFound(f"{domain} has {which}", remedy="see `tdsys optimize history`")
    return found


def _told(
    run: Run,
    versions: dict[int, DatasetVersion],
    program: StoredProgram | None,
    cause: triggers.Cause | None,
    put: list[Activation],
) -> Told:
    because = tuple(cause.because) if cause else ()
    of_it = tuple(one for one in put if program and one.program_id == program.id)
    return Told(run, versions[run.version_id], program, because, of_it, None)
