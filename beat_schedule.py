"""What runs when: `celery -A beat_schedule beat`.

Work is found in Postgres, not in messages, so every bell is rung every quarter of a minute as
a backstop for those that were lost; a second beat or a catch-up only rings once more.
"""

from __future__ import annotations

from tdsys.wire import Task
from tdsys.worker.app import app

BACKSTOP_SECONDS = 15.0
HOUR = 3600.0
BACKSTOPS = (Task.PARSE, Task.SCORE, Task.PLAN, Task.OPTIMIZE)

app.conf.beat_schedule = {
    **{f"backstop {t.value}": {"task": t.value, "schedule": BACKSTOP_SECONDS} for t in BACKSTOPS},
    "freshness report": {"task": Task.FRESHNESS.value, "schedule": HOUR},
}
app.conf.beat_max_loop_interval = 5
