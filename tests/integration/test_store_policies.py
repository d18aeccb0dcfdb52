"""Policies are versions: the newest counts, the old ones stay readable."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from tdsys.core.conversion import ImportOptions
from tdsys.core.policy import Policy, Signature, runs_alike
from tdsys.errors import InvalidInput
from tdsys.stages import uploading
from tdsys.store import Store, Tx, imports, policies
from tdsys.store.schema import policies as policies_table
from tests.factories import NOW, make_captures
from tests.stored import ingest


def test_a_domain_is_made_once_with_the_default_policy(store: Store) -> None:
    with store.begin() as tx:
        assert policies.ensure_domain(tx, domain="algebra", now=NOW)
        assert not policies.ensure_domain(tx, domain="algebra", now=NOW)
        assert policies.current(tx, domain="algebra") == (1, Policy())


@pytest.mark.criterion("3.5")
def test_a_new_policy_is_the_next_version_and_the_old_one_stays(store: Store) -> None:
    strict = Policy(admit_quality=0.9)
    with store.begin() as tx:
        assert policies.put(tx, domain="algebra", policy=strict, author="ann", now=NOW) == 2
        assert policies.current(tx, domain="algebra") == (2, strict)
        rows = tx.execute(select(policies_table).order_by(policies_table.c.version)).all()
    assert [(row.version, row.author) for row in rows] == [(1, "default"), (2, "ann")]


def test_the_order_of_a_signatures_fields_survives(store: Store) -> None:
    fields = Signature(outputs={"solution": "text", "problem": "text", "answer": "text"})
    with store.begin() as tx:
        policies.put(tx, domain="algebra", policy=Policy(signature=fields), author="a", now=NOW)
        _, found = policies.current(tx, domain="algebra")
    assert found.signature is not None
    assert list(found.signature.outputs) == ["solution", "problem", "answer"]


def test_policies_written_at_once_get_a_version_each(store: Store) -> None:
    def write(_: int) -> int:
        with store.begin() as tx:
            return policies.put(tx, domain="algebra", policy=Policy(), author="ann", now=NOW)

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(write, range(12))) == list(range(2, 14))


def test_all_policies_in_force_come_at_once(store: Store) -> None:
    held = Policy(optimization="hold")
    with store.begin() as tx:
        policies.ensure_domain(tx, domain="geometry", now=NOW)
        policies.put(tx, domain="algebra", policy=held, author="ann", now=NOW)
        assert policies.domains(tx) == ["algebra", "geometry"]
        assert policies.currents(tx) == {"algebra": (2, held), "geometry": (1, Policy())}
        assert policies.currents(tx, names=["geometry"]) == {"geometry": (1, Policy())}


def test_a_domain_that_is_not_there_names_those_that_are(store: Store) -> None:
    with store.begin() as tx:
        with pytest.raises(InvalidInput, match="capture or import first"):
            policies.current(tx, domain="algbra")
        policies.ensure_domain(tx, domain="algebra", now=NOW)
        with pytest.raises(InvalidInput, match="there is no domain 'algbra' — use one of: algebra"):
            policies.current(tx, domain="algbra")


@pytest.mark.criterion("3.5")
def test_what_comes_in_records_the_policy_in_force_and_keeps_it(store: Store) -> None:
    def put(tx: Tx) -> None:
        policies.put(tx, domain="sums", policy=Policy(), author="ann", now=NOW)

    with store.begin() as tx:
        ingest(tx, make_captures(1, domain="sums"), batch="first")
        put(tx)
        both = [*make_captures(2, domain="sums"), *make_captures(1, domain="angles")]
        ingest(tx, both, batch="second")
        ingest(tx, both, batch="second")
        put(tx)
        rows = tx.exec_driver_sql("SELECT batch_id, policies FROM capture_batches").all()
    assert {row.batch_id: row.policies for row in rows} == {
        "first": {"sums": 1},
        "second": {"sums": 2, "angles": 1},
    }


@pytest.mark.criterion("3.5")
def test_an_import_records_the_policy_in_force(store: Store) -> None:
    given: dict[str, Any] = {"pieces": [b"{}"], "filename": "f", "domain": "sums",
                             "options": ImportOptions(), "actor": "ann"}  # fmt: skip
    first = uploading.receive(store, **given, clock=lambda: NOW)
    with store.begin() as tx:
        policies.put(tx, domain="sums", policy=Policy(), author="ann", now=NOW)
    second = uploading.receive(store, **{**given, "pieces": [b"[]"]}, clock=lambda: NOW)
    with store.begin() as tx:
        found = [imports.status(tx, import_id=one.import_id) for one in (first, second)]
    assert [one.policy_version for one in found] == [1, 2]


def test_what_an_older_version_did_not_say_yet_had_its_default() -> None:
    now = Policy().model_dump(mode="json")
    before = {name: value for name, value in now.items() if name not in {"topics", "cells"}}
    assert runs_alike(before, now)
    assert runs_alike({**before, "gone": 7}, {**now, "growth": 3})
    assert not runs_alike(before, {**now, "cluster_cap": 2})
