"""The beat under test: it rings each second what the real one rings each few."""

from __future__ import annotations

import beat_schedule  # noqa: F401  # it fills in what is changed here
from tdsys.wire import Task
from tdsys.worker.app import app

SECONDS = 1.0

app.conf.beat_schedule = {
    name: {**entry, "schedule": SECONDS, "options": {"expires": SECONDS}}
    for name, entry in app.conf.beat_schedule.items()
    if entry["task"] in {Task.INGEST, Task.PARSE, Task.SCORE}
}
app.conf.beat_max_loop_interval = 1
