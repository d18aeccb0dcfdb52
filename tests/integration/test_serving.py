"""A generator asks for its program: the newest soon, the last known always, no poisoned one."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from redis import Redis

from tdsys import wire
from tdsys.client import CaptureClient, Program, current_program
from tdsys.client.programs import REFRESH_SECONDS, Programs, Refused
from tdsys.core.policy import Policy
from tdsys.core.sections import Activation
from tdsys.llm.generation import problem_program
from tdsys.llm.optimizer import program_state
from tdsys.shelf import Shelf
from tdsys.stages import activating, policies, serving
from tdsys.store import Store, programs
from tests.factories import NOW, make_captures
from tests.integration.test_activating import DOMAIN, WORSE, kept, rollback
from tests.processes import wait_for
from tests.small_world import SIGNATURE
from tests.stored import BETTER, admit

NOWHERE = "redis://:secret@127.0.0.1:1"
NOT_WORSE = BETTER.model_copy(update={"gain": 0.01, "gain_low": -0.1, "gain_high": 0.1})


def state(instruction: str) -> dict[str, Any]:
    """A program as a run keeps it."""
    made = problem_program(SIGNATURE)
    made.signature = made.signature.with_instructions(instruction)
    made.demos = [dspy.Example(topic="sums", problem="1 + 1?", answer="2", hints=["add"])]
    return program_state(made)


@pytest.fixture
def shelf(broker: Redis) -> Shelf:
    return Shelf(broker)


@pytest.fixture
def client(redis_url: str) -> Iterator[CaptureClient]:
    with CaptureClient(redis_url) as client:
        yield client


def document(instruction: str, *, id: int = 1, **over: Any) -> bytes:  # noqa: A002
    held = {name: value for name, value in state(instruction).items() if name != "metadata"}
    told = {"format": 1, "domain": "d", "share": 0, "challenger": None,
            "champion": {"id": id, "state": held}}  # fmt: skip
    return json.dumps({**told, **over}).encode()


def instruction(found: Program | None) -> str | None:
    return found["signature"]["instructions"] if found else None


def again(client: CaptureClient) -> None:
    """Have the thread look now, not in five seconds."""
    client._programs._news.put(None)


@pytest.mark.criterion("7.5")
def test_a_generator_gets_the_new_program_without_a_restart_and_loads_it_with_dspy(
    client: CaptureClient, shelf: Shelf
) -> None:
    shelf.put("d", document("First."))
    first = client.current_program("d")
    assert first is not None
    assert (first.id, first.role, first.domain) == (1, "champion", "d")
    assert client.current_program("d") is first
    write = problem_program(SIGNATURE)
    write.load_state(first)
    assert write.signature.instructions == "First."
    assert write.demos[0]["answer"] == "2"
    shelf.put("d", document("Second.", id=2))
    again(client)
    second = wait_for(lambda: (now := client.current_program("d")) is not first and now, "the new")
    assert (second.id, instruction(second)) == (2, "Second.")
    assert second.etag != first.etag


def test_when_everything_is_away_the_last_known_program_stays_also_after_a_restart(
    client: CaptureClient, shelf: Shelf, broker: Redis, spool_dir: Path
) -> None:
    shelf.put("d", document("First."))
    assert instruction(client.current_program("d")) == "First."
    broker.flushdb()
    looked = client._programs._looked["d"]
    looked.clear()
    again(client)
    assert looked.wait(10)
    assert instruction(client.current_program("d")) == "First."
    begun = time.monotonic()
    reborn = CaptureClient(NOWHERE, spool_dir=spool_dir)
    assert instruction(reborn.current_program("d", wait=5)) == "First."
    assert reborn.current_program("never heard of", wait=0.1) is None
    assert time.monotonic() - begun < 5
    forgetful = CaptureClient(NOWHERE, durability="memory")
    assert forgetful.current_program("d") is None


def test_a_broker_that_hangs_holds_a_caller_up_once_and_not_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = CaptureClient(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        for _ in range(20):
            assert client.current_program("d", wait=0.1) is None
        assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize("asked", [7, None, "", "x" * 10_000, "\ud800", b"d", ["d"]])
def test_whatever_is_asked_for_nothing_is_raised(client: CaptureClient, asked: Any) -> None:
    assert client.current_program(asked, wait=0.05) is None
    assert client.current_program("d", key=object(), wait=float("nan")) is None


class Unruly:
    def __str__(self) -> str:
        raise KeyError("gone")


def test_a_key_that_breaks_gets_the_champion(client: CaptureClient, shelf: Shelf) -> None:
    rival = json.loads(document("Rival.", id=2))["champion"]
    shelf.put("d", document("Known.", challenger=rival, share=0.5))
    assert instruction(client.current_program("d", key=Unruly())) == "Known."


def lies(broker: Redis, text: bytes, **over: Any) -> None:
    fields: dict[Any, Any] = {"document": text, "etag": hashlib.sha256(text).hexdigest(), **over}
    broker.hset(wire.program_key("d"), mapping=fields)


def deep(levels: int) -> bytes:
    return b'{"format": 1, "domain": "d", "x": ' + b"[" * levels + b"]" * levels + b"}"


def champion(**members: Any) -> bytes:
    held = {**json.loads(document("Bad."))["champion"]["state"], **members}
    return document("Bad.", champion={"id": 9, "state": held})


POISON: list[tuple[str, bytes]] = [
    ("is no JSON", b"\x80\x04cos\nsystem\n"),
    ("is no JSON", document("Bad.", share=float("nan"))),
    ("is no JSON", deep(100_000)),
    ("has 4001", document("Bad.", filler="x" * 4_000_500)),
    ("of another domain", document("Bad.", domain="e")),
    ("of another format", document("Bad.", format=2)),
    ("of another format", b"[]"),
    ("champion has no number", b'{"format": 1, "domain": "d", "share": 0}'),
    ("champion has no number", document("Bad.", champion={"id": True, "state": {"a": 1}})),
    ("champion is no program", document("Bad.", champion={"id": 1, "state": {}})),
    ("champion is no program", champion(lm={"model": "openai/x", "api_base": "http://evil"})),
    ("champion is no program", champion(forward="x")),
    ("champion is no program", champion(demos={"a": 1})),
    ("champion is no program", document("Bad.", champion={"id": 1, "state": {
        "a": {"signature": {}, "demos": [], "lm": {"model": "x"}}}})),
    ("champion is no program", document("Bad.", champion={"id": 1, "state": {
        "a b": {"signature": {}, "demos": [], "lm": None}}})),
    ("challenger has no number", document("Bad.", challenger={"state": {}})),
    ("share is none", document("Bad.", share=2)),
]  # fmt: skip


@pytest.mark.parametrize(("why", "text"), POISON, ids=range(len(POISON)))
def test_what_is_no_program_is_refused_for_its_reason(why: str, text: bytes) -> None:
    digest = hashlib.sha256(text).hexdigest().encode()
    with pytest.raises(Refused, match=why):
        Programs(NOWHERE)._read("d", text, digest, b"")


def test_a_module_of_several_predictors_is_a_program_too() -> None:
    part = json.loads(document("Part."))["champion"]["state"]
    text = document("", champion={"id": 3, "state": {"think": part, "solve.it": part}})
    found = Programs(NOWHERE)._read("d", text, hashlib.sha256(text).hexdigest().encode(), b"")
    assert sorted(found.champion) == ["solve.it", "think"]


def test_a_poisoned_value_leaves_the_known_program_in_place_and_is_logged_once(
    redis_url: str, broker: Redis, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.put("d", document("Good."))
    with CaptureClient(redis_url) as client, caplog.at_level(logging.WARNING, "tdsys.client"):
        good = client.current_program("d", wait=5)
        assert instruction(good) == "Good."

        def said(what: str) -> None:
            again(client)
            wait_for(lambda: what in caplog.text, what)
            assert client.current_program("d") is good

        lies(broker, POISON[3][1])
        said("it has 4001")
        lies(broker, document("Bad."), etag="0" * 64)
        said("its digest does not fit")
        lies(broker, champion(lm={"model": "x"}))
        said("its champion is no program")
        broker.set(wire.program_key("d"), "no hash at all")
        said("ResponseError")
        again(client)
        wait_for(client._programs._news.empty, "it looked once more")
        assert caplog.text.count("its digest does not fit") == 1


def test_with_a_key_only_what_the_service_signed_is_taken(redis_url: str, broker: Redis) -> None:
    text = document("Signed.")
    lies(broker, text)
    careful = CaptureClient(redis_url, program_key="shared", durability="memory")
    assert careful.current_program("d", wait=5) is None
    lies(broker, text, signature=hmac.digest(b"other", text, "sha256").hex())
    assert CaptureClient(
        redis_url, program_key="shared", durability="memory"
    ).current_program("d", wait=5) is None  # fmt: skip
    Shelf(broker, secret="shared").put("d", text)
    again(careful)
    signed = wait_for(lambda: careful.current_program("d"), "what is signed is taken")
    assert instruction(signed) == "Signed."
    careful.close()


def test_a_challenger_gets_its_share_of_keys_and_always_the_same_ones(
    client: CaptureClient, shelf: Shelf
) -> None:
    rival = json.loads(document("Rival.", id=2))["champion"]
    shelf.put("d", document("Known.", challenger=rival, share=0.2))
    assert instruction(client.current_program("d")) == "Known."
    served = [client.current_program("d", key=f"user {n}") for n in range(2000)]
    rivals = [one for one in served if one and one.role == "challenger"]
    assert 300 < len(rivals) < 500
    assert rivals[0].metadata == {"served_program": 2, "served_as": "challenger"}
    assert served == [client.current_program("d", key=f"user {n}") for n in range(2000)]


def test_threads_and_forked_children_may_ask(redis_url: str, shelf: Shelf) -> None:
    shelf.put("d", document("Known."))
    client = CaptureClient(redis_url)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(client.current_program("d", wait=5)))
               for _ in range(8)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [instruction(one) for one in found] == ["Known."] * 8
    shelf.put("d", document("For children."))
    child = os.fork()
    if not child:
        end = time.monotonic() + 20
        while instruction(client.current_program("d", wait=1)) != "For children.":
            if time.monotonic() > end:
                os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    client.close()


def test_who_captures_nothing_asks_by_the_environment(
    redis_url: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TDSYS_REDIS_URL", redis_url)
    shelf.put("d", document("Known."))
    assert instruction(current_program("d", wait=5)) == "Known."
    assert REFRESH_SECONDS <= 5


# The service's side


@pytest.fixture
def served(store: Store) -> list[int]:
    """Two programs that were active one after the other, and one that waits."""
    with store.begin() as tx:
        admit(tx, make_captures(6))
    return [kept(store), kept(store), kept(store, NOT_WORSE, activate=False)]


def lying(broker: Redis) -> dict[str, Any]:
    text: Any = broker.hget(wire.program_key(DOMAIN), "document")
    found: dict[str, Any] = json.loads(text)
    return found


def test_what_is_active_is_put_down_once_and_again_after_a_loss_or_a_change(
    store: Store, served: list[int], shelf: Shelf, broker: Redis
) -> None:
    assert serving.publish(store, shelf) == [DOMAIN]
    assert serving.publish(store, shelf) == []
    assert lying(broker)["champion"]["id"] == served[1]
    broker.flushdb()
    assert serving.publish(store, shelf) == [DOMAIN]
    broker.hset(wire.program_key(DOMAIN), "document", "another length")
    assert serving.publish(store, shelf) == [DOMAIN]
    broker.set(wire.program_key(DOMAIN), "no hash at all")
    assert serving.publish(store, shelf) == [DOMAIN]
    assert rollback(store) == served[0]
    assert serving.publish(store, shelf) == [DOMAIN]
    assert lying(broker)["champion"]["id"] == served[0]
    assert serving.publish(store, Shelf(broker, secret="shared")) == [DOMAIN]


def test_the_newest_program_that_waits_is_the_challenger_where_the_policy_has_a_share(
    store: Store, served: list[int], shelf: Shelf, broker: Redis
) -> None:
    serving.publish(store, shelf)
    assert lying(broker)["challenger"] is None
    rules = Policy(activation=Activation(challenger_share=0.25))
    policies.put(store, domain=DOMAIN, author="ann", now=NOW, policy=rules)
    serving.publish(store, shelf)
    told = lying(broker)
    assert (told["share"], told["challenger"]["id"]) == (0.25, served[2])
    activating.activate(store, domain=DOMAIN, program_id=None, actor="ann", reason="", now=NOW)
    serving.publish(store, shelf)
    assert (lying(broker)["champion"]["id"], lying(broker)["challenger"]) == (served[2], None)
    rollback(store)
    serving.publish(store, shelf)
    assert lying(broker)["challenger"] is None


def test_a_program_that_is_worse_or_of_other_fields_is_no_challenger(
    store: Store, served: list[int]
) -> None:
    lost = WORSE.model_copy(update={"gain_high": -0.01})
    kept(store, lost, activate=False)
    with store.begin() as tx:
        made = programs.programs(tx, domain=DOMAIN)
        active = programs.incumbent(tx, domain=DOMAIN)
    assert active
    found = serving.challenger(active, made, set())
    assert found
    assert found.id == served[2]
    other = {"signature": {"inputs": {"x": "text"}, "outputs": {}}}
    changed = [one.model_copy(update={"envelope": other}) for one in made]
    assert serving.challenger(active, changed, set()) is None
    assert serving.challenger(active, made, {served[2]}) is None
    gone = [one.model_copy(update={"stale": True}) for one in made]
    assert serving.challenger(active, gone, set()) is None
