"""The tables of imports and benchmarks, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)

from tdsys.store.schema import (
    IS_OPEN,
    VERBATIM,
    count,
    domains,
    flag,
    metadata,
    of_example,
    one_of,
    time_,
)
from tdsys.store.values import Original, Prose


class ImportState(StrEnum):
    """Where one imported file stands."""

    UPLOADING = "uploading"
    DUE = "due"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


# `read`, and for a strict import `checked` before it, say where a new claim goes on; `size` and
# `done` are bytes of the file. A strict import's domain is made when its records come in, or never.
imports = Table(
    "imports",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("domain", Text, nullable=False),
    Column("filename", Prose, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("options", VERBATIM, nullable=False),
    Column("state", Text, nullable=False),
    time_("due_at", nullable=True),
    count("attempts"),
    count("stalls"),
    count("read"),
    count("new"),
    count("duplicate"),
    count("rejected"),
    Column("reason", Prose),
    time_("created_at"),
    time_("finished_at", nullable=True),
    Column("actor", Prose, nullable=False, server_default=text("''")),
    Column("how", Prose, nullable=False, server_default=text("''")),
    Column("size", BigInteger, nullable=False, server_default=text("0")),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    count("near_duplicate"),
    count("faulty"),
    count("checked"),
    flag("is_checked"),
    Column("policy_version", Integer, nullable=False),
    one_of("state", ImportState),
    CheckConstraint(
        "(state IN ('due', 'running')) = (due_at IS NOT NULL)", name="only_open_imports_are_due"
    ),
    # Whoever reads the counts may add them up.
    CheckConstraint("read = new + duplicate + rejected", name="every_record_is_counted"),
    Index("ix_imports_claim", "due_at", postgresql_where=IS_OPEN),
    Index(None, "domain", "sha256"),
)

# In pieces, so neither side ever holds a whole file in memory.
import_chunks = Table(
    "import_chunks",
    metadata,
    Column("import_id", Uuid, ForeignKey(imports.c.id, ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("import_id", "position"),
)

# One row a record, whole: it is mended and sent again. `value` is what could be read of it.
import_rejects = Table(
    "import_rejects",
    metadata,
    Column("import_id", Uuid, ForeignKey(imports.c.id, ondelete="CASCADE"), nullable=False),
    Column("line", Integer, nullable=False),
    Column("field", Prose, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Prose, nullable=False),
    Column("remedy", Prose, nullable=False),
    Column("raw", Original, nullable=False),
    Column("record", Integer, Identity(always=False), nullable=False),
    Column("column", Integer, nullable=False, server_default=text("1")),
    Column("value", VERBATIM),
    PrimaryKeyConstraint("import_id", "record"),
)

# The templates imported so far, as marks: what comes again is a near-duplicate.
import_templates = Table(
    "import_templates",
    metadata,
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("template", BigInteger, nullable=False),
    PrimaryKeyConstraint("domain", "template"),
)

# Not in an example's metadata: that is written by whoever made the file.
trusted_examples = Table(
    "trusted_examples",
    metadata,
    of_example(),
    Column("import_id", Uuid, ForeignKey(imports.c.id), nullable=False),
    Column("actor", Prose, nullable=False),
    Index(None, "import_id"),
)

benchmarks = Table(
    "benchmarks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("filename", Prose, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("problems", Integer, nullable=False),
    Column("author", Prose, nullable=False),
    time_("created_at"),
)

# Hashes only: whoever reads this database must not learn the tests from it.
benchmark_marks = Table(
    "benchmark_marks",
    metadata,
    Column("benchmark", Text, ForeignKey(benchmarks.c.name, ondelete="CASCADE"), nullable=False),
    Column("mark", BigInteger, nullable=False),
    PrimaryKeyConstraint("benchmark", "mark"),
)
