"""How things stand and what was made of it, for those who may see it."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from tdsys.core.intake import Faulty
from tdsys.core.lifecycle import Move
from tdsys.core.spreadsheet import original
from tdsys.errors import Conflict, TdsysError
from tdsys.stages import archive, curation, datasets, exporting, overview
from tdsys.stages.overview import Overview, Stage
from tdsys.store import Store, Tx, counts, examples, imports
from tests.commanding import Shell
from tests.factories import NOW, PROBLEM, make_capture, make_captures
from tests.stored import admit, enqueue, freeze, ingest, keep, upload

LATER = NOW + timedelta(days=1)
FORMULA = "=HYPERLINK(1)"


def told(store: Store, domains: list[str] | None = None) -> Overview:
    return overview.overview(store, domains=domains, now=NOW)


@pytest.fixture
def busy(store: Store) -> Store:
    """Nine admitted in one domain, in a version and one of them a demo; two wait in another."""
    with store.begin() as tx:
        ids = admit(tx, make_captures(9, domain="sums"))
        ingest(tx, make_captures(2, domain="angles"))
        uid = tx.scalars(text("SELECT encode(fingerprint, 'hex') FROM examples LIMIT 1")).one()
        keep(tx, freeze(tx, domain="sums"), envelope={"demos": [{"uid": uid, "role": "labeled"}]})
    curation.move(store, example_id=ids[0], move=Move.FLAG, reason="odd", actor="bo", now=NOW)
    return store


@pytest.mark.criterion("4.5")
def test_the_overview_says_how_far_examples_come_and_who_decided(busy: Store) -> None:
    found = told(busy)
    assert found.states == {"admitted": 8, "candidate": 2, "in_review": 1}
    assert found.funnel == [
        Stage("stored", 11),
        Stage("scored", 9),
        Stage("admitted", 8),
        Stage("in the newest version", 9),
        Stage("demos of the active program", 1),
    ]
    assert [(one.name, one.n) for one in found.domains] == [("angles", 2), ("sums", 9)]
    assert [(one.actor, one.move, one.n) for one in found.pace] == [("bo", "flag", 1)]
    assert (found.arrivals[-1], len(found.arrivals)) == ((NOW.date(), 11), overview.ARRIVALS_OF)
    with busy.begin() as tx:
        counts.fold(tx)
    assert told(busy) == found


def test_nobody_is_told_of_a_domain_that_is_not_his(busy: Store) -> None:
    found = told(busy, ["angles"])
    assert (found.states, found.pace) == ({"candidate": 2}, [])
    assert [one.name for one in found.domains] == ["angles"]
    ages = overview.freshness(busy, domains=["angles"], now=NOW + timedelta(days=2))
    assert [tuple(one) for one in ages] == [("angles", "candidate", [0, 2, 2, 2], 2)]
    with busy.begin() as tx:
        import_id = upload(tx, b"x", domain="sums")
        (version,) = [one.id for one in archive.newest_versions(busy, domains=None)]
        (run_id,) = tx.scalars(text("SELECT id FROM runs"))
    hidden = (
        lambda: archive.one_import(busy, import_id=import_id, domains=["angles"]),
        lambda: datasets.version(busy, version_id=version, domains=["angles"]),
        lambda: archive.versions(busy, domain="sums", domains=["angles"]),
        lambda: archive.run(busy, run_id=run_id, domains=["angles"]),
        lambda: archive.cancel(busy, run_id=run_id, domains=["angles"]),
        lambda: archive.program(busy, program_id=1, domains=["angles"]),
    )
    for look in hidden:
        with pytest.raises(TdsysError, match="there is no"):
            look()
    assert archive.imported(busy, domains=["angles"], limit=9) == []
    assert archive.newest_versions(busy, domains=["angles"]) == []
    assert archive.listed_runs(busy, domains=["angles"], limit=9) == []


def test_what_changed_between_two_versions_is_told(store: Store) -> None:
    with store.begin() as tx:
        ids = admit(tx, make_captures(9, domain="sums"))
        before = freeze(tx, domain="sums")
        admit(tx, make_captures(12, domain="sums")[9:])
        _retire(tx, ids[0])
        after = freeze(tx, domain="sums", now=LATER)
    found = datasets.difference(store, before=before, after=after)
    assert (len(found.added), [one.example_id for one in found.removed.values()]) == (3, [ids[0]])
    assert found.same + len(found.moved) == 8
    assert all(old.split != new.split for old, new in found.moved.values())
    back = datasets.difference(store, before=after, after=before)
    assert (back.added, back.removed) == (found.removed, found.added)


def _retire(tx: Tx, example_id: int) -> None:
    examples.move(tx, example_id=example_id, move=Move.RETIRE, reason="r", detail="", actor="a",
                  policy_version=1, now=NOW)  # fmt: skip


def test_a_version_as_a_table_has_no_formula_and_can_be_had_back(store: Store) -> None:
    outputs = {**PROBLEM, "problem": FORMULA, "hints": ["-1", "then"], "'odd": "'quoted"}
    with store.begin() as tx:
        admit(tx, [make_capture(domain="sums", outputs=outputs), *make_captures(8, domain="sums")])
        version = freeze(tx, domain="sums")
    lines = _exported(store, version.id, "csv")
    rows = list(csv.DictReader(io.StringIO(lines)))
    assert len(rows) == 9
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    (odd,) = [row for row in rows if FORMULA in row["outputs.problem"]]
    assert odd["outputs.problem"] == "'" + FORMULA
    kept = {original(name): original(cell) for name, cell in odd.items()}
    assert kept["outputs.problem"] == FORMULA
    assert kept["outputs.'odd"] == "'quoted"
    assert json.loads(kept["outputs.hints"]) == ["-1", "then"]
    plain = [json.loads(line) for line in _exported(store, version.id, "jsonl").splitlines()]
    assert FORMULA in {one["outputs"]["problem"] for one in plain}


def _exported(store: Store, version_id: int, form: str) -> str:
    version = datasets.version(store, version_id=version_id, domains=None)
    whole = exporting.described(store, version=version)
    return b"".join(exporting.pieces(whole, form=form)).decode()


def test_the_command_writes_the_table_too(tdsys: Shell, store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(9, domain="sums"))
        freeze(tx, domain="sums")
    said = tdsys("dataset", "export", "--domain", "sums", "--format", "csv")
    assert said.out.startswith("uid,split,topic,difficulty,source,simulated,quality,inputs.context")


def test_imports_and_batches_are_listed_from_the_newest_on(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1, domain="sums"), batch="first")
        import_id = upload(tx, b"x", domain="sums")
        bad = Faulty(3, 3, 1, "answer", "malformed", "no", "mend it", "{", {"problem": "p"})
        imports.reject(tx, import_id=import_id, rejects=[bad])
    (one,) = archive.imported(store, domains=["sums"], limit=9)
    assert one.id == import_id
    assert archive.imported(store, domains=None, limit=9, before=one.created_at) == []
    (wrong,) = archive.refused(store, import_id=import_id)
    assert (wrong.line, wrong.code) == (3, "malformed")
    (line,) = archive.repair(store, import_id=import_id)
    assert json.loads(line)["_rejected"]["remedy"] == "mend it"
    (batch,) = archive.arrived(store, limit=9)
    assert (batch.batch_id, batch.received, batch.new) == ("first", 1, 1)
    assert archive.batch(store, batch_id="first") == (batch, [])


def test_a_run_is_told_with_its_program_and_stopped_while_it_is_open(busy: Store) -> None:
    (run,) = archive.listed_runs(busy, domains=None, limit=9)
    found = archive.run(busy, run_id=run.id, domains=["sums"])
    assert found.program
    assert found.program.demos == 1
    with pytest.raises(Conflict, match="has ended"):
        archive.cancel(busy, run_id=run.id, domains=None)
    with busy.begin() as tx:
        open_id = enqueue(tx, found.version, now=LATER)
    assert isinstance(open_id, UUID)
    archive.cancel(busy, run_id=open_id, domains=None)
    assert archive.run(busy, run_id=open_id, domains=None).run.cancel_requested
    with pytest.raises(TdsysError, match="no run"):
        archive.run(busy, run_id=uuid.uuid4(), domains=None)
