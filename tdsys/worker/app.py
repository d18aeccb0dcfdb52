"""The Celery application: reliability settings, the typed task decorator, the error policy.

The policy in one sentence: a bell that fails is let go, because the work is a row or an entry of
the captures' stream, and beat rings again.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps
from celery.signals import after_setup_logger, after_setup_task_logger, worker_process_shutdown
from kombu import Queue as KombuQueue

from tdsys import runtime, wire
from tdsys.broker import celery_options
from tdsys.core.printable import printable
from tdsys.errors import ConfigurationError, TdsysError, Transient
from tdsys.worker import leaving, transport

log = logging.getLogger("tdsys.worker")

NICENESS = 10
# What is made is judged first: else a batch's end waits for a judge that lags behind.
MAKER_NICENESS = 5
MODEL_QUEUES = (
    wire.Queue.OPTIMIZATION.value,
    wire.Queue.SCORING.value,
    wire.Queue.SYNTHESIS.value,
)


TRANSPORT = {
    "visibility_timeout": 120,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 15,
    "global_keyprefix": wire.PREFIX,
}


def _configure(app: Celery, broker_url: str) -> None:
    app.conf.update(
        **celery_options(broker_url, **TRANSPORT),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A broker that is full, or read-only in a failover, is waited for too.
        broker_channel_error_retry=True,
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


class _RingAgain(bootsteps.StartStopStep):  # type: ignore[misc]  # celery is not typed
    """A worker that has reached the broker rings once more what rings there.

    The message may be lost, with the broker or with a worker, and the bell would keep the next
    one from being sent until it has rung out.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        here, served = runtime.current(), set(consumer.app.amqp.queues.consume_from)
        for each in wire.Task:
            if each.queue.value in served and here.bells.answer(each):
                here.bells.ring(each)


def serves_only(queue: wire.Queue) -> bool:
    """Whether this worker, and so its pool, was started with `-Q QUEUE` and nothing beside it."""
    return queue.value in sys.argv


def _create() -> Celery:
    transport.register()
    leaving.watch_over_leaving()
    app = Celery("tdsys", include=["tdsys.worker.tasks"], amqp=transport.Messages)
    app.steps["consumer"].add(_RingAgain)
    _configure(app, runtime.current().redis_url)
    if serves_only(wire.Queue.OPTIMIZATION):
        # It has hours; what a generator waits for has not, and may run on the same processors.
        os.nice(NICENESS)
    elif serves_only(wire.Queue.SYNTHESIS):
        os.nice(MAKER_NICENESS)
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
# Nothing of it is garbage, and the children share its memory as long as nobody looks for any.
gc.freeze()
gc.enable()


def task(name: wire.Task) -> Callable[[Callable[[], object]], Callable[[], None]]:
    """Register a shell under `name`: the bell is cleared first, expected errors end quietly."""

    def register(work: Callable[[], object]) -> Callable[[], None]:
        def shell() -> None:
            runtime.current().bells.answer(name)
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


def _harmless(record: logging.LogRecord) -> bool:
    """Providers' and candidates' words reach the log, and whoever reads it sits at a terminal."""
    record.msg, record.args = "\n".join(map(printable, record.getMessage().split("\n"))), None
    return True


def _guard(logger: logging.Logger, **_: object) -> None:
    for handler in logger.handlers:
        handler.addFilter(_harmless)


worker_process_shutdown.connect(_close)
after_setup_logger.connect(_guard)
after_setup_task_logger.connect(_guard)
