"""What runs when: `celery -A beat_schedule beat`.

Work is found in Postgres or in the captures' stream, not in messages, so a message that says
"look" is sent every quarter of a minute as a backstop for bells that were lost; for captures,
whose generators wait to hear of them, every five seconds. A second beat or a catch-up only sends
one more. Beat does not coalesce as bells do: what a busy worker has not read when the next one
comes is out of date, and the worker drops it instead of looking once for each.
"""

from __future__ import annotations

from tdsys.wire import Task
from tdsys.worker.app import app

BACKSTOP_SECONDS = 15.0
HOUR = 3600.0
BACKSTOPS = {
    Task.INGEST: 5.0,
    **dict.fromkeys(
        (
            Task.GENERATE,
            Task.PARSE,
            Task.SCORE,
            Task.PLAN,
            Task.OPTIMIZE,
            Task.PUBLISH,
            Task.ATTRIBUTE,
            Task.OPERATE,
            Task.CATCH_UP,
            Task.DELIVER,
        ),
        BACKSTOP_SECONDS,
    ),
    Task.PRUNE: 600.0,
    Task.ALERTS: 60.0,
}

app.conf.beat_schedule = {
    **{
        f"backstop {task.value}": {
            "task": task.value,
            "schedule": seconds,
            "options": {"expires": seconds},
        }
        for task, seconds in BACKSTOPS.items()
    },
    **{
        f"hourly {task.value}": {
            "task": task.value,
            "schedule": HOUR,
            "options": {"expires": HOUR},
        }
        for task in (Task.FRESHNESS, Task.DRIFT)
    },
}
app.conf.beat_max_loop_interval = 5
