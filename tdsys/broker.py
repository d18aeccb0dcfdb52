"""Where the broker is: one address for the client, the service, Celery and Flower (docs/broker.md).

The one rule: an address means the same to all of them, or a ValueError of one line says what is
wrong with it, without its password. Standard library at import, redis-py when it connects.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from tdsys import wire

if TYPE_CHECKING:
    from redis import Redis

FORMS = {
    "redis": "redis://[USER]:PASSWORD@HOST:PORT/DB",
    "rediss": "rediss://[USER]:PASSWORD@HOST:PORT/DB?ssl_ca_certs=FILE",
    "unix": "unix://[USER]:PASSWORD@/PATH?db=DB",
    "sentinel": "sentinel://[USER]:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DB",
}
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_CHOICES: dict[str, dict[str, Any]] = {
    "ssl_cert_reqs": {"required": "required", "none": "none"},
    "ssl_check_hostname": {"true": True, "false": False},
}
SENTINEL_LOGIN = {"sentinel_username": "username", "sentinel_password": "password"}
OPTIONS = {
    "redis": ("db",),
    "rediss": ("db", *TLS_FILES, *TLS_CHOICES),
    "unix": ("db",),
    "sentinel": ("db", *SENTINEL_LOGIN),
}
PORTS = {"sentinel": 26379}
PORT = 6379
LAST_PORT = 65535
# Enough for a connection the server closed meanwhile; who calls knows better how long to wait.
RETRIES = 2
SHORTEST_WAIT = 0.02
LONGEST_WAIT = 0.2
WANTED = {"appendonly": "yes", "maxmemory-policy": "noeviction"}
HARM = {
    "appendonly": "a restart loses the captures in it until their clients send them again",
    "maxmemory-policy": "it may throw captures away when its memory is full",
}
# Selectors (Valkey, Redis 7): with one list for all, SET on its own keys would be SET on the queue.
PRODUCER_ACL = (
    "reset on >{password} +ping +select +client|setinfo +client|setname "
    f"(+xadd +xlen ~{wire.CAPTURES}) (+lpush ~{wire.queue_key(wire.Queue.CAPTURE)}) "
    f"(+mget +get %R~{wire.acknowledgement_key('*')}) "
    f"(+set %W~{wire.bell_key(wire.Task.INGEST)} %W~{wire.PREFIX}producer:*) "
    f"(+hget +hmget +hstrlen %R~{wire.program_key('*')})"
)


class Address(NamedTuple):
    """A broker's URL, understood; `hosts` are the sentinels where there is a `master`."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    options: Mapping[str, str] = {}

    @property
    def tls(self) -> dict[str, Any]:
        """What redis-py and kombu are told about TLS; empty without it."""
        if self.scheme != "rediss":
            return {}
        files = {name: self.options[name] for name in TLS_FILES if name in self.options}
        chosen = {
            name: words[self.options[name]]
            for name, words in TLS_CHOICES.items()
            if name in self.options
        }
        checked = chosen.get("ssl_cert_reqs") != "none"
        return {"ssl_cert_reqs": "required", "ssl_check_hostname": checked, **files, **chosen}

    @property
    def sentinel_login(self) -> dict[str, str]:
        """How to log in at the sentinels themselves."""
        return {
            ours: self.options[name]
            for name, ours in SENTINEL_LOGIN.items()
            if name in self.options
        }


def parsed(url: str) -> Address:
    """Understand a broker's URL; ValueError with one line for what is none of `FORMS`."""
    scheme, found, rest = url.partition("://")
    if not found or scheme not in FORMS:
        raise ValueError(f"it begins with none of {', '.join(f'{name}://' for name in FORMS)}")
    where, _, query = rest.partition("?")
    options = _options(scheme, query)
    if scheme == "unix":
        login, place = where[: where.find("/")], where[where.find("/") :]
        if not place.startswith("/") or place == "/":
            raise _unlike(scheme, "it names no socket file")
        common: dict[str, Any] = {"path": unquote(place), "db": _db(options.get("db", "0"))}
    else:
        login, _, place = where.rpartition("@")
        common = _network(scheme, place, options)
    username, password = _login(scheme, login.removesuffix("@"))
    return Address(scheme, username=username, password=password, options=options, **common)


