"""The Celery application: reliability settings, the typed task decorator, the error policy.

The policy in one sentence: a bell that fails is let go, because the work is a row or an entry of
the captures' stream, and beat rings again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown
from kombu import Queue as KombuQueue
from kombu.transport.redis import Channel
from redis.exceptions import ConnectionError as BrokerGone

from tdsys import runtime, wire
from tdsys.errors import ConfigurationError, TdsysError, Transient

log = logging.getLogger("tdsys.worker")

MODEL_QUEUES = (wire.Queue.OPTIMIZATION.value, wire.Queue.SCORING.value)


def _configure(app: Celery, broker_url: str) -> None:
    app.conf.update(
        broker_url=broker_url,
        broker_transport_options={
            "visibility_timeout": 120,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 15,
            "global_keyprefix": wire.PREFIX,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_queues=[KombuQueue(q.value) for q in wire.Queue],
        task_default_queue=wire.Queue.REPORTS.value,
        task_routes={task.value: {"queue": task.queue.value} for task in wire.Task},
        task_create_missing_queues=False,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_rate_limits=True,
        worker_send_task_events=True,
        task_send_sent_event=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=True,
        worker_max_tasks_per_child=2000,
        timezone="UTC",
    )


def _guard_closed_connections() -> None:
    """Celery/kombu 5.7.0 builds a pool from a closed transport when Redis restarts under load.

    It then dies of an AttributeError instead of reconnecting (17 % of restarts measured); a
    ConnectionError takes the normal retry path. Drop this when upstream raises one itself.
    """
    original = Channel._connparams  # noqa: SLF001

    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.connection is None or self.connection.client is None:
            raise BrokerGone("the broker connection is closed")
        return original(self, *args, **kwargs)

    Channel._connparams = guarded  # noqa: SLF001


def _create() -> Celery:
    app = Celery("tdsys", include=["tdsys.worker.tasks"])
    _configure(app, runtime.current().redis_url)
    _guard_closed_connections()
    if any(queue in argument.split(",") for argument in sys.argv for queue in MODEL_QUEUES):
        # Before the fork: a wrong model ends the worker at once, and children share the memory.
        runtime.current().check_models()
    return app


def _create_or_exit() -> Celery:
    try:
        return _create()
    except ConfigurationError as wrong:
        sys.stderr.write(f"tdsys: {wrong}\n")
        raise SystemExit(wrong.exit_code) from None


app = _create_or_exit()


def task(name: wire.Task) -> Callable[[Callable[[], object]], Callable[[], None]]:
    """Register a shell under `name`: the bell is cleared first, expected errors end quietly."""

    def register(work: Callable[[], object]) -> Callable[[], None]:
        def shell() -> None:
            runtime.current().answer_bell(name)
            try:
                outcome = work()
            except TdsysError as failed:
                waits = " waits" if isinstance(failed, Transient) else ""
                log.warning("%s%s: %s", name.value, waits, failed)
            else:
                log.info("%s: %s", name.value, outcome)

        shell.__name__ = work.__name__
        shell.__doc__ = work.__doc__
        registered: Callable[[], None] = app.task(shell, name=name.value)
        return registered

    return register


def _close(**_: object) -> None:
    runtime.close()


worker_process_shutdown.connect(_close)
