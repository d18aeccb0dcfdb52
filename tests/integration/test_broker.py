"""One address for all: client, service, Celery and Flower, over every kind of connection."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from flower.utils.broker import Broker
from kombu import Connection
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.exceptions import ConnectionError as BrokerGone

from tdsys import broker, wire
from tdsys.client import CaptureClient
from tdsys.embedded.brokers import BrokerLook
from tdsys.embedded.ports import LOOPBACK, any_free
from tdsys.runtime import Runtime
from tdsys.settings import Settings
from tdsys.wire import Queue, Task
from tests.desk import a_worker
from tests.factories import PROBLEM
from tests.processes import wait_for
from tests.valkeys import answers, valkey

PASSWORD = "p@ss/w:rd?%41#"
SECRET = quote(PASSWORD, safe="")
# What the service needs: its own keys and nothing that concerns the whole server.
SERVICE = "~tdsys:* allchannels +@all -@admin -@dangerous +info"
KEEPING = ("appendonly yes", "maxmemory-policy noeviction", "save ''")


class Proxy:
    """Ends TLS in front of a server that has none."""

    def __init__(self, certificate: trustme.LeafCert, port: int) -> None:
        self.port = any_free()
        self._target = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    async def _serve(self) -> None:
        await asyncio.start_server(self._relay, LOOPBACK, self.port, ssl=self._context)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, self._target)
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def over_tls(folder: Path, stack: ExitStack) -> str:
    port = any_free()
    stack.enter_context(valkey(folder / "server", f'requirepass "{PASSWORD}"', *KEEPING, port=port))
    authority, known = trustme.CA(), folder / "authority.pem"
    authority.cert_pem.write_to_path(str(known))
    proxy = Proxy(authority.issue_cert(LOOPBACK), port)
    return f"rediss://:{SECRET}@{LOOPBACK}:{proxy.port}/2?ssl_ca_certs={quote(str(known))}"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def over_a_socket(folder: Path, stack: ExitStack) -> str:
    socket = folder / "valkey.sock"
    lines = (f'unixsocket "{socket}"', f'requirepass "{PASSWORD}"', *KEEPING)
    stack.enter_context(valkey(folder / "server", *lines, port=0))
    return f"unix://:{SECRET}@{quote(str(socket))}?db=0"


def as_a_user(folder: Path, stack: ExitStack) -> str:
    port = any_free()
    lines = (f"user service on >{PASSWORD} {SERVICE}", "user default off", *KEEPING)
    stack.enter_context(valkey(folder / "server", *lines, port=port))
    return f"redis://service:{SECRET}@{LOOPBACK}:{port}/0"


def through_sentinels(folder: Path, stack: ExitStack) -> str:
    first, second, watching = (any_free() for _ in range(3))
    login = (f'requirepass "{PASSWORD}"', f'masterauth "{PASSWORD}"', "repl-diskless-sync-delay 0")
    follows = f"replicaof {LOOPBACK} {first}"
    stack.enter_context(valkey(folder / "master", *login, *KEEPING, port=first))
    stack.enter_context(valkey(folder / "replica", *login, follows, *KEEPING, port=second))
    client = broker.connect(f"redis://:{SECRET}@{LOOPBACK}:{first}")
    wait_for(answers(client), "the master answers")
    # A sentinel asks at once, and then only every ten seconds.
    wait_for(lambda: _told(client, "replication")["connected_slaves"] == 1, "the replica follows")
    client.close()
    watched = (
        f"sentinel monitor main {LOOPBACK} {first} 1",
        f'sentinel auth-pass main "{PASSWORD}"',
        "sentinel down-after-milliseconds main 500",
        "requirepass watch",
    )
    stack.enter_context(valkey(folder / "sentinel", *watched, port=watching, sentinel=True))
    # Flower asks the first only; the others may be away.
    hosts = f"{LOOPBACK}:{watching},{LOOPBACK}:1"
    return f"sentinel://:{SECRET}@{hosts}/main/0?sentinel_password=watch"


def _told(client: Redis, section: str) -> dict[str, Any]:
    found: Any = client.info(section)
    return dict(found)


FORMS: dict[str, Callable[[Path, ExitStack], str]] = {
    "unix": over_a_socket,
    "user": as_a_user,
    "rediss": over_tls,
    "sentinel": through_sentinels,
}


def service(url: str, home: Path) -> Runtime:
    return Runtime(Settings(home=home, redis_url=SecretStr(url)))


def lengths_in_flower(url: str) -> dict[str, int]:
    """How long Flower's broker page says the queues are."""
    told = broker.celery_options(url, global_keyprefix=wire.PREFIX)
    options = told["broker_transport_options"]
    connection: Any = Connection(
        told["broker_url"], ssl=told["broker_use_ssl"], transport_options=options
    )
    page: Any = Broker(
        connection.as_uri(include_password=True),
        broker_options=options,
        broker_use_ssl=told["broker_use_ssl"],
    )
    found = asyncio.run(page.queues([queue.value for queue in Queue]))
    return {one["name"]: one["messages"] for one in found}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_address_serves_client_service_celery_and_flower(
    form: str, stack: ExitStack, tmp_path: Path, database_url: str
) -> None:
    url = FORMS[form](tmp_path, stack)
    client = broker.connect(url)
    wait_for(answers(client), "the broker answers")
    here = service(url, tmp_path)
    here.bells.ring(Task.FRESHNESS)
    assert lengths_in_flower(url)["reports"] == 1
    with a_worker(url, database_url, tmp_path) as desk:
        with CaptureClient(url) as producer:
            producer.capture(domain="d", inputs={}, outputs=PROBLEM)
            assert producer.flush(20).committed == 1
        wait_for(lambda: "reports.freshness: " in desk.log(), "a bell is heard")
    assert lengths_in_flower(url)["reports"] == 0
    here.close()
    client.close()


