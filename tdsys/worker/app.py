"""The Celery application: reliability settings, the typed task decorator, the error policy.

The policy in one sentence: a bell that fails is let go, because beat rings again; a message that
carries data is tried again until its rows are stored, or kept as refusals.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from celery.signals import worker_process_shutdown
from kombu import Queue as KombuQueue
from redis.exceptions import RedisError

from tdsys import runtime, wire
from tdsys.broker import celery_options
from tdsys.errors import ConfigurationError, TdsysError, Transient
from tdsys.worker import transport

log = logging.getLogger("tdsys.worker")

# What an operator or time mends: waited for, however long it takes.
MENDABLE = (Transient, ConfigurationError)
UNEXPECTED_TRIES = 8
LONGEST_WAIT_SECONDS = 30
# Well below the visibility timeout, after which the broker hands the message out again.
RESEND_SECONDS = 60
UNEXPECTED = "unexpected"

MODEL_QUEUES = (wire.Queue.OPTIMIZATION.value, wire.Queue.SCORING.value)


# Only captures are acked late, and they take seconds: short leases recover fast.
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
        # Batches that wait for Postgres are held in memory: no more than these at once.
        worker_eta_task_limit=1000,
        worker_disable_rate_limits=True,
        worker_send_task_events=True,
        task_send_sent_event=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=True,
        worker_max_tasks_per_child=2000,
        timezone="UTC",
    )


def _create() -> Celery:
    transport.register()
    app = Celery("tdsys", include=["tdsys.worker.tasks"], amqp=transport.Messages)
    _configure(app, runtime.current().redis_url)
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


def task(
    name: wire.Task, *, give_up: Callable[..., object] | None = None
) -> Callable[[Callable[..., object]], Callable[..., None]]:
    """Register a shell under `name`: bells are cleared first, expected errors end quietly.

    With `give_up` the message carries data: it is acked late, tried again whatever goes wrong,
    and what goes wrong for ever is handed to `give_up` with the message's arguments and a reason.
    """

    def register(work: Callable[..., object]) -> Callable[..., None]:
        def shell(self: Any, **arguments: str) -> None:
            runtime.current().answer_bell(name)
            try:
                outcome = work(**arguments)
            except Exception as failed:  # noqa: BLE001  # the policy decides about every one
                if give_up is None:
                    _let_go(name, failed)
                else:
                    _hold_on(self, failed, arguments, give_up)
            else:
                log.info("%s: %s", name.value, outcome)

        shell.__name__ = work.__name__
        shell.__doc__ = work.__doc__
        registered: Callable[..., None] = app.task(
            shell,
            name=name.value,
            bind=True,
            acks_late=give_up is not None,
            reject_on_worker_lost=give_up is not None,
            max_retries=None,
        )
        return registered

    return register


def _let_go(name: wire.Task, failed: Exception) -> None:
    if not isinstance(failed, TdsysError):
        raise failed
    waits = " waits" if isinstance(failed, Transient) else ""
    log.warning("%s%s: %s", name.value, waits, failed)


def _hold_on(
    bound: Any, failed: Exception, arguments: dict[str, str], give_up: Callable[..., object]
) -> None:
    unexpected = int(bound.request.get(UNEXPECTED, 0))
    if isinstance(failed, MENDABLE):
        log.warning("%s waits: %s", bound.name, failed)
    else:
        unexpected += 1
        log.error("%s failed, time %s", bound.name, unexpected, exc_info=failed)
    if unexpected > UNEXPECTED_TRIES:
        try:
            outcome = give_up(**arguments, reason=repr(failed))
        except MENDABLE as later:
            log.warning("%s waits: %s", bound.name, later)
        else:
            log.error("%s gave up: %s", bound.name, outcome)
            return
    _try_again(bound, failed, batch_id=arguments["batch_id"], unexpected=unexpected)


def _try_again(bound: Any, failed: Exception, *, batch_id: str, unexpected: int) -> None:
    """Send the message again, later; its copies end here, or they would multiply in an outage."""
    seconds = min(LONGEST_WAIT_SECONDS, 2 ** min(bound.request.retries, 5))
    if not _waits_alone(batch_id, seconds):
        log.info("%s: another message of batch %s waits already", bound.name, batch_id)
        return
    deadline = time.monotonic() + RESEND_SECONDS
    while True:
        try:
            bound.retry(
                exc=failed,
                countdown=seconds,
                headers={UNEXPECTED: unexpected},
                # what Flower and the log show: nothing of the captures
                argsrepr="()",
                kwargsrepr="{...}",
            )
        except Reject as unsent:
            log.warning("%s: the broker does not take the next try: %s", bound.name, unsent.reason)
            # Celery would now drop the message there is.
            if time.monotonic() > deadline:
                raise Reject(unsent.reason, requeue=True) from None
            time.sleep(1)


def _waits_alone(batch_id: str, seconds: int) -> bool:
    # Over before the next try begins, which may have to wait once more.
    milliseconds = seconds * 1000 - 500
    try:
        broker = runtime.current().broker
        return bool(broker.set(wire.waiting_key(batch_id), "1", nx=True, px=milliseconds))
    except RedisError:
        return True


def _close(**_: object) -> None:
    runtime.close()


worker_process_shutdown.connect(_close)
