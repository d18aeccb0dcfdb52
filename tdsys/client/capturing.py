"""What a generator holds: capture an example and go on; never slow, never raise, never block.

`capture` appends the example to a file of this process and returns; a daemon thread ships batches
and forgets one only when a worker has acknowledged that its rows are committed.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref

from tdsys.client import options
from tdsys.client.calls import Observer, ProgramCallback
from tdsys.client.choosing import Choice
from tdsys.client.programs import WAIT_SECONDS, Program, Programs
from tdsys.client.record import Domains, Serialiser, Stamps, Unfit, orjson_dumps, require_objects
from tdsys.client.shipping import Flushed, Shipper, preload
from tdsys.client.spool import (
    MEMORY_BYTES,
    SPOOL_BYTES,
    FileSpool,
    MemorySpool,
    Spool,
    left_nowhere,
    root_for,
)

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Literal, Self

    from tdsys.client.calls import Domain

# Back within two seconds: the last look at the spool takes its time, too.
CLOSE_SECONDS = 1.9


class CaptureClient:
    """Hands examples to tdsys from inside a generator; thread-safe and fork-safe.

    `redis_url` defaults to TDSYS_REDIS_URL, `spool_dir` to TDSYS_SPOOL_DIR or a folder in the
    user's state folder. What cannot be kept is counted by reason and logged once per reason.
    Only an option that cannot be meant raises, a ValueError, and only here.
    """

    def __init__(  # noqa: PLR0913  # each an option of its own, all by name
        self,
        redis_url: str | None = None,
        *,
        durability: Literal["spool", "memory"] = "spool",
        spool_dir: str | os.PathLike[str] | None = None,
        spool_bytes: int | None = None,
        sample_rate: float = 1.0,
        fields: Iterable[str] | None = None,
        mask: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        capture_failures: bool = False,
        spool: Spool | None = None,
        program_key: str | None = None,
    ) -> None:
        options.check(
            redis_url=redis_url,
            durability=durability,
            spool_dir=spool_dir,
            spool_bytes=spool_bytes,
            sample_rate=sample_rate,
            mask=mask,
            capture_failures=capture_failures,
            spool=spool,
            program_key=program_key,
        )
        url = redis_url or os.environ.get("TDSYS_REDIS_URL", "")
        self._choice = Choice(
            sample_rate=sample_rate, fields=fields, mask=mask, failures=capture_failures
        )
        self._picky = self._choice.is_picky
        preload()
        self._serialise = Serialiser(orjson_dumps())
        self._stamps = Stamps()
        self._domains = Domains()
        keeps_files = durability == "spool"
        self._shipper = Shipper(url, spool or _spool(url, keeps_files, spool_dir, spool_bytes))
        self._programs = Programs(
            url,
            folder=_programs_in(spool_dir or root_for(url)) if keeps_files else "",
            secret=program_key or os.environ.get("TDSYS_PROGRAM_KEY", ""),
        )
        self._shipper.recover()
        if keeps_files and not spool_dir and (left := left_nowhere(root_for(url))):
            self._shipper.say_left(left)
        _clients.add(self)
        _shippers.add(self._shipper)
        # At exit _close_all does more than this: it waits.
        weakref.finalize(self, self._shipper.stop).atexit = False
        weakref.finalize(self, self._programs.stop).atexit = False

    def capture(
        self,
        *,
        domain: str,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        ok: bool = True,
    ) -> str:
        """Keep one generated example and return its capture id at once.

        `ok=False` says that generating failed: skipped, unless the client captures failures.
        """
        shipper = self._shipper
        capture_id, captured_at = self._stamps()
        try:
            picky = self._picky or not ok
            if picky and (unwanted := self._choice.unwanted(ok=ok)) is not None:
                shipper.skip(unwanted)
                return capture_id
            metadata = metadata or {}
            if not type(inputs) is type(outputs) is type(metadata) is dict:
                require_objects(inputs, outputs, metadata)
            document: dict[str, Any] = {
                "domain": domain,
                "inputs": inputs,
                "outputs": outputs,
                "metadata": metadata,
            }
            if picky:
                document = self._choice.of(document, self._serialise, ok=ok)
                domain = document["domain"]
            if type(domain) is not str or domain not in self._domains.known:
                self._domains.check(domain)
            document["capture_id"] = capture_id
            document["captured_at"] = captured_at
            shipper.spool.append(self._serialise(document))
            if shipper.sleeps:
                shipper.wake()
        except Unfit as unfit:
            shipper.drop(str(unfit))
        except Exception:  # noqa: BLE001  # documents are the caller's objects and may do anything
            shipper.drop("internal")
        return capture_id

    def current_program(
        self, domain: str, *, key: object = None, wait: float = WAIT_SECONDS
    ) -> Program | None:
        """The program of a domain to run now, for `module.load_state(...)`; None: none is known.

        The same object until there is another. Never raises, and waits at most `wait` seconds,
        once, for the first. Who names a `key`, such as a user, may get the challenger: always the
        same one for the same key, for the share of keys that the policy says.
        """
        return self._programs.current(domain, key=key, wait=wait)

    def captured(
        self, *, domain: Domain, metadata: dict[str, Any] | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate a function, sync or async: its arguments are the inputs, its result the outputs.

        `domain` is a name, or a function of the inputs that gives one.
        """
        return Observer(self.capture, domain, metadata)

    def dspy_callback(
        self, *, domain: Domain, metadata: dict[str, Any] | None = None
    ) -> ProgramCallback:
        """What captures a DSPy program: `dspy.configure(callbacks=[client.dspy_callback(...)])`."""
        return ProgramCallback(Observer(self.capture, domain, metadata))

    def flush(self, timeout: float = 30.0) -> Flushed:
        """Wait until everything captured is committed, or `timeout` seconds have passed."""
        return self._shipper.flush(time.monotonic() + timeout)

    async def aflush(self, timeout: float = 30.0) -> Flushed:  # noqa: ASYNC109  # as `flush`
        """The same without holding up an event loop."""
        from asyncio import to_thread  # noqa: PLC0415  # who awaits has asyncio already

        return await to_thread(self.flush, timeout)

    def stats(self) -> Flushed:
        """What is committed, pending and dropped right now."""
        return self._shipper.stats()

    def skipped(self) -> dict[str, int]:
        """What was passed over on purpose, by reason: `failed` and `not_sampled`."""
        return dict(self._shipper.counts()["skipped"])

    def close(self) -> Flushed:
        """Flush for at most two seconds; the thread ends when nothing is pending any more.

        A later capture is shipped like any other: it starts the thread again.
        """
        result = self.flush(CLOSE_SECONDS)
        self._shipper.stop()
        self._programs.stop()
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aflush(CLOSE_SECONDS)
        self._shipper.stop()
        self._programs.stop()

    def forked(self) -> None:
        """Begin anew in a child: the parent goes on counting up its ids."""
        self._stamps = Stamps()


def _programs_in(root: str | os.PathLike[str]) -> str:
    """Where the programs that were known last are kept, beside what waits to be shipped."""
    return os.path.join(os.fspath(root), "programs") if root else ""


def _spool(
    url: str,
    keeps_files: bool,  # noqa: FBT001
    folder: str | os.PathLike[str] | None,
    limit: int | None,
) -> Spool:
    if keeps_files and sys.platform != "win32":
        return FileSpool(folder or root_for(url), limit=SPOOL_BYTES if limit is None else limit)
    return MemorySpool(MEMORY_BYTES if limit is None else limit)


_clients: weakref.WeakSet[CaptureClient] = weakref.WeakSet()
# They outlive a client that was collected while its captures were on their way.
_shippers: weakref.WeakSet[Shipper] = weakref.WeakSet()


def _close_all() -> None:
    deadline = time.monotonic() + CLOSE_SECONDS
    for shipper in list(_shippers):
        shipper.flush(deadline)


def _forked() -> None:
    for client in list(_clients):
        client.forked()
    for shipper in list(_shippers):
        shipper.forked()


atexit.register(_close_all)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forked)
