"""Read uploaded files block by block: good records are stored, bad ones explained.

One rule: a record is counted in the transaction that stores or refuses it, so whatever dies and
whenever, `read = new + duplicate + rejected`, and the next claim goes on behind the last block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from tdsys.core.conversion import ImportOptions
from tdsys.core.example import Source
from tdsys.core.intake import Block, Faulty, Intake, Job, ReaderDied
from tdsys.errors import Conflict, InvalidInput, StoreUnavailable
from tdsys.stages.leases import Clock, kept
from tdsys.store import Store, Tx, benchmarks, examples, imports, integration
from tdsys.store.import_schema import ImportState
from tdsys.store.imports import Import, Progress

REASON_SHOWN = 2000
# Far more than restarts explain: a file that kills its worker must end as failed.
MOST_CLAIMS = 20
# A reader that dies is started again behind the last block, but once only at one place.
MOST_DEATHS = 2
REJECTS_AT_ONCE = 50
UPLOADS_ARE_KEPT = timedelta(days=1)

log = logging.getLogger("tdsys.importing")


def read_due(store: Store, *, intake: Intake, clock: Clock, lease: timedelta) -> list[Import]:
    """Read what is due; a killed import is claimed again and goes on after its last block."""
    done: list[Import] = []
    with store.begin() as tx:
        imports.discard_abandoned(tx, before=clock() - UPLOADS_ARE_KEPT)
    while True:
        with store.begin() as tx:
            claimed = imports.claim(tx, lease=lease, now=clock())
        if claimed is None:
            return done
        done.append(_Reading(store, claimed, intake, clock, lease).settle())


class _Reading:
    """One claimed import on its way to its end."""

    def __init__(
        self, store: Store, claimed: Import, intake: Intake, clock: Clock, lease: timedelta
    ) -> None:
        self._store = store
        self._claimed = claimed
        self._intake = intake
        self._clock = clock
        self._lease = lease
        self._options = ImportOptions.model_validate(claimed.options)

    def settle(self) -> Import:
        """Read to the end, whatever the end is: no import may be claimed for ever."""
        state, reason = ImportState.FAILED, f"its worker died {MOST_CLAIMS} times"
        if self._claimed.attempts <= MOST_CLAIMS:
            state, reason = self._outcome()
        with self._store.begin() as tx:
            imports.hold(tx, claimed=self._claimed)
            imports.finish(
                tx,
                import_id=self._claimed.id,
                state=state.value,
                reason=reason[:REASON_SHOWN] or None,
                now=self._clock(),
            )
            return imports.status(tx, import_id=self._claimed.id)

    def _outcome(self) -> tuple[ImportState, str]:
        """How it ended, and what there is to say."""
        try:
            with kept(self._prolong, lease=self._lease):
                return ImportState.FINISHED, self._read()
        except (Conflict, StoreUnavailable):
            raise
        except (InvalidInput, ReaderDied) as told:
            return ImportState.FAILED, str(told)
        except Exception as bug:
            log.exception("import %s cannot be read", self._claimed.id)
            return ImportState.FAILED, f"{type(bug).__name__}: {bug}"

    def _prolong(self) -> bool:
        with self._store.begin() as tx:
            return imports.prolong(tx, claimed=self._claimed, until=self._until())

    def _until(self) -> datetime:
        return self._clock() + self._lease

    def _read(self) -> str:
        """All of the file; what there is to say about its end."""
        if self._options.strict and not self._claimed.is_checked:
            self._through(self._check, lambda now: now.checked)
            found = self._now()
            with self._store.begin() as tx:
                imports.hold(tx, claimed=self._claimed)
                imports.end_check(tx, import_id=found.id, passed=not found.faulty)
            if found.faulty:
                return f"--strict: nothing was imported, for {found.faulty:,} records are wrong"
        return self._through(self._keep, lambda now: now.read)

    def _now(self) -> Import:
        return status(self._store, import_id=self._claimed.id)

    def _through(
        self, take: Callable[[Tx, Block], Progress], place: Callable[[Import], int]
    ) -> str:
        """Take every block, each in a transaction; what there is to say about the end.

        A reader that dies is started again behind the last block: it may have been killed. One
        that dies at one place again is killed by the file.
        """
        deaths, done = 0, place(self._now())
        while True:
            try:
                return self._blocks(take, skip=done)
            except ReaderDied as died:
                before, done = done, place(self._now())
                deaths = deaths + 1 if done == before else 1
                log.warning("import %s after %d records: %s", self._claimed.id, done, died)
                if deaths >= MOST_DEATHS:
                    raise ReaderDied(
                        f"{died.message}; {done:,} records were read before",
                        remedy="leave out what comes next in the file, or divide it there",
                    ) from died

    def _blocks(self, take: Callable[[Tx, Block], Progress], *, skip: int) -> str:
        end = ""
        for block in self._intake.blocks(self._job(skip), self._content(), self._benchmarks()):
            with self._store.begin() as tx:
                imports.hold(tx, claimed=self._claimed)
                imports.advance(
                    tx,
                    import_id=self._claimed.id,
                    progress=take(tx, block),
                    rejects=block.faulty,
                    until=self._until(),
                )
            end = next((_end(one) for one in block.faulty if one.fatal), end)
        return end

    def _check(self, _tx: Tx, block: Block) -> Progress:
        return Progress(done=block.at, how=block.how, checked=block.read)

    def _keep(self, tx: Tx, block: Block) -> Progress:
        """Store a block's rows."""
        rows, mine, now = block.rows, self._claimed, self._clock()
        arrivals = [row.arrival for row in rows]
        added = examples.add(tx, arrivals=arrivals, source=Source.IMPORTED, due_at=now, now=now)
        near = integration.count_templates(tx, domain=mine.domain, rows=rows, new=added.new)
        if self._options.trust:
            integration.trust(tx, import_id=mine.id, actor=mine.actor, rows=rows)
        return Progress(
            done=block.at,
            how=block.how,
            read=block.read,
            new=added.new,
            duplicate=added.duplicate + added.conflicting + added.resent,
            near_duplicate=near,
        )

    def _job(self, skip: int) -> Job:
        mine = self._claimed
        return Job(
            import_id=str(mine.id),
            domain=mine.domain,
            filename=mine.filename,
            sha256=mine.sha256,
            created_at=mine.created_at.isoformat(),
            options=self._options,
            skip=skip,
        )

    def _content(self) -> Iterator[bytes]:
        """The file piece by piece; no transaction stays open between two."""
        for position in count():
            with self._store.begin() as tx:
                piece = imports.chunk(tx, import_id=self._claimed.id, position=position)
            if piece is None:
                return
            yield piece

    def _benchmarks(self) -> dict[str, bytes]:
        with self._store.begin() as tx:
            return benchmarks.packed(tx)


def _end(fatal: Faulty) -> str:
    return f"the rest of the file was not read: line {fatal.line}: {fatal.message}"


def status(store: Store, *, import_id: UUID) -> Import:
    """How far an import is."""
    with store.begin() as tx:
        return imports.status(tx, import_id=import_id)


def rejects(store: Store, *, import_id: UUID, limit: int) -> list[Faulty]:
    """The first records an import refused."""
    with store.begin() as tx:
        return imports.rejects(tx, import_id=import_id, limit=limit)


def every_reject(store: Store, *, import_id: UUID) -> Iterator[Faulty]:
    """All records an import refused, in the order of the file."""
    after = 0
    while True:
        with store.begin() as tx:
            found = imports.rejects(tx, import_id=import_id, limit=REJECTS_AT_ONCE, after=after)
        yield from found
        if not found:
            return
        after = found[-1].record
