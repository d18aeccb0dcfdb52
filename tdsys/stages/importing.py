"""Read uploaded files block by block: good records are stored, bad ones explained.

One rule: a record is counted in the transaction that stores or refuses it, so whatever dies and
whenever, `read = new + duplicate + rejected`, and the next claim goes on behind the last block.
Files are read by turns: to stop in the middle costs nothing while the child keeps its place.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from tdsys.core.conversion import ImportOptions
from tdsys.core.example import Source
from tdsys.core.intake import Block, Faulty, Intake, InVain, Job, ReaderDied, in_vain
from tdsys.errors import Conflict, InvalidInput, NotReady, StoreUnavailable
from tdsys.stages.leases import Clock, kept
from tdsys.store import Store, Tx, benchmarks, examples, imports, integration
from tdsys.store.import_schema import ImportState
from tdsys.store.imports import Import, Progress

REASON_SHOWN = 2000
# So many claims in a row that brought nothing: a file that kills its worker must end as failed, and
# one is not to blame for a database or a worker that went away while it was being read.
MOST_STALLS = 20
# A reader that dies is started again behind the last block, but once only at one place.
MOST_DEATHS = 2
REJECTS_AT_ONCE = 50
# How long a file is read while others wait, and how many are open, each in a child of its own.
TURN = timedelta(seconds=2)
AT_ONCE = 4
Steps = Generator[None, None, str]
UPLOADS_ARE_KEPT = timedelta(days=1)

log = logging.getLogger("tdsys.importing")


def read_due(store: Store, *, intake: Intake, clock: Clock, lease: timedelta) -> list[Import]:
    """Read what is due, by turns; a killed import is claimed again, behind its last block."""
    done: list[Import] = []
    begun: deque[_Reading] = deque()
    with store.begin() as tx:
        imports.discard_abandoned(tx, before=clock() - UPLOADS_ARE_KEPT)
    try:
        while True:
            if len(begun) < AT_ONCE and (claimed := _claimed(store, lease, clock)):
                begun.append(_Reading(store, claimed, intake, clock, lease))
            if not begun:
                return done
            reading = begun.popleft()
            if reading.turn():
                begun.append(reading)
            elif reading.ended:
                done.append(reading.ended)
    finally:
        for reading in begun:
            reading.close()


def _claimed(store: Store, lease: timedelta, clock: Clock) -> Import | None:
    with store.begin() as tx:
        return imports.claim(tx, lease=lease, now=clock())


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
        self._steps = self._settle()
        self.ended: Import | None = None

    def turn(self) -> bool:
        """Read for a while; whether there is more to do."""
        began = self._clock()
        try:
            for _ in self._steps:
                if abs(self._clock() - began) >= TURN:
                    return True
        except Conflict as lost:
            log.warning("%s", lost)
        return False

    def close(self) -> None:
        """Let go of the child; the lease runs out."""
        self._steps.close()

    def _settle(self) -> Generator[None]:
        """Read to the end, whatever the end is: no import may be claimed for ever."""
        state, reason = ImportState.FAILED, _stalled(self._claimed)
        if self._claimed.stalls <= MOST_STALLS:
            state, reason = yield from self._outcome()
        with self._store.begin() as tx:
            imports.hold(tx, claimed=self._claimed)
            imports.finish(
                tx,
                import_id=self._claimed.id,
                state=state.value,
                reason=reason[:REASON_SHOWN] or None,
                now=self._clock(),
            )
            self.ended = imports.status(tx, import_id=self._claimed.id)

    def _outcome(self) -> Generator[None, None, tuple[ImportState, str]]:
        """How it ended, and what there is to say."""
        try:
            with kept(self._prolong, lease=self._lease):
                return ImportState.FINISHED, (yield from self._read())
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

    def _read(self) -> Steps:
        """All of the file; what there is to say about its end."""
        if self._options.strict and not self._claimed.is_checked:
            yield from self._checked()
            found = self._now()
            with self._store.begin() as tx:
                imports.hold(tx, claimed=self._claimed)
                imports.end_check(tx, import_id=found.id, passed=not found.faulty)
            if found.faulty:
                return f"--strict: nothing was imported, for {found.faulty:,} records are wrong"
        return (yield from self._through(self._keep, lambda now: now.read))

    def _checked(self) -> Generator[None]:
        try:
            yield from self._through(self._check, lambda now: now.checked)
        except InVain as told:
            log.info("import %s: %s", self._claimed.id, told)

    def _now(self) -> Import:
        return status(self._store, import_id=self._claimed.id)

    def _through(
        self, take: Callable[[Tx, Block], Progress], place: Callable[[Import], int]
    ) -> Steps:
        """Take every block, each in a transaction; what there is to say about the end.

        A reader that dies is started again behind the last block: it may have been killed. One
        that dies at one place again is killed by the file.
        """
        deaths, done = 0, place(self._now())
        while True:
            try:
                return (yield from self._blocks(take, place, skip=done))
            except ReaderDied as died:
                before, done = done, place(self._now())
                deaths = deaths + 1 if done == before else 1
                log.warning("import %s after %d records: %s", self._claimed.id, done, died)
                if deaths >= MOST_DEATHS:
                    raise ReaderDied(
                        f"{died.message}; {done:,} records were read before",
                        remedy="leave out what comes next in the file, or divide it there",
                    ) from died

    def _blocks(
        self,
        take: Callable[[Tx, Block], Progress],
        place: Callable[[Import], int],
        *,
        skip: int,
    ) -> Steps:
        end = ""
        for block in self._intake.blocks(self._job(skip), self._content(), self._benchmarks()):
            with self._store.begin() as tx:
                held = imports.hold(tx, claimed=self._claimed)
                imports.advance(
                    tx,
                    import_id=self._claimed.id,
                    progress=take(tx, block),
                    rejects=block.faulty,
                    until=self._until(),
                )
            end = next((_end(one) for one in block.faulty if one.fatal), end)
            if block.faulty:
                in_vain(read=place(held) + block.read, faulty=held.faulty + len(block.faulty))
            yield
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


def _stalled(claimed: Import) -> str:
    return (
        f"it was begun {MOST_STALLS} times in a row and each time its worker died, or lost the "
        f"database, before another record was read; {claimed.read:,} records were read before"
    )


def _end(fatal: Faulty) -> str:
    return f"the rest of the file was not read: line {fatal.line}: {fatal.message}"


def status(store: Store, *, import_id: UUID) -> Import:
    """How far an import is."""
    with store.begin() as tx:
        return imports.status(tx, import_id=import_id)


def meant(store: Store, *, prefix: str) -> UUID:
    """The import whose id begins so; InvalidInput when there is none, or more than one."""
    with store.begin() as tx:
        return imports.meant(tx, prefix=prefix)


def held_up(store: Store, *, import_id: UUID, now: datetime) -> str:
    """Why an import stands still; empty where no worker has anything in hand."""
    with store.begin() as tx:
        mine = imports.status(tx, import_id=import_id)
        in_hand = imports.in_hand(tx, now=now)
    others = [one for one in in_hand if one.id != import_id]
    if len(others) == len(in_hand) and others:
        first = others[0]
        return f"it waits behind import {first.id} ({first.filename}, {first.read:,} records read)"
    if in_hand and mine.due_at:
        left = (mine.due_at - now).total_seconds()
        return (
            "a worker has it in hand and reads something slow; if that worker has died, "
            f"its lease ends in {left:.0f} s and another one goes on"
        )
    return ""


def cancel(store: Store, *, import_id: UUID, actor: str, clock: Clock) -> None:
    """End an open import, whoever reads it; what came in stays. NotReady when it is not open."""
    with store.begin() as tx:
        ended = imports.finish(
            tx,
            import_id=import_id,
            state=ImportState.FAILED.value,
            reason=f"cancelled by {actor}",
            now=clock(),
        )
        if not ended:
            found = imports.status(tx, import_id=import_id)
            raise NotReady(f"import {import_id} is {found.state}")


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
