"""Read a file without keeping anything: a sample for a guess, or all of it for a dry run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.core.conversion import ImportOptions
from tdsys.core.intake import Block, Faulty, Intake, InVain, Job, Purpose, in_vain
from tdsys.store import Store, benchmarks, integration, policies

SAMPLE = 20


class Counts(NamedTuple):
    """What an import would do."""

    read: int = 0
    new: int = 0
    duplicate: int = 0
    rejected: int = 0
    near_duplicate: int = 0


class Rehearsed(NamedTuple):
    """The counts, how the file was read, why its rest was not, whether the domain is new."""

    counts: Counts
    how: str
    reason: str = ""
    is_new_domain: bool = False


def sample(
    intake: Intake,
    *,
    pieces: Iterable[bytes],
    filename: str,
    options: ImportOptions,
    in_part: bool = False,
) -> tuple[list[JsonValue], str]:
    """The first records of a file as they are, and how it is read; InvalidInput where it is not.

    What is cut off by the end of pieces that are only a part of it is not complained about.
    """
    job = Job(
        purpose=Purpose.SAMPLE, filename=filename, options=options, most=SAMPLE, in_part=in_part
    )
    blocks = list(intake.blocks(job, pieces))
    return [one for block in blocks for one in block.values], "".join(b.how for b in blocks)


def rehearse(
    store: Store,
    intake: Intake,
    *,
    pieces: Iterable[bytes],
    filename: str,
    domain: str,
    options: ImportOptions,
    refused: Callable[[Faulty], None],
    looked: Callable[[Counts], None] = lambda _: None,
) -> Rehearsed:
    """Do everything an import does but keep it; `refused` hears of every record it would refuse."""
    job = Job(domain=domain, filename=filename, created_at=NEVER, options=options)
    done, how, reason = Counts(), "", ""
    with store.begin() as tx:
        is_new = domain not in policies.domains(tx)
        integration.begin_rehearsal(tx)
        for block in intake.blocks(job, pieces, benchmarks.packed(tx)):
            new, near = integration.rehearse(tx, domain=domain, rows=block.rows)
            done = _plus(done, block, new, near)
            how = how or block.how
            for one in block.faulty:
                refused(one)
                reason = (
                    f"the rest of the file was not read: {one.message}" if one.fatal else reason
                )
            looked(done)
            try:
                in_vain(read=done.read, faulty=done.rejected)
            except InVain as told:
                reason = str(told)
                break
    if options.strict and done.rejected:
        done = Counts(read=done.read, rejected=done.read)
    return Rehearsed(done, how, reason, is_new)


def _plus(done: Counts, block: Block, new: int, near: int) -> Counts:
    return Counts(
        read=done.read + block.read,
        new=done.new + new,
        duplicate=done.duplicate + len(block.rows) - new,
        rejected=done.rejected + len(block.faulty),
        near_duplicate=done.near_duplicate + near,
    )


# A rehearsal writes rows that nobody stores.
NEVER = "1970-01-01T00:00:00+00:00"
