"""What a domain was like at the end of each day; under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import Column, Date, ForeignKey, PrimaryKeyConstraint, Table, Text

from tdsys.store.schema import VERBATIM, domains, metadata, time_

days = Table(
    "days",
    metadata,
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("day", Date, nullable=False),
    Column("states", VERBATIM, nullable=False),
    Column("sources", VERBATIM, nullable=False),
    Column("cells", VERBATIM, nullable=False),
    Column("scores", VERBATIM, nullable=False),
    # Of each source: how many have a score, their mean, and that of the admitted; NULL: of before.
    Column("qualities", VERBATIM),
    time_("written_at"),
    PrimaryKeyConstraint("domain", "day"),
)
