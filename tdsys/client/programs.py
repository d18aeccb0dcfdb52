"""The program a generator should run now: the last one known, at once, and soon the newest.

A daemon thread asks the broker; who calls never touches the network. Redis commands used, and no
others: HGET, HSTRLEN and HMGET on `tdsys:program:*`. What comes from there is data to be doubted:
JSON of a bounded size whose digest fits, with the fields of a `dspy.Predict` and nothing else.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue

from tdsys import wire
from tdsys.client.spool import root_for

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from typing import Any

    from redis import Redis

    _Dict = dict[str, Any]
else:
    _Dict = dict

REFRESH_SECONDS = 5.0
WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 5.0
# Nobody asked for so long: the thread rests until somebody does.
WANTED_SECONDS = 300.0
LONGEST_NAME = 200
THREAD = "tdsys-programs"
# What dspy.Predict.load_state would set on the program; any other name is refused.
STATE = frozenset({"demos", "fields", "lm", "signature", "traces", "train"})


class Program(_Dict):
    """A program's state, for `module.load_state(program)`; the same object until there is another.

    `role` is champion or challenger; `metadata` goes into what is captured of its answers.
    """

    def __init__(self, state: _Dict, *, domain: str, id: int, role: str, etag: str) -> None:  # noqa: A002
        super().__init__(state)
        self.domain, self.id, self.role, self.etag = domain, id, role, etag

    @property
    def metadata(self) -> _Dict:
        """Which program it was, for the metadata of a capture."""
        return {"served_program": self.id, "served_as": self.role}


class Refused(ValueError):
    """What lies in the broker, or on the disk, is no program."""


class _Kept:
    """What is known of one domain; `etag` names the document it came from."""

    def __init__(
        self, etag: str, champion: Program, challenger: Program | None, share: float
    ) -> None:
        self.etag, self.champion, self.challenger, self.share = etag, champion, challenger, share

    def chosen(self, key: object) -> Program:
        """The challenger for a share of keys, always the same ones; the champion for all others."""
        if self.challenger is None or key is None:
            return self.champion
        hashlib = importlib.import_module("hashlib")
        text = f"{self.challenger.id} {key}".encode("utf-8", "surrogatepass")
        drawn = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64
        return self.challenger if drawn < self.share else self.champion


class Programs:
    """The programs of the domains somebody asks for; thread-safe and fork-safe, never raises."""

    def __init__(self, url: str, *, folder: str = "", secret: str = "") -> None:
        self._url, self._folder, self._secret = url, folder, secret.encode()
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._known: dict[str, _Kept] = {}
        self._asked: dict[str, float] = {}
        self._looked: dict[str, threading.Event] = {}
        self._first: dict[str, float] = {}
        self._news: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._warned: set[str] = set()
        self._ending = False

    def forked(self) -> None:
        """Begin anew in a child, with what the parent knew."""
        known = dict(self._known)
        self._begin()
        self._known = known

    def stop(self) -> None:
        """Let the thread end; who asks again starts another."""
        self._ending = True
        self._news.put(None)

    def current(
        self, domain: str, *, key: object = None, wait: float = WAIT_SECONDS
    ) -> Program | None:
        """The program to run now, or None where none was ever heard of."""
        kept = None
        try:
            self._want(domain, min(max(0.0, wait), LONGEST_WAIT_SECONDS))
        except Exception as error:  # noqa: BLE001  # a generator must never see our trouble
            self._warn(error)
        try:
            kept = self._known.get(domain)
            return None if kept is None else kept.chosen(key)
        except Exception as error:  # noqa: BLE001  # a key may break when it is read
            self._warn(error)
            return None if kept is None else kept.champion

    def _want(self, domain: str, wait: float) -> None:
        """Have it looked for; who asks first for a domain waits for that, but not for long."""
        if type(domain) is not str or len(domain) > LONGEST_NAME:
            return
        looked = self._looked.get(domain)
        if looked is None:
            with self._lock:
                looked = self._looked.setdefault(domain, threading.Event())
                self._first.setdefault(domain, time.monotonic())
            importlib.import_module("hashlib")
            self._news.put(None)
        self._asked[domain] = time.monotonic()
        self._start()
        if not looked.is_set():
            # From the first call on, so a broker that hangs does not hold up every call.
            left = self._first.get(domain, 0.0) + wait - time.monotonic()
            if left > 0:
                looked.wait(left)

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive() and not self._ending:
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive() or self._ending:
                self._ending = False
                thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        broker: Redis | None = None
        while self._is_wanted():
            for domain in list(self._asked):
                try:
                    broker = broker or _connect(self._url)
                    self._look(broker, domain)
                except Exception as error:  # noqa: BLE001  # a generator must never see our trouble
                    self._warn(error)
                    self._recall(domain)
                if looked := self._looked.get(domain):
                    looked.set()
            with suppress(Empty):
                self._news.get(timeout=REFRESH_SECONDS)
        if broker is not None:
            with suppress(Exception):
                broker.close()

    def _is_wanted(self) -> bool:
        """Whether this thread is the one, and anybody asked lately."""
        with self._lock:
            if self._ending or self._thread not in {None, threading.current_thread()}:
                return False
            late = time.monotonic() - WANTED_SECONDS
            for domain in [one for one, at in list(self._asked.items()) if at < late]:
                del self._asked[domain]
                if domain not in self._known:
                    self._looked.pop(domain, None)
                    self._first.pop(domain, None)
            if not self._asked:
                self._thread = None
            return bool(self._asked)

    def _look(self, broker: Redis, domain: str) -> None:
        """Take the document over if it is another than the one that is known."""
        key, kept = wire.program_key(domain), self._known.get(domain)
        etag: Any = broker.hget(key, wire.ETAG_FIELD)
        if etag is None:
            self._recall(domain)
            return
        if kept is not None and etag.decode("ascii", "replace") == kept.etag:
            return
        length: Any = broker.hstrlen(key, wire.DOCUMENT_FIELD)
        if length > wire.PROGRAM_BYTES:
            raise Refused(f"it has {length} bytes")
        fields = [wire.DOCUMENT_FIELD, wire.ETAG_FIELD, wire.SIGNATURE_FIELD]
        found: Any = broker.hmget(key, fields)
        document, etag, signature = (each or b"" for each in found)
        self._known[domain] = self._read(domain, document, etag, signature)
        self._remember(domain, document, etag, signature)

    def _read(self, domain: str, document: bytes, etag: bytes, signature: bytes) -> _Kept:
        if len(document) > wire.PROGRAM_BYTES:
            raise Refused(f"it has {len(document)} bytes")
        hashlib = importlib.import_module("hashlib")
        if hashlib.sha256(document).hexdigest().encode() != etag:
            raise Refused("its digest does not fit")
        if self._secret and not _is_signed(self._secret, document, signature):
            raise Refused("it is not signed with our key")
        return _understood(domain, document, etag.decode())

    def _remember(self, domain: str, document: bytes, etag: bytes, signature: bytes) -> None:
        """Keep it for a process that starts while the broker is away."""
        if not self._folder:
            return
        with suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            path = self._path(domain)
            fresh = f"{path}.{os.getpid()}-{threading.get_ident()}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
                file.write(etag + b"\n" + signature + b"\n" + document)
            os.replace(fresh, path)

    def _recall(self, domain: str) -> None:
        """What a process before this one knew, if this one knows nothing."""
        if domain in self._known or not self._folder:
            return
        with suppress(Exception):
            with open(self._path(domain), "rb") as file:
                held = file.read(wire.PROGRAM_BYTES + 1000)
            etag, signature, document = held.split(b"\n", 2)
            self._known[domain] = self._read(domain, document, etag, signature)

    def _path(self, domain: str) -> str:
        hashlib = importlib.import_module("hashlib")
        name = hashlib.sha256(domain.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return os.path.join(self._folder, f"{name}.program")

    def _warn(self, error: Exception) -> None:
        """Say each kind of trouble once; never its text, which may hold a password, unless ours."""
        kind = str(error) if isinstance(error, Refused) else type(error).__name__
        if kind in self._warned or len(self._warned) > 100:  # noqa: PLR2004  # a log is no dump
            return
        self._warned.add(kind)
        # A logging filter is the caller's code: what it raises would reach the caller.
        with suppress(Exception):
            import logging  # noqa: PLC0415  # kept out of the generator's import time

            logging.getLogger("tdsys.client").warning(
                "the program stays the one that was known: %s", kind
            )


def current_program(
    domain: str, *, key: object = None, wait: float = WAIT_SECONDS
) -> Program | None:
    """As `CaptureClient.current_program`, by TDSYS_REDIS_URL, for who captures nothing."""
    global _shared  # noqa: PLW0603  # one thread for a process
    if _shared is None:
        with suppress(Exception):
            url = os.environ.get("TDSYS_REDIS_URL", "")
            root = root_for(url)
            folder = os.path.join(root, "programs") if root else ""
            _shared = Programs(url, folder=folder, secret=os.environ.get("TDSYS_PROGRAM_KEY", ""))
    return None if _shared is None else _shared.current(domain, key=key, wait=wait)


_shared: Programs | None = None


def _understood(domain: str, document: bytes, etag: str) -> _Kept:
    """The document's programs; Refused for anything that is not exactly one."""
    try:
        told = json.loads(document.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("it is no JSON") from None
    if not isinstance(told, dict) or told.get("format") != wire.PROGRAM_FORMAT:
        raise Refused("it is of another format")
    if told.get("domain") != domain:
        raise Refused("it is of another domain")
    share = told.get("share")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise Refused("its share is none")
    champion = _program(told.get("champion"), domain, "champion", etag)
    if told.get("challenger") is None:
        return _Kept(etag, champion, None, 0.0)
    return _Kept(etag, champion, _program(told["challenger"], domain, "challenger", etag), share)


def _program(told: Any, domain: str, role: str, etag: str) -> Program:
    if not isinstance(told, dict) or type(told.get("id")) is not int:
        raise Refused(f"its {role} has no number")
    state = told.get("state")
    if not (isinstance(state, dict) and state and (_is_predictor(state) or _is_module(state))):
        raise Refused(f"its {role} is no program")
    return Program(state, domain=domain, id=told["id"], role=role, etag=etag)


def _is_module(state: _Dict) -> bool:
    """Whether it is a module of named predictors."""
    named = all(all(part.isidentifier() for part in name.split(".")) for name in state)
    return named and all(isinstance(one, dict) and _is_predictor(one) for one in state.values())


def _is_predictor(state: _Dict) -> bool:
    """Whether it holds what a predictor holds; one with a model could send calls elsewhere."""
    lists = all(isinstance(state.get(name, []), list) for name in ("demos", "traces", "train"))
    signature = isinstance(state.get("signature"), dict)
    return set(state) <= STATE and signature and lists and state.get("lm", "none") is None


def _is_signed(secret: bytes, document: bytes, signature: bytes) -> bool:
    hmac = importlib.import_module("hmac")
    return bool(
        hmac.compare_digest(hmac.digest(secret, document, "sha256").hex().encode(), signature)
    )


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _connect(url: str) -> Redis:
    from tdsys.broker import connect  # noqa: PLC0415  # kept out of the generator's import time

    return connect(url, socket_timeout=5, connect_timeout=2)


def _forked() -> None:
    for programs in list(_all):
        programs.forked()


_all: weakref.WeakSet[Programs] = weakref.WeakSet()
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forked)
