"""The schema's history, one numbered file a change; runs without an alembic.ini.

Rule for every file: the program of the version before must still work on the schema after it.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

# Any number of our own: who holds it migrates, all others wait.
LOCK = 7_305_119_020


def upgrade(tx: Connection) -> None:
    """Bring the schema to the newest version, in the caller's transaction: all or nothing."""
    tx.execute(text("SET LOCAL statement_timeout = '10min'"))
    tx.execute(text("SET LOCAL lock_timeout = 0"))
    tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    # From here a lock that is not had soon gives up, or live traffic would queue up behind us.
    tx.execute(text("SET LOCAL lock_timeout = '5s'"))
    config = _config()
    config.attributes["connection"] = tx
    command.upgrade(config, "head")


def revisions(tx: Connection) -> tuple[str | None, str]:
    """The schema's version (None: no schema yet) and the one this program needs."""
    needed = ScriptDirectory.from_config(_config()).get_current_head()
    assert needed is not None  # noqa: S101  # the folder beside this file is never empty
    return MigrationContext.configure(tx).get_current_revision(), needed


def known() -> set[str]:
    """Every version this program knows."""
    return {s.revision for s in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
