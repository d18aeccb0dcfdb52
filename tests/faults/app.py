"""The worker under test: ours, but for what `tests.faults.quick` says and shorter waits.

`celery -A tests.faults.app worker`. Everything that decides what is lost or doubled is the real.
"""

from __future__ import annotations

from tdsys import runtime
from tests.faults.quick import QuickRuntime

runtime.Runtime = QuickRuntime  # type: ignore[misc]
from tdsys.worker.app import app  # noqa: E402  # it makes its runtime when it is imported

app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "visibility_timeout": 2,
    "unacked_restore_interval": 1,
    "socket_timeout": 2,
}