def test_a_worker_follows_the_sentinels_to_the_new_master(
    stack: ExitStack, tmp_path: Path, database_url: str
) -> None:
    url = through_sentinels(tmp_path, stack)
    client = broker.connect(url)
    wait_for(answers(client), "the master answers")
    master = _told(client, "server")
    with a_worker(url, database_url, tmp_path) as desk:
        desk.put(json.dumps([]), batch_id="before")
        wait_for(lambda: desk.acknowledged("before"), "a batch is stored")
        os.kill(int(master["process_id"]), signal.SIGKILL)
        wait_for(answers(client), "another is master")
        assert _told(client, "server")["tcp_port"] != master["tcp_port"]
        desk.put(json.dumps([]), batch_id="after")
        wait_for(lambda: desk.acknowledged("after"), "a batch is stored there")
        assert desk.is_running()
    client.close()


def test_a_certificate_nobody_vouches_for_is_refused(stack: ExitStack, tmp_path: Path) -> None:
    url = over_tls(tmp_path, stack)
    trusting = broker.connect(url)
    wait_for(answers(trusting), "the broker answers")
    strict = broker.connect(url.partition("ssl_ca_certs")[0])
    with pytest.raises(BrokerGone, match="certificate verify failed") as refused:
        strict.ping()
    assert PASSWORD not in str(refused.value)
    blind = broker.connect(url.partition("ssl_ca_certs")[0] + "ssl_cert_reqs=none")
    assert blind.ping()
    for client in (trusting, strict, blind):
        client.close()


@pytest.fixture
def producer(redis_url: str) -> Iterator[Redis]:
    """A client that may do what the documented line says."""
    admin: Any = broker.connect(redis_url)
    admin.flushdb()
    command = broker.producer_acl("producer", PASSWORD).split(" ", 2)
    assert command[:2] == ["ACL", "SETUSER"]
    admin.execute_command("ACL", "SETUSER", *_rules(command[2]))
    to = broker.parsed(redis_url)
    ((host, port),) = to.hosts
    client = broker.connect(f"redis://producer:{SECRET}@{host}:{port}/{to.db}")
    yield client
    client.close()
    admin.execute_command("ACL", "DELUSER", "producer")
    admin.close()


def _rules(text: str) -> list[str]:
    """As a shell or a configuration file splits them: what is in brackets stays together."""
    rules: list[str] = []
    for word in text.split():
        if rules and rules[-1].startswith("(") and not rules[-1].endswith(")"):
            rules[-1] += f" {word}"
        else:
            rules.append(word)
    return rules


