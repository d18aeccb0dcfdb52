"""Which addresses of a broker are understood, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdsys.broker import Address, celery_options, connect, parsed

UNDERSTOOD = {
    "redis://h": Address("redis", (("h", 6379),)),
    "redis://h:1/2": Address("redis", (("h", 1),), db=2),
    "redis://:p%40ss@h/0": Address("redis", (("h", 6379),), password="p@ss"),
    "redis://u:a@b:c/d@h:1": Address("redis", (("h", 1),), username="u", password="a@b:c/d"),
    "redis://[::1]:7/1": Address("redis", (("::1", 7),), db=1),
    "redis://[::1]": Address("redis", (("::1", 6379),)),
    "unix:///run/a b.sock": Address("unix", path="/run/a b.sock"),
    "unix://u:p@/run/v.sock?db=3": Address(
        "unix", path="/run/v.sock", db=3, username="u", password="p", options={"db": "3"}
    ),
    "sentinel://:p@a:1,b/main/2": Address(
        "sentinel", (("a", 1), ("b", 26379)), master="main", db=2, password="p"
    ),
}


@pytest.mark.parametrize("url", UNDERSTOOD)
def test_an_address_is_taken_apart(url: str) -> None:
    assert parsed(url) == UNDERSTOOD[url]


REFUSED = {
    "": "begins with none of redis://, rediss://, unix://, sentinel://",
    "amqp://h": "begins with none of",
    "h:6379": "begins with none of",
    "redis://": "names no host",
    "redis://:pw@:6379": "names no host",
    "redis://h:port": "its port is no number from 1 to 65535",
    "redis://h:70000": "its port is no number",
    "redis://h:²": "its port is no number",
    "redis://h/first": "its database 'first' is no number",
    "redis://secret@h": "a password without its colon",
    "redis://h?socket_timeout=5": "'socket_timeout' is not known; redis:// takes db",
    "rediss://h?ssl_cert_reqs=optional": "it takes required or none",
    "rediss://h?ssl_ca_certs=/no/such": "names '/no/such', which is no file",
    "rediss://h?tls=yes": "rediss:// takes db, ssl_ca_certs, ",
    "unix://": "names no socket file",
    "unix://run.sock": "names no socket file",
    "sentinel://h:26379": "does not say which MASTER",
    "sentinel://h,/main": "names no host",
}


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_wrong_with_an_address_is_said_in_one_line_without_its_password(url: str) -> None:
    for reader in (parsed, connect, celery_options):
        with pytest.raises(ValueError, match="it") as refused:
            reader(url)
        said = str(refused.value)
        assert REFUSED[url] in said
        assert "\n" not in said
        assert "secret" not in said


def test_tls_is_checked_unless_the_address_says_no(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    assert parsed("rediss://h").tls == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert parsed(f"rediss://h?ssl_ca_certs={authority}&ssl_check_hostname=false").tls == {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": False,
        "ssl_ca_certs": str(authority),
    }
    unchecked = {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    assert parsed("rediss://h?ssl_cert_reqs=none").tls == unchecked
    assert celery_options("rediss://h")["broker_use_ssl"] == parsed("rediss://h").tls
    assert celery_options("redis://h")["broker_use_ssl"] is False