def connect(url: str, *, socket_timeout: float = 5.0, connect_timeout: float = 5.0) -> Redis:
    """A client for the broker at `url`, not connected yet; ValueError for an unusable URL."""
    from redis import Redis  # noqa: PLC0415  # kept out of the generator's import time
    from redis.backoff import ExponentialBackoff, NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415
    from redis.sentinel import Sentinel  # noqa: PLC0415

    to = parsed(url)
    patience: dict[str, Any] = {
        "socket_timeout": socket_timeout,
        "socket_connect_timeout": connect_timeout,
        "retry": Retry(ExponentialBackoff(cap=LONGEST_WAIT, base=SHORTEST_WAIT), RETRIES),
    }
    who: dict[str, Any] = {"username": to.username, "password": to.password, "db": to.db}
    if to.scheme == "unix":
        return Redis(unix_socket_path=to.path, **who, **patience)
    if to.scheme == "sentinel":
        # one that is away is passed over
        once = {**patience, "retry": Retry(NoBackoff(), 0)}
        sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
            to.hosts, sentinel_kwargs={**once, **to.sentinel_login}
        )
        found: Redis = sentinels.master_for(to.master, Redis, **who, **patience)
        return found
    ((host, port),) = to.hosts
    return Redis(host=host, port=port, ssl=bool(to.tls), **to.tls, **who, **patience)


def celery_options(url: str, **transport_options: Any) -> dict[str, Any]:
    """The Celery settings by which workers, beat and Flower reach the broker at `url`.

    `transport_options` join those the address needs; ValueError for an unusable URL.
    """
    to = parsed(url)
    if to.scheme == "sentinel":
        patience = {k: v for k, v in transport_options.items() if k.startswith("socket_")}
        transport_options |= {
            "master_name": to.master,
            "sentinel_kwargs": {**patience, **to.sentinel_login},
        }
    return {
        "broker_url": ";".join(_kombu_urls(to)),
        "broker_transport_options": transport_options,
        "broker_use_ssl": to.tls or False,
    }


def producer_acl(user: str, password: str) -> str:
    """The command that lets `user` do what the capture client does, and nothing else."""
    return f"ACL SETUSER {user} {PRODUCER_ACL.format(password=password)}"


def doubts(client: Redis) -> list[str]:
    """Why this broker may lose what it was given, a line each; empty if it keeps everything."""
    from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415

    try:
        found = {name: _setting(client, name) for name in WANTED}
    except ResponseError:
        return ["whether it keeps what it is given could not be checked: it refuses CONFIG GET"]
    except RedisError as away:
        return [f"it does not answer ({type(away).__name__})"]
    return [
        f"its {name} is {found[name]}, not {wanted}: {HARM[name]}"
        for name, wanted in WANTED.items()
        if found[name] != wanted
    ]


def _setting(client: Redis, name: str) -> str:
    answer: Any = client.config_get(name)
    (value,) = answer.values() or ("unknown",)
    return value.decode() if isinstance(value, bytes) else str(value)


def _kombu_urls(to: Address) -> list[str]:
    login = ""
    if to.password is not None:
        login = f"{_quoted(to.username or '')}:{_quoted(to.password)}@"
    if to.scheme == "unix":
        return [f"redis+socket://{login}{quote(to.path)}?virtual_host={to.db}"]
    return [f"{to.scheme}://{login}{_bracketed(host)}:{port}/{to.db}" for host, port in to.hosts]


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _unlike(scheme: str, problem: str) -> ValueError:
    return ValueError(f"{problem}; the form is {FORMS[scheme]}")


def _network(scheme: str, place: str, options: Mapping[str, str]) -> dict[str, Any]:
    listed, _, path = place.partition("/")
    names = listed.split(",") if scheme == "sentinel" else [listed]
    hosts = tuple(_host(scheme, name) for name in names)
    master = ""
    if scheme == "sentinel":
        master, _, path = path.partition("/")
        if not master:
            raise _unlike(scheme, "it does not say which MASTER the sentinels watch")
    return {
        "hosts": hosts,
        "master": unquote(master),
        "db": _db(options.get("db", path.rstrip("/") or "0")),
    }


def _host(scheme: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORTS.get(scheme, PORT))
    if not host:
        raise _unlike(scheme, "it names no host")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= LAST_PORT):
        raise _unlike(scheme, f"its port is no number from 1 to {LAST_PORT}")
    return unquote(host.strip("[]")), int(port)


def _login(scheme: str, text: str) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    username, colon, password = text.partition(":")
    if not colon:
        raise _unlike(scheme, "it names a user without a password, or a password without its colon")
    return unquote(username) or None, unquote(password)


def _db(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"its database {text!r} is no number")
    return int(text)


def _options(scheme: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if "@" in name:  # the rest of a password, which is not to be shown
            raise ValueError("a ? in its password is written %3F")
        if name not in OPTIONS[scheme]:
            raise ValueError(
                f"its option {name!r} is not known; {scheme}:// takes {', '.join(OPTIONS[scheme])}"
            )
        if name in TLS_FILES and not Path(value).is_file():
            raise ValueError(f"its {name} names {value!r}, which is no file")
        if name in TLS_CHOICES and value not in TLS_CHOICES[name]:
            raise ValueError(f"its {name} is {value!r}; it takes {' or '.join(TLS_CHOICES[name])}")
    return options