def test_a_producer_may_do_what_the_capture_client_does(producer: Redis) -> None:
    batch = str(uuid.uuid4())
    assert producer.ping()
    with producer.pipeline(transaction=False) as pipe:
        pipe.xadd(wire.CAPTURES, {"batch": batch, "records": "[]"})
        pipe.set(wire.bell_key(Task.INGEST), "1", nx=True, px=wire.BELL_MILLISECONDS)
        assert all(pipe.execute())
    assert producer.xlen(wire.CAPTURES) == 1
    assert producer.lpush(wire.queue_key(Queue.CAPTURE), wire.envelope(Task.INGEST)) == 1
    assert producer.mget([wire.acknowledgement_key(batch)]) == [None]
    assert producer.get(wire.acknowledgement_key(batch)) is None
    assert producer.set(f"{wire.PREFIX}producer:one", "{}", ex=60)
    assert producer.hget(wire.program_key("d"), "etag") is None
    assert producer.hstrlen(wire.program_key("d"), "document") == 0
    assert producer.hmget(wire.program_key("d"), ["document"]) == [None]
    assert producer.client_setname("generator")


def test_the_capture_client_asks_for_no_more(producer: Redis, redis_url: str) -> None:
    admin: Any = broker.connect(redis_url)
    admin.acl_log_reset()
    to = producer.connection_pool.connection_kwargs
    url = f"redis://producer:{SECRET}@{to['host']}:{to['port']}/{to['db']}"
    with CaptureClient(url) as client:
        client.capture(domain="d", inputs={}, outputs={})
        assert client.current_program("d") is None
        admin.hset(wire.program_key("e"), mapping={"etag": "x", "document": "{}"})
        assert client.current_program("e") is None
        wait_for(lambda: admin.xlen(wire.CAPTURES) == 1, "the batch is sent")
        wait_for(lambda: admin.llen(wire.queue_key(Queue.CAPTURE)) == 1, "the bell rings")
        ((_, fields),) = admin.xrange(wire.CAPTURES)
        admin.set(wire.acknowledgement_key(fields[wire.BATCH_FIELD].decode()), "1")
        assert client.flush(10).pending == 0
    assert admin.acl_log() == []
    admin.close()


