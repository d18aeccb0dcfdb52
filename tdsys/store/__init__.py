"""Postgres: the only SQL. Functions take a transaction first and never commit.

Stages call them inside `with store.begin() as tx:`; `now` is always handed in, aware, UTC.
"""

from __future__ import annotations

from tdsys.store import alert_schema as alert_schema  # every table is known with the store
from tdsys.store import batch_schema as batch_schema
from tdsys.store import browse_schema as browse_schema
from tdsys.store import calibration_schema as calibration_schema
from tdsys.store import cluster_schema as cluster_schema
from tdsys.store import dataset_schema as dataset_schema
from tdsys.store import day_schema as day_schema
from tdsys.store import effect_schema as effect_schema
from tdsys.store import identity_schema as identity_schema
from tdsys.store import import_schema as import_schema
from tdsys.store import judgement_schema as judgement_schema
from tdsys.store import lifecycle_schema as lifecycle_schema
from tdsys.store import measure_schema as measure_schema
from tdsys.store import notice_schema as notice_schema
from tdsys.store import people_schema as people_schema
from tdsys.store import program_schema as program_schema
from tdsys.store import review_schema as review_schema
from tdsys.store.engine import Store, Tx

__all__ = ["Store", "Tx"]
