"""The client refuses exactly the names of domains that the service would refuse."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tdsys.client import CaptureClient, MemorySpool, Unfit
from tdsys.client.record import LONGEST_DOMAIN, MOST_DOMAINS, Domains
from tdsys.core.example import LONGEST_NAME, check_domain
from tdsys.errors import InvalidInput

BAD: list[Any] = [
    5,
    None,
    "",
    "a" * 101,
    "a\nb",
    " algebra",
    "algebra\u2003",
    "a\ud800",
    "a\x00",
    [],
]

# All of the scripts' own blanks and controls, the surrogates, private and unassigned ones, tags.
CODES = [*range(0x3100), *range(0xD7F0, 0xE010), *range(0xFE00, 0x10200), *range(0xE0000, 0xE0200)]


class Subject(StrEnum):
    ALGEBRA = "algebra"


def is_taken(name: str) -> bool:
    try:
        Domains().check(name)
    except Unfit:
        return False
    return True


def is_a_domain(name: str) -> bool:
    try:
        check_domain(name)
    except InvalidInput:
        return False
    return True


def test_each_character_is_judged_as_the_service_judges_it() -> None:
    letters = [f"a{chr(code)}b" for code in CODES]
    assert [name for name in letters if is_taken(name) != is_a_domain(name)] == []
    assert LONGEST_DOMAIN == LONGEST_NAME


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=110))
@example("a" * 100)
@example("\x85a")
@example("a\u3000")
def test_each_name_is_judged_as_the_service_judges_it(name: str) -> None:
    assert is_taken(name) == is_a_domain(name)


@pytest.mark.criterion("1.5")
def test_a_domain_the_service_would_refuse_is_counted_under_its_own_reason_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = CaptureClient("redis://127.0.0.1:1", spool=MemorySpool())
    for name in BAD:
        client.capture(domain=name, inputs={}, outputs={})
    assert client.stats() == (0, 0, {"not_a_domain": len(BAD)})
    said = " ".join(record.getMessage() for record in caplog.records)
    assert said.count("dropped") == 1
    assert "without blanks at the ends" in said


def test_a_domain_that_a_mask_spoils_is_refused_and_one_that_it_mends_is_kept() -> None:
    spoiling = CaptureClient(
        "redis://127.0.0.1:1", spool=MemorySpool(), mask=lambda d: {**d, "domain": ""}
    )
    spoiling.capture(domain="algebra", inputs={}, outputs={})
    assert spoiling.stats() == (0, 0, {"not_a_domain": 1})
    mending = CaptureClient(
        "redis://127.0.0.1:1",
        spool=MemorySpool(),
        mask=lambda d: {**d, "domain": d["domain"].strip()},
    )
    mending.capture(domain=" algebra", inputs={}, outputs={})
    assert mending.stats() == (0, 1, {})


def test_a_name_of_an_enumeration_is_a_name() -> None:
    client = CaptureClient("redis://127.0.0.1:1", spool=MemorySpool())
    client.capture(domain=Subject.ALGEBRA, inputs={}, outputs={})
    assert client.stats() == (0, 1, {})


def test_a_generator_of_ever_new_domains_keeps_a_bounded_memory_of_them() -> None:
    domains = Domains()
    for number in range(MOST_DOMAINS + 5):
        domains.check(f"domain {number}")
    assert len(domains.known) == MOST_DOMAINS