FORBIDDEN: dict[str, tuple[str | int, ...]] = {
    "list the keys": ("KEYS", "*"),
    "scan the keys": ("SCAN", "0"),
    "read the captures": ("XRANGE", "tdsys:captures", "-", "+"),
    "take captures": ("XREADGROUP", "GROUP", "ingesting", "w", "STREAMS", "tdsys:captures", ">"),
    "wait for captures": ("XREAD", "STREAMS", "tdsys:captures", "0"),
    "take them over": ("XAUTOCLAIM", "tdsys:captures", "ingesting", "w", 0, "0"),
    "say they are done": ("XACK", "tdsys:captures", "ingesting", "1-1"),
    "delete one": ("XDEL", "tdsys:captures", "1-1"),
    "trim them": ("XTRIM", "tdsys:captures", "MAXLEN", 0),
    "move the group": ("XGROUP", "SETID", "tdsys:captures", "ingesting", "$"),
    "delete them": ("DEL", "tdsys:captures"),
    "overwrite them": ("SET", "tdsys:captures", "x"),
    "push them aside": ("LPUSH", "tdsys:captures", "x"),
    "rename them": ("RENAME", "tdsys:captures", "tdsys:ack:x"),
    "let them expire": ("EXPIRE", "tdsys:captures", 1),
    "write them elsewhere": ("XADD", "tdsys:ack:x", "*", "a", "b"),
    "read the queue": ("LRANGE", "tdsys:capture", 0, -1),
    "see the queue": ("LLEN", "tdsys:capture"),
    "take from the queue": ("RPOP", "tdsys:capture"),
    "wait for the queue": ("BRPOP", "tdsys:capture", 1),
    "trim the queue": ("LTRIM", "tdsys:capture", 1, 0),
    "delete the queue": ("DEL", "tdsys:capture"),
    "overwrite the queue": ("SET", "tdsys:capture", "x"),
    "write to another queue": ("LPUSH", "tdsys:optimization", "x"),
    "write to a queue by priority": ("LPUSH", "tdsys:capture\x06\x163", "x"),
    "see another queue": ("LLEN", "tdsys:scoring"),
    "acknowledge": ("SET", "tdsys:ack:b1", "1"),
    "ring another bell": ("SET", "tdsys:bell:scoring.score", "1"),
    "read the bell": ("GET", "tdsys:bell:capture.ingest"),
    "read another's counts": ("GET", "tdsys:producer:two"),
    "read what is in hand": ("HGETALL", "tdsys:unacked"),
    "read the quarantine": ("LRANGE", "tdsys:quarantine", 0, -1),
    "clear the quarantine": ("DEL", "tdsys:quarantine"),
    "give orders to workers": ("PUBLISH", "tdsys:/0.celery.pidbox", "{}"),
    "listen to workers": ("SUBSCRIBE", "tdsys:/0.celeryev"),
    "write a program": ("HSET", "tdsys:program:d", "document", "{}"),
    "delete a program": ("DEL", "tdsys:program:d"),
    "spoil a program": ("HDEL", "tdsys:program:d", "etag"),
    "overwrite a program": ("SET", "tdsys:program:d", "x"),
    "put another in its place": ("RENAME", "tdsys:producer:x", "tdsys:program:d"),
    "copy one there": ("COPY", "tdsys:producer:x", "tdsys:program:d"),
    "read other hashes": ("HGET", "tdsys:unacked", "x"),
    "empty the database": ("FLUSHDB",),
    "empty the server": ("FLUSHALL",),
    "read the configuration": ("CONFIG", "GET", "*"),
    "change the configuration": ("CONFIG", "SET", "maxmemory", "1"),
    "run a script": ("EVAL", "return redis.call('DEL', KEYS[1])", 1, "tdsys:capture"),
    "call a function": ("FCALL", "f", 0),
    "stop the server": ("SHUTDOWN",),
    "watch everybody": ("MONITOR",),
    "see who is there": ("CLIENT", "LIST"),
    "disconnect others": ("CLIENT", "KILL", "TYPE", "normal"),
    "change its own rights": ("ACL", "SETUSER", "producer", "+@all"),
    "hand the data on": ("REPLICAOF", LOOPBACK, 1),
    "copy a key away": ("MIGRATE", LOOPBACK, 1, "tdsys:capture", 0, 1),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_producer_may_not(producer: Any, what: str) -> None:
    with pytest.raises(NoPermissionError):
        producer.execute_command(*FORBIDDEN[what])


def test_the_line_is_printed_for_a_user_of_any_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tdsys", "broker", "acl", "--user", "generator-7"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == broker.producer_acl("generator-7", "PASSWORD")


def test_the_line_in_the_guide_is_the_one_that_is_tested() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "broker.md").read_text()
    assert broker.producer_acl("producer", "PASSWORD") in guide


def test_a_broker_that_may_lose_what_it_is_given_is_found_out(
    stack: ExitStack, tmp_path: Path
) -> None:
    port = any_free()
    careless = ("appendonly no", "maxmemory-policy allkeys-lru")
    stack.enter_context(valkey(tmp_path / "server", *careless, port=port))
    url = f"redis://{LOOPBACK}:{port}"
    client = broker.connect(url)
    wait_for(answers(client), "the broker answers")
    first, second = BrokerLook.at(url).lines()
    assert first.startswith("its appendonly is no, not yes: a restart loses")
    assert second.startswith("its maxmemory-policy is allkeys-lru, not noeviction: ")
    client.config_set("appendonly", "yes")
    client.config_set("maxmemory-policy", "noeviction")
    assert BrokerLook.at(url).lines() == []
    client.close()


def test_a_broker_that_does_not_tell_is_said_to_be_unchecked(
    stack: ExitStack, tmp_path: Path
) -> None:
    url = as_a_user(tmp_path, stack)
    client = broker.connect(url)
    wait_for(answers(client), "the broker answers")
    with pytest.raises(ResponseError):
        client.config_get("appendonly")
    (line,) = BrokerLook.at(url).lines()
    assert "could not be checked: it refuses CONFIG GET" in line
    client.close()


def test_a_broker_that_is_away_or_refuses_us_is_said_to_be() -> None:
    assert BrokerLook.at(f"redis://{LOOPBACK}:1").lines() == [
        "it does not answer (ConnectionError)"
    ]


def test_a_wrong_password_is_the_brokers_word(redis_url: str) -> None:
    ((host, port),) = broker.parsed(redis_url).hosts
    stranger = broker.connect(f"redis://:wrong@{host}:{port}")
    with stranger, pytest.raises(AuthenticationError):
        stranger.ping()
