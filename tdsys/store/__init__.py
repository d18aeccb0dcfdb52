"""Postgres: the only SQL. Functions take a transaction first and never commit.

Stages call them inside `with store.begin() as tx:`; `now` is always handed in, aware, UTC.
"""

from __future__ import annotations

# Every table is known with the store.
from tdsys.store import cluster_schema as cluster_schema
from tdsys.store import import_schema as import_schema
from tdsys.store.engine import Store, Tx

__all__ = ["Store", "Tx"]
