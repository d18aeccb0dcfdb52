"""The schema: migrations make what the code believes, and triggers hold what it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tdsys.core.policy import Policy
from tdsys.errors import ConfigurationError
from tdsys.store import Store, Tx, clusters, datasets, examples, imports, migrations, policies
from tdsys.store.schema import metadata
from tests.factories import NOW, make_captures
from tests.stored import (
    admit,
    claim,
    count,
    decide,
    die,
    freeze,
    in_one_transaction,
    ingest,
)

OLD_IMPORT = """INSERT INTO imports (domain, filename, sha256, options, state, created_at)
    VALUES ('d', 'f', '', '{}', 'finished', now())"""
OLD_RUN = """WITH version AS (
        INSERT INTO dataset_versions (domain, number, fingerprint, signature, policy_version,
                                      counts, created_at, frozen_at)
        VALUES ('d', 1, 'f', '{}', 2, '{}', now(), now()) RETURNING id
    ) INSERT INTO runs (domain, version_id, state, seed, auto, model, plan, created_at, finished_at)
    SELECT 'd', id, 'failed', 9, 'light', 'm', '{}', now(), now() FROM version"""
OLD_REJECT = """INSERT INTO import_rejects (import_id, line, field, code, message, remedy, raw)
    SELECT id, :line, '', 'not_json', 'no', 'mend it', '{' FROM imports"""
CATALOG = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity,
               identity_generation
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f', 'c')""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}
HISTORY = ("scores", "transitions", "example_bodies")
CHANGES = {
    "scores": "attempt = 9",
    "transitions": "reason = 'x'",
    "policies": "author = 'x'",
    "dataset_members": "cluster = 9",
}


def catalog(tx: Tx, kind: str) -> set[tuple[object, ...]]:
    rows = {tuple(row) for row in tx.execute(text(CATALOG[kind]))}
    return {row for row in rows if "alembic_version" not in str(row)}


def test_alembic_finds_no_difference_between_migrations_and_tables(
    new_database: Callable[[], str],
) -> None:
    migrated = Store(new_database())
    migrated.upgrade()
    with migrated.begin() as tx:
        context = MigrationContext.configure(
            tx, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    migrated.close()


def test_postgres_holds_the_same_columns_constraints_and_indexes_either_way(
    new_database: Callable[[], str],
) -> None:
    migrated, created = Store(new_database()), Store(new_database())
    migrated.upgrade()
    with created.begin() as tx:
        metadata.create_all(tx)
    for kind in CATALOG:
        with migrated.begin() as here, created.begin() as there:
            assert catalog(here, kind) == catalog(there, kind), kind
    migrated.close()
    created.close()


def test_an_upgrade_of_an_upgraded_schema_changes_nothing(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
    store.upgrade()
    store.check_schema()
    with store.begin() as tx:
        assert examples.pending(tx, domain="arithmetic") == 1


def test_two_processes_that_upgrade_at_once_both_succeed(new_database: Callable[[], str]) -> None:
    url = new_database()
    stores = [Store(url), Store(url), Store(url)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(Store.upgrade, stores))
    for each in stores:
        each.check_schema()
        each.close()


def test_a_missing_schema_names_the_command_that_makes_it(new_database: Callable[[], str]) -> None:
    empty = Store(new_database())
    with pytest.raises(ConfigurationError, match="schema is at nothing, this program needs 0"):
        empty.check_schema()
    empty.close()


def test_a_schema_from_the_future_asks_for_a_newer_program(new_database: Callable[[], str]) -> None:
    store = Store(new_database())
    store.upgrade()
    with store.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError) as refused:
        store.check_schema()
    assert refused.value.remedy == "install a newer tdsys"
    store.close()


@pytest.mark.parametrize("table", CHANGES)
@pytest.mark.parametrize("change", ["UPDATE {} SET {}", "DELETE FROM {}"])
def test_what_was_decided_on_is_never_rewritten(store: Store, table: str, change: str) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(1))
        freeze(tx, domain="arithmetic")
    with pytest.raises(IntegrityError, match=f"{table} is append-only"), store.begin() as tx:
        tx.execute(text(change.format(table, CHANGES[table])))


def test_a_purge_takes_the_history_of_an_example_along(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(2))
        freeze(tx, domain="arithmetic")
        tx.execute(text("DELETE FROM examples WHERE id = 1"))
        left = {table: count(tx, f"{table} WHERE example_id = 1") for table in HISTORY}
        assert left == dict.fromkeys(HISTORY, 0)
        assert {m.example.id for m in datasets.members(tx, version_id=1)} == {1, 2}


@pytest.mark.criterion("4.3")
def test_no_example_is_admitted_without_a_row_that_explains_it(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
    admit_behind_our_back = text(
        "UPDATE examples SET state = 'admitted', quality = 1, due_at = NULL"
    )
    with pytest.raises(IntegrityError, match="became admitted without a transition"):
        in_one_transaction(store, lambda tx: tx.execute(admit_behind_our_back))


def test_no_example_arrives_decided(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
    with pytest.raises(IntegrityError, match="without a transition"), store.begin() as tx:
        tx.execute(
            text("""
            INSERT INTO examples (fingerprint, domain, topic, difficulty, source, state,
                                  captured_at, created_at, moved_at)
            VALUES ('x', 'arithmetic', 't', 'd', 'manual', 'rejected', now(), now(), now())""")
        )


SCORE = """
    INSERT INTO scores (example_id, kind, outcome, accuracy, policy_version, attempt, created_at)
    VALUES (1, 'judge', '{}', {}, 1, 1, now())"""


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE examples SET due_at = NULL",
        "UPDATE examples SET state = 'forgotten'",
        SCORE.format("scored", "NULL"),
        SCORE.format("unscored", "0"),
    ],
)
def test_rows_that_mean_nothing_are_refused(store: Store, change: str) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
    with pytest.raises(IntegrityError), store.begin() as tx:
        tx.execute(text(change))


def test_a_decision_and_its_example_are_visible_together_or_not_at_all(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (candidate,) = claim(tx)
    with pytest.raises(ZeroDivisionError):
        in_one_transaction(store, lambda tx: decide(tx, candidate), die)
    with store.begin() as tx:
        assert examples.pending(tx, domain="arithmetic") == 1
        assert (count(tx, "transitions"), count(tx, "scores")) == (0, 0)


OLD_EXAMPLE = """
INSERT INTO examples (fingerprint, domain, topic, difficulty, source, state, due_at, captured_at,
                      created_at, moved_at)
