"""Rows by how their id begins, as people copy it from a table."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Column, Text, cast, select

from tdsys.errors import InvalidInput
from tdsys.store.engine import Tx


def meant(tx: Tx, ids: Column[UUID], *, prefix: str, kind: str, where: str) -> UUID:
    """The only one of these ids that begins so; InvalidInput when it is none, or more than one.

    `kind` is what a person calls such a row, `where` the command that lists them.
    """
    begins = cast(ids, Text).startswith(prefix.lower(), autoescape=True)
    found: list[UUID] = list(tx.scalars(select(ids).where(begins).limit(2)))
    if len(found) != 1:
        raise InvalidInput(
            f"more than one {kind} begins with {prefix!r}"
            if found
            else f"there is no {kind} {prefix!r}",
            remedy=f"see `{where}`",
        )
    return found[0]
