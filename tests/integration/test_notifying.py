"""Alerts reach people: once, in order, again when a channel was away, and not while silenced."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from tdsys.core.alerting import Severity
from tdsys.core.notices import FLAPPING, GIVEN_UP_AFTER, Channel, Notice, Undelivered
from tdsys.core.policy import Policy
from tdsys.errors import Conflict, InvalidInput, NotFound
from tdsys.notify import Mail, channels
from tdsys.stages import notifying, policies
from tdsys.store import Store, alerts
from tests.commanding import Shell
from tests.factories import NOW
from tests.receiving import Mailbox, Receiver, serving

LEASE = timedelta(minutes=2)
HOUR = timedelta(hours=1)
NO_MAIL = Mail(None, None)


class Ear:
    """A channel that remembers, and may be deaf for a while."""

    def __init__(self) -> None:
        self.heard: list[Notice] = []
        self.deaf = False

    def send(self, notice: Notice) -> None:
        if self.deaf:
            raise Undelivered("deaf")
        self.heard.append(notice)

    @property
    def news(self) -> list[str]:
        return [f"{one.news} {one.rule} {one.severity}" for one in self.heard]


@pytest.fixture
def ear() -> Ear:
    return Ear()


def fire(store: Store, key: str = "parked: sums", severity: str = "warning", **over: Any) -> None:
    told = {"title": "many are parked", "detail": "31", "remedy": "unpark some", "now": NOW}
    with store.begin() as tx:
        alerts.fire(tx, key=key, severity=Severity(severity), **{**told, **over})


def resolve(store: Store, key: str = "parked: sums") -> None:
    with store.begin() as tx:
        assert alerts.resolve(tx, key=key, now=NOW)


def deliver(
    store: Store,
    to: Channel | Mapping[str, Channel],
    now: datetime = NOW,
    least: Severity = Severity.INFO,
) -> notifying.Delivered:
    found = to if isinstance(to, Mapping) else {"ear": to}
    return notifying.deliver_due(store, found, least=least, page="", clock=lambda: now, lease=LEASE)


def states(store: Store) -> list[str]:
    return [one.state for one in notifying.deliveries(store, all_=True)]


def test_what_began_got_worse_and_is_over_is_told_once_each(store: Store, ear: Ear) -> None:
    for severity in ("warning", "warning", "critical", "warning", "critical"):
        fire(store, severity=severity)
        deliver(store, ear)
    resolve(store)
    deliver(store, ear)
    assert ear.news == [
        "began parked warning",
        "worse parked critical",
        "over parked critical",
    ]
    assert len({one.number for one in ear.heard}) == 3
    assert deliver(store, ear) == (0, 0, 0, 0)


def test_news_is_written_with_what_it_is_about_or_not_at_all(store: Store, ear: Ear) -> None:
    told = {"severity": Severity.INFO, "title": "", "detail": "", "remedy": "", "now": NOW}

    def fire_and_fail() -> None:
        with store.begin() as tx:
            alerts.fire(tx, key="k", **told)  # type: ignore[arg-type]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fire_and_fail()
    assert deliver(store, ear) == (0, 0, 0, 0)


def test_a_channel_that_was_away_hears_everything_in_order_and_holds_nobody_up(
    store: Store, ear: Ear
) -> None:
    away = Ear()
    away.deaf = True
    both = {"away": away, "ear": ear}
    fire(store)
    assert deliver(store, both) == (1, 1, 1, 0)
    resolve(store)
    assert deliver(store, both, NOW + timedelta(seconds=10)) == (1, 1, 0, 0)
    (waiting, first) = notifying.deliveries(store, all_=False)
    assert (first.state, first.attempts, first.error) == ("due", 1, "deaf")
    assert waiting.news == "over"
    away.deaf = False
    deliver(store, both, NOW + timedelta(minutes=1))
    assert away.news == ear.news == ["began parked warning", "over parked warning"]


def test_a_channel_that_stays_away_is_given_up_after_a_day_and_listed(
    store: Store, ear: Ear
) -> None:
    ear.deaf = True
    fire(store)
    for now in (NOW, NOW + HOUR, NOW + GIVEN_UP_AFTER + HOUR):
        assert deliver(store, ear, now).failed == 1
    (one,) = notifying.deliveries(store, all_=False)
    assert (one.state, one.error, one.attempts) == ("given_up", "deaf", 3)
    assert deliver(store, ear, NOW + 2 * GIVEN_UP_AFTER) == (0, 0, 0, 0)


def test_what_flaps_is_told_at_most_each_quarter_of_an_hour_and_not_when_it_is_over(
    store: Store, ear: Ear
) -> None:
    now = NOW
    for _ in range(5):
        fire(store, now=now)
        deliver(store, ear, now)
        resolve(store)
        deliver(store, ear, now)
        now += timedelta(minutes=1)
    assert ear.news == ["began parked warning", "over parked warning"]
    fire(store, now=now)
    deliver(store, ear, now)
    assert len(ear.heard) == 2
    deliver(store, ear, NOW + FLAPPING)
    assert ear.news[2:] == ["began parked warning"]
    assert states(store).count("dropped") == 8


def test_what_is_silenced_is_told_when_the_silence_ends_if_it_still_fires(
    store: Store, ear: Ear
) -> None:
    policies.put(store, domain="sums", author="ann", now=NOW, policy=Policy())
    made = notifying.silence(
        store, rule="parked", domain="sums", reason="known", actor="ann", hours=1, now=NOW
    )
    fire(store, domain="sums")
    fire(store, key="backlog: sums", domain="sums")
    fire(store, key="parked: other")
    assert deliver(store, ear).sent == 2
    assert [one.rule for one in ear.heard] == ["backlog", "parked"]
    assert [one.reason for one in notifying.silences(store, now=NOW)] == ["known"]
    deliver(store, ear, NOW + HOUR)
    assert len(ear.heard) == 3
    with pytest.raises(NotFound):
        notifying.speak(store, silence_id=made, now=NOW + HOUR)


def test_what_began_and_ended_in_a_silence_is_told_to_nobody(store: Store, ear: Ear) -> None:
    made = notifying.silence(
        store, rule=None, domain=None, reason="moving", actor="ann", hours=1, now=NOW
    )
    fire(store)
    deliver(store, ear)
    resolve(store)
    notifying.speak(store, silence_id=made, now=NOW)
    deliver(store, ear)
    assert ear.heard == []


def test_a_silence_of_no_rule_or_too_long_is_refused(store: Store) -> None:
    for rule, hours in (("no_rule", 1), ("parked", 2401), ("parked", -1), ("parked", float("nan"))):
        with pytest.raises(InvalidInput):
            notifying.silence(
                store, rule=rule, domain=None, reason="", actor="ann", hours=hours, now=NOW
            )


def test_only_what_is_bad_enough_is_told(store: Store, ear: Ear) -> None:
    fire(store, severity="info")
    assert deliver(store, ear, least=Severity.WARNING).sent == 0
    fire(store, severity="warning")
    assert deliver(store, ear, least=Severity.WARNING).sent == 1
    assert ear.news == ["worse parked warning"]


def test_eight_who_deliver_at_once_send_each_notice_once(store: Store, ear: Ear) -> None:
    for n in range(40):
        fire(store, key=f"parked: {n}")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: deliver(store, ear), range(8)))
    assert len(ear.heard) == len({one.number for one in ear.heard}) == 40


def test_a_process_killed_while_sending_sends_again_under_the_same_number(
    store: Store, ear: Ear
) -> None:
    class Dies(Ear):
        def send(self, notice: Notice) -> None:
            super().send(notice)
            raise KeyboardInterrupt

    dying = Dies()
    fire(store)
    with pytest.raises(KeyboardInterrupt):
        deliver(store, dying)
    assert deliver(store, ear).sent == 0
    assert deliver(store, ear, NOW + LEASE).sent == 1
    assert [one.number for one in dying.heard] == [one.number for one in ear.heard]


def test_a_channel_that_is_gone_from_the_settings_keeps_nothing_waiting(
    store: Store, ear: Ear
) -> None:
    ear.deaf = True
    fire(store)
    deliver(store, {"old": ear})
    assert deliver(store, {"new": ear}, NOW + HOUR).dropped == 1


def test_a_person_may_say_that_it_is_over(store: Store, ear: Ear) -> None:
    fire(store)
    deliver(store, ear)
    notifying.resolve(store, alert_id=1, now=NOW)
    deliver(store, ear)
    assert ear.news[-1] == "over parked warning"
    with pytest.raises(Conflict):
        notifying.resolve(store, alert_id=1, now=NOW)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as found:
        yield found


def test_a_webhook_is_signed_as_the_standard_says_and_its_address_is_in_no_row(
    store: Store, receiver: Receiver
) -> None:
    secret = b"a key of some length"
    coded = "whsec_" + base64.b64encode(secret).decode()
    receiver.answers[:] = [500, 302]
    address = f"{receiver.url}/hook?token=geheim"
    found = channels({"hook": address}, mail=NO_MAIL, secret=coded)
    fire(store, title="<b>& \x1b[31m")
    now = NOW
    for sent in (0, 0, 1):
        assert deliver(store, found, now).sent == sent
        waiting = notifying.deliveries(store, all_=False)
        if waiting:
            assert waiting[0].error in {"it answered 500", "it answered 302"}
            now = waiting[0].due_at or now
    first, _, last = receiver.posts
    assert last.path == "/hook?token=geheim"
    assert first.headers["webhook-id"] == last.headers["webhook-id"]
    signed = ".".join((last.headers["webhook-id"], last.headers["webhook-timestamp"], ""))
    proof = hmac.digest(secret, signed.encode() + last.body, hashlib.sha256)
    assert last.headers["webhook-signature"] == "v1," + base64.b64encode(proof).decode()
    document = json.loads(last.body)
    assert document["type"] == "alert.began"
    assert document["data"]["title"] == "<b>& \x1b[31m"


def test_slack_gets_text_that_mentions_nobody(store: Store, receiver: Receiver) -> None:
    receiver.posts.clear()
    found = channels({"ops": f"slack+{receiver.url}/s"}, mail=NO_MAIL, secret=None)
    fire(store, title="<!channel> & *so*\nnew line")
    assert deliver(store, found).sent == 1
    (text,) = json.loads(receiver.posts[0].body).values()
    assert "<" not in text
    assert text.startswith("*&lt;!channel&gt; &amp; ∗so∗\\nnew line*\n")


def test_a_letter_says_what_to_do_and_no_text_adds_a_header(store: Store) -> None:
    with serving(Mailbox()) as box:
        mail = Mail(box.url, "tdsys@example.org")
        found = channels({"mail": "mailto:ops@example.org"}, mail=mail, secret=None)
        fire(store, title="a\r\nBcc: everybody@example.org")
        assert deliver(store, found).sent == 1
    (letter,) = box.letters
    head, _, body = letter.partition("\r\n\r\n")
    assert "\r\nBcc:" not in head
    assert "What to do: unpark some" in body
    assert f"Message-ID: <notice-{1}@example.org>" in head


def test_no_password_is_sent_to_a_mailbox_that_does_not_encrypt() -> None:
    with serving(Mailbox()) as box:
        url = box.url.replace("//127.0.0.1", "//ann:geheim@127.0.0.2")
        found = channels(
            {"mail": "mailto:ops@example.org"}, mail=Mail(url, "a@example.org"), secret=None
        )
        error = notifying.attempt(found, page="", now=NOW)["mail"]
    assert box.letters == []
    assert "geheim" not in error
    assert error


def test_channels_are_tried_by_command(
    shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = json.dumps({"good": receiver.url, "bad": "http://127.0.0.1:1/x?token=geheim"})
    monkeypatch.setenv("TDSYS_ALERT_CHANNELS", documents)
    said = shell("alerts", "test")
    assert said.code == 1
    assert "good: sent" in said.out
    assert "bad: ConnectError" in said.out
    assert "geheim" not in said.out + said.err


def test_an_address_nobody_understands_stops_the_start_and_is_not_shown(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("gopher://geheim", "mailto:geheim", "mailto:@geheim.org", "https://"):
        monkeypatch.setenv("TDSYS_ALERT_CHANNELS", json.dumps({"x": address}))
        said = shell("alerts", "test")
        assert said.code == 78
        assert "geheim" not in said.err


def test_silences_and_deliveries_are_kept_by_command(here: Store, tdsys: Shell) -> None:
    words = ("--rule", "parked", "--hours", "2", "--reason", "known")
    assert tdsys("alerts", "silence", *words).code == 0
    assert "known" in tdsys("alerts", "silences").out
    assert tdsys("alerts", "speak", "1").code == 0
    assert "nothing is silenced" in tdsys("alerts", "silences").out
    fire(here)
    assert "everything was told" in tdsys("alerts", "deliveries").out
    assert tdsys("alerts", "resolve", "1").code == 0


def test_what_nobody_expected_is_kept_by_its_kind_because_its_words_may_tell(
    store: Store,
) -> None:
    class Leaks:
        def send(self, notice: Notice) -> None:
            raise ValueError(f"https://hooks.example.org/geheim: {notice.number}")

    fire(store)
    deliver(store, Leaks())
    (one,) = notifying.deliveries(store, all_=False)
    assert one.error == "ValueError"


def test_an_end_waits_until_its_beginning_is_handed_out(store: Store, ear: Ear) -> None:
    fire(store)
    with store.begin() as elsewhere:
        elsewhere.exec_driver_sql("SELECT id FROM notices FOR UPDATE")
        resolve(store)
        assert deliver(store, ear).sent == 0
    deliver(store, ear)
    assert ear.heard == []
    assert deliver(store, ear) == (0, 0, 0, 0)