VALUES ('x', 'd', 't', 'easy', 'captured', 'candidate', now(), now(), now(), now()) RETURNING id
"""


@pytest.fixture
def old(new_database: Callable[[], str]) -> Iterator[Store]:
    """A database whose schema the test makes."""
    store = Store(new_database())
    yield store
    store.close()


def until(tx: Tx, revision: str) -> None:
    """The schema as a program of before made it."""
    config = migrations._config()
    config.attributes["connection"] = tx
    command.upgrade(config, revision)


def test_rejects_from_before_and_from_the_program_of_before_get_a_record_number(
    old: Store,
) -> None:
    with old.begin() as tx:
        until(tx, "0002")
        policies.ensure_domain(tx, domain="d", now=NOW)
        tx.execute(text(OLD_IMPORT))
        tx.execute(text(OLD_REJECT), {"line": 7})
    old.upgrade()
    with old.begin() as tx:
        tx.execute(text(OLD_REJECT), {"line": 9})
        (import_id,) = tx.scalars(text("SELECT id FROM imports"))
        found = imports.rejects(tx, import_id=import_id, limit=5)
        assert [(one.line, one.column, one.value) for one in found] == [(7, 1, None), (9, 1, None)]
        assert found[0].record < found[1].record


def test_runs_and_imports_of_before_get_the_policy_they_followed(
    old: Store,
) -> None:
    with old.begin() as tx:
        until(tx, "0003")
        for _ in range(2):
            policies.put(tx, domain="d", policy=Policy(), author="ann", now=NOW)
        tx.execute(text(OLD_IMPORT))
        tx.execute(text(OLD_RUN))
    old.upgrade()
    with old.begin() as tx:
        assert tx.scalar(text("SELECT policy_version FROM imports")) == 3
        assert tx.scalar(text("SELECT policy_version FROM runs")) == 2


def test_of_a_key_of_before_the_oldest_templates_stay_that_stand_for_it(
    old: Store,
) -> None:
    with old.begin() as tx:
        until(tx, "0026")
        tx.execute(text("INSERT INTO template_keys SELECT 1, generate_series(30, 1, -1)"))
        tx.execute(text("INSERT INTO template_keys VALUES (2, 40), (2, 41)"))
        until(tx, "0027")
        rows = tx.execute(text("SELECT key, template_id FROM template_keys ORDER BY 1, 2")).all()
    assert rows == [*((1, n) for n in range(1, 26)), (2, 40), (2, 41)]


def test_what_is_placed_keeps_its_cluster_and_waits_to_be_placed_again(
    old: Store,
) -> None:
    with old.begin() as tx:
        until(tx, "0027")
        policies.ensure_domain(tx, domain="d", now=NOW)
        tx.execute(text("INSERT INTO templates VALUES (7, 'd', 70, '', 5)"))
        (id_,) = tx.scalars(text(OLD_EXAMPLE))
        tx.execute(text("INSERT INTO example_templates VALUES (:id, 7, 3)"), {"id": id_})
    old.upgrade()
    with old.begin() as tx:
        assert clusters.clusters(tx, example_ids=[id_]) == {id_: 5}
        assert clusters.unplaced(tx, example_ids=[id_]) == {id_}
