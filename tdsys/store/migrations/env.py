"""What alembic runs: migrations on the connection it was handed, in that transaction."""

from __future__ import annotations

from alembic import context

from tdsys.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
