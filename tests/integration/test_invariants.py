"""The shipped checker: a sound database passes, and whatever is broken is found and named."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from tdsys.__main__ import main
from tdsys.core.arrival import from_capture
from tdsys.core.batch import Kind
from tdsys.core.example import Source, fingerprint
from tdsys.core.intake import Faulty
from tdsys.core.lifecycle import Move, State
from tdsys.core.panel import together
from tdsys.core.rubric import Assessment, Decision, Juror, Unscored
from tdsys.errors import InvalidInput
from tdsys.stages import activating, auditing
from tdsys.store import Store, Tx, batches, datasets, examples, imports, invariants, judgements
from tdsys.store.batches import Opening, Portion
from tdsys.store.demo_invariants import PROMPTS
from tdsys.store.examples import Batch, Refusal
from tdsys.store.invariants import INVARIANTS, Finding
from tests.factories import (
    NOW,
    make_assessment,
    make_capture,
    make_captures,
    make_judgement,
    make_verdict,
)
from tests.stored import (
    LEASE,
    PLAN,
    admit,
    claim,
    decide,
    freeze,
    in_one_transaction,
    ingest,
    keep,
    upload,
)

TIMES = {"overdue": NOW - LEASE, "farthest": NOW + LEASE}
UNBOUND = """
DO $$ DECLARE it record; BEGIN
    FOR it IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint
              WHERE contype IN ('c', 'f', 'u') AND connamespace = 'public'::regnamespace
                AND conrelid <> 0
              ORDER BY contype <> 'f' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', it.owner, it.conname);
    END LOOP;
    DROP INDEX uq_runs_open, uq_programs_active;
    SET LOCAL session_replication_role = replica;
END $$
"""


def broken(tx: Tx) -> dict[str, Finding]:
    found = [invariants.check(tx, one, **TIMES) for one in INVARIANTS]
    return {one.name: one for one in found if not one.holds}


def imported(tx: Tx) -> None:
    id_ = upload(tx, b"x")
    captures = make_captures(2, inputs={"from": "a file"})
    arrivals = list(map(from_capture, captures))
    examples.add(tx, arrivals=arrivals, source=Source.IMPORTED, due_at=NOW, now=NOW)
    bad = Faulty(3, 3, 1, "", "malformed", "no", "mend it", "{", None)
    progress = imports.Progress(done=1, read=3, new=2)
    imports.advance(tx, import_id=id_, progress=progress, rejects=[bad], until=NOW)
    imports.finish(tx, import_id=id_, state="finished", reason=None, now=NOW)


def judged(tx: Tx) -> None:
    """One whose two jurors are in the ledger, and one that nobody could score."""
    ingest(tx, make_captures(2, inputs={"asked of": "two"}))
    scored, unreadable = claim(tx, limit=2)
    jurors = [Juror(model=name, rubric="r", prompt="p", texts="t") for name in ("m1", "m2")]
    said = [make_judgement(one, make_assessment(value))
            for one, value in zip(jurors, (0.6, 0.8), strict=True)]  # fmt: skip
    content = fingerprint(scored.domain, scored.inputs, scored.outputs)
    judgements.introduce(tx, known=jurors, now=NOW)
    kept = [judgements.Answered(content, one.juror, 0, one) for one in said]
    judgements.keep(tx, answered=kept, now=NOW)
    answer = together(said, make_verdict())
    assert isinstance(answer, Assessment)
    assert decide(tx, scored, answer=answer)
    parked = Decision(move=Move.PARK, reason="unparseable")
    assert decide(tx, unreadable, parked, answer=Unscored(reason="unparseable"))


def a_bit_of_everything(tx: Tx) -> None:
    """Nine admitted, one each in review, rejected and due, duplicates, a file, a program."""
    first = make_captures(9)
    ids = admit(tx, first)
    ingest(tx, [first[0], make_capture(outputs=first[1].outputs)])
    ingest(tx, [make_capture(capture_id=first[2].capture_id, outputs={"problem": "other"})])
    version = freeze(tx)
    keep(tx, version)
    judged(tx)
    imported(tx)
    portions = [Portion("sums", "easy", ("templates",), 2)]
    opening = Opening("arithmetic", Kind.BOOTSTRAP, portions, {}, "offline", 10, "ann")
    batches.open_(tx, opening=opening, policy_version=1, now=NOW)
    for example_id, way in zip(ids, (Move.FLAG, Move.RETIRE), strict=False):
        examples.move(
            tx,
            example_id=example_id,
            move=way,
            reason="r",
            detail="",
            actor="a",
            policy_version=1,
            now=NOW,
        )


def at_rest(tx: Tx) -> None:
    """Nothing waits for a worker any more."""
    for candidate in claim(tx):
        decide(tx, candidate)
    for batch in batches.listed(tx, domain=None, limit=9):
        batches.cancel(tx, batch_id=batch.id, now=NOW)


@pytest.fixture(scope="module")
def world(new_database: Callable[[], str]) -> Iterator[Tx]:
    """A sound world that is not committed, and that no constraint protects any more."""
    store = Store(new_database())
    store.upgrade()
    with store._engine().connect() as connection:
        a_bit_of_everything(connection)
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        connection.execute(text(UNBOUND))
        yield connection
        connection.rollback()
    store.close()


@pytest.fixture
def tx(world: Tx) -> Iterator[Tx]:
    """The same world for each test: what it does is taken back."""
    with world.begin_nested() as part:
        yield world
        part.rollback()


SECOND_RUN = f"""
INSERT INTO runs (domain, version_id, policy_version, state, seed, auto, model, plan, due_at,
                  created_at)
SELECT domain, id, 1, 'due', 1, 'light', 'm', '{PLAN.model_dump_json()}', '{NOW}', '{NOW}'
FROM dataset_versions
"""  # noqa: S608
SECOND_PROGRAM = """
INSERT INTO programs (domain, run_id, version_id, state, envelope, items, requests, before, after,
                      after_low, after_high, gain, gain_low, gain_high, active, created_at)
SELECT domain, run_id, version_id, state, envelope, items, requests, before, after,
       after_low, after_high, gain, gain_low, gain_high, active, created_at FROM programs
"""
NEXT_VERSION = """
INSERT INTO dataset_versions (domain, number, major, minor, because, parent_id, credits,
                              fingerprint, signature, policy_version, counts, created_at, frozen_at)
SELECT domain, 2, major, 1, '', id, '[]', 'x', signature, policy_version, counts, created_at,
       frozen_at
FROM dataset_versions;
"""
OTHER_TEST = """
INSERT INTO dataset_members (version_id, example_id, split, position, cluster, fingerprint, content,
                             topic, difficulty, source, simulated, quality)
SELECT (SELECT max(id) FROM dataset_versions), example_id, 'test', example_id, cluster, fingerprint,
       content, topic, difficulty, source, simulated, quality FROM dataset_members
"""
# What is done to the sound world, by the invariant that must notice.
SAID_TWICE = """
INSERT INTO review_events (example_id, entry, token, person, act, reason, detail, before, after,
                           seconds, policy_version, transition_id, at)
SELECT 1, '00000000-0000-0000-0000-000000000001', gen_random_uuid(), 'ann', 'approve', '', '',
       '{{}}', '{{}}', 1, 1, {}, now() FROM generate_series(1, 2)
"""
DAMAGE = {
    "examples have bodies": "DELETE FROM example_bodies WHERE example_id = 3",
    "captures are stored once": "UPDATE examples SET capture_id = (SELECT capture_id FROM examples"
    " WHERE id = 3) WHERE id = 4",
    "contents are stored once": "UPDATE examples SET fingerprint = (SELECT fingerprint FROM"
    " examples WHERE id = 3) WHERE id = 4",
    "duplicates are duplicates": "UPDATE capture_duplicates SET fingerprint = 'x'"
    " WHERE NOT conflicting",
    "batches add up": "UPDATE capture_batches SET received = received + 1",
    "batches explain refusals": "UPDATE capture_batches SET refused = 1, received = received + 1",
    "batches count every capture": "UPDATE capture_batches SET new = 0, resent = resent + new",
    "states are known": "UPDATE examples SET state = 'lost' WHERE id = 3",
    "moves are legal": "UPDATE transitions SET move = 'retire' WHERE example_id = 3",
    "moves are a chain": "UPDATE transitions SET from_state = 'in_review', move = 'approve'"
    " WHERE example_id = 3",
    "states are explained": "DELETE FROM transitions WHERE example_id = 3",
    "only candidates are due": "UPDATE examples SET due_at = now() WHERE id = 3",
    "admitted has quality": "UPDATE examples SET quality = NULL WHERE id = 3",
    "scores are somebody's": "UPDATE scores SET accuracy = 0 WHERE kind = 'verifier'",
    "decisions name their score": "UPDATE transitions SET score_id = 2 WHERE example_id = 3",
    "nothing is skipped": "DELETE FROM scores WHERE example_id = 3 AND kind = 'judge'",
    "no answer is silent": "UPDATE scores SET reason = '' WHERE outcome = 'unscored'",
    "scores are what jurors said": "UPDATE scores SET accuracy = 0 WHERE judge_model = 'm1 + m2'",
    "jurors are in the ledger": "UPDATE judgements SET answers = '{}'"
    " WHERE juror = (SELECT min(juror) FROM judgements)",
    "imports add up": "UPDATE imports SET read = read + 1",
    "imports explain rejects": "DELETE FROM import_rejects",
    "imports end once": "UPDATE imports SET finished_at = NULL",
    "imports count every record": "UPDATE imports SET new = 0, duplicate = duplicate + new",
    "policies have no gap": "UPDATE policies SET version = 2",
    "versions are whole": "DELETE FROM dataset_members WHERE position = 0 AND split = 'val'",
    "clusters are not divided": "UPDATE dataset_members SET cluster = 1",
    "templates are not lost": "INSERT INTO example_templates SELECT min(id), -1 FROM examples",
    "members are distinct": "UPDATE dataset_members SET fingerprint = 'same'",
    "val and test stay": NEXT_VERSION + OTHER_TEST,
    "what left is named": NEXT_VERSION,
    "one run is open": SECOND_RUN + ";" + SECOND_RUN,
    "runs end once": "UPDATE runs SET finished_at = NULL",
    "one program is active": SECOND_PROGRAM,
    "programs come from their run": "UPDATE runs SET state = 'failed'",
    "active programs are better": "UPDATE programs SET gain_low = 0",
    "activations are written down": "DELETE FROM activations",
    "demos are named": 'UPDATE programs SET envelope = \'{"demos": [{"uid": "x"}]}\'',
    "a run is followed by one": "INSERT INTO run_causes (run_id, domain, follows, because)"
    " SELECT gen_random_uuid(), 'd', md5('')::uuid, '[]' FROM generate_series(1, 2)",
    "old programs are stale": "UPDATE programs SET stale = false",
    "what waits is queued": "DELETE FROM reviews",
    "reviews are decided once": SAID_TWICE.format("1"),
    "two people are two": SAID_TWICE.format("NULL"),
    "no candidate is stuck": "UPDATE examples SET due_at = now() - interval '9 years' WHERE"
    " state = 'candidate'; UPDATE transitions SET at = now() - interval '8 years'",
    "no import is stuck": "UPDATE imports SET state = 'running', finished_at = NULL,"
    " due_at = now() - interval '9 years'",
    "no run is stuck": "UPDATE runs SET state = 'due', finished_at = NULL,"
    " due_at = now() - interval '9 years'",
    "reserved calls are somebody's": "UPDATE batches SET reserved = 1",
    "batches end with their portions": "UPDATE batches SET state = 'finished'",
    "budgets hold": "UPDATE batches SET spent = 11",
    "no portion is stuck": "UPDATE batch_cells SET due_at = now() - interval '9 years'",
    "counts are what is there": "UPDATE example_counts SET n = n + 1",
    "sizes are what is held": "UPDATE examples SET size = size + 1 WHERE id = 3",
    "what is forgotten is gone": "INSERT INTO tombstones (fingerprint, forgotten, actor, reason,"
    " at) SELECT fingerprint, true, 'ann', 'why', now() FROM examples WHERE id = 3",
    "what is gone is explained": "UPDATE dataset_members SET content = NULL",
    "nothing waits for a wrong clock": "UPDATE examples SET due_at = now() + interval '9 years'"
    " WHERE state = 'candidate'",
}


def test_there_is_a_way_to_break_every_invariant() -> None:
    assert set(DAMAGE) == {one.name for one in INVARIANTS}


def test_a_sound_database_breaks_none(tx: Tx) -> None:
    assert not broken(tx)


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_broken_is_found_and_shown(tx: Tx, name: str) -> None:
    tx.exec_driver_sql(DAMAGE[name])
    found = broken(tx)[name]
    assert 1 <= len(found.samples) <= found.broken


SHOWN = {
    "one more than is named": ("""{"demos": [{"a": 1}, {"a": 2}]}""", """[{"uid": "x"}]"""),
    "another one": ("""{"demos": [{"dspy_uid": "x"}]}""", """[{"uid": "y", "role": "labeled"}]"""),
    "one of another predictor": (
        """{"f": {"demos": [{"a": 1}]}, "g": {"demos": []}}""",
        """[{"uid": "x", "role": "bootstrapped", "predictor": "g"}]""",
    ),
    "a whole one that is not told of": (
        """{"demos": [{"dspy_uid": "x"}]}""", """[{"uid": "x", "role": "bootstrapped"}]"""
    ),
}  # fmt: skip
UNHURT = (
    (
        """{"f": {"demos": [{"dspy_uid": "x"}]}, "g": {"demos": [{"a": 1}]}, "metadata": {}}""",
        """[{"uid": "y", "role": "bootstrapped", "predictor": "g"},
            {"uid": "x", "role": "labeled", "predictor": "f"}]""",
    ),
    ("""{"demos": [{"a": 1}], "lm": null}""", """[{"uid": null, "role": "bootstrapped"}]"""),
)


def shows(tx: Tx, state: str, origins: str) -> bool:
    """Whether a program with such a prompt is found to be wrong."""
    asked = "UPDATE programs SET state = %s, envelope = %s"
    tx.exec_driver_sql(asked, (state, f'{{"demos": {origins}}}'))
    (invariant,) = PROMPTS
    return not invariants.check(tx, invariant, **TIMES).holds


@pytest.mark.parametrize("which", SHOWN)
def test_a_prompt_that_shows_what_is_not_named_is_found(tx: Tx, which: str) -> None:
    assert shows(tx, *SHOWN[which])


def test_demos_are_named_by_predictor_and_place(tx: Tx) -> None:
    assert not any(shows(tx, *one) for one in UNHURT)


def test_a_backlog_that_is_worked_on_is_not_stuck(tx: Tx) -> None:
    tx.exec_driver_sql("UPDATE examples SET due_at = '2020-01-01' WHERE state = 'candidate'")
    assert not broken(tx)


def test_the_checker_cannot_write(store: Store) -> None:
    with (
        pytest.raises(InternalError, match="read-only transaction"),
        store.snapshot() as tx,
    ):
        ingest(tx, make_captures(1))


# Against a ledger


def reconciled(store: Store, *ids: uuid.UUID) -> auditing.Reconciled:
    return auditing.reconcile(store, ids)


def test_an_accepted_capture_is_an_example_or_the_duplicate_of_one(store: Store) -> None:
    one = make_capture()
    copy = make_capture(outputs=one.outputs)
    in_one_transaction(store, lambda tx: ingest(tx, [one, copy]))
    assert reconciled(store, one.capture_id, copy.capture_id) == (2, 0, 0, 0, (), (), ())


def test_an_accepted_capture_that_is_nowhere_is_lost(store: Store) -> None:
    in_one_transaction(store, lambda tx: ingest(tx, make_captures(3)))
    missing = uuid.uuid4()
    found = reconciled(store, missing)
    assert (found.lost, found.lost_ids, found.holds) == (1, (missing,), False)


def test_a_capture_that_is_kept_under_two_contents_is_doubled(store: Store) -> None:
    one, other = make_captures(2)
    other = other.model_copy(update={"capture_id": one.capture_id})
    in_one_transaction(store, lambda tx: ingest(tx, [one, other]))
    found = reconciled(store, one.capture_id)
    assert (found.doubled, found.doubled_ids, found.holds) == (1, (one.capture_id,), False)


@pytest.mark.parametrize(
    "raw", ['{{"capture_id": "{0}", "domain": 7}}', '{{"capture_id":"{0}"}}', "capture {0}"]
)
def test_a_refused_capture_is_explained_not_lost(store: Store, raw: str) -> None:
    id_ = uuid.uuid4()
    refusal = Refusal(0, "invalid", "", "no", raw.format(id_))
    in_one_transaction(
        store,
        lambda tx: examples.ingest(tx, batch_id="b", batch=Batch({}, [refusal]), now=NOW),
    )
    found = reconciled(store, id_)
    assert (found.refused, found.refused_ids, found.lost, found.holds) == (1, (id_,), 0, True)


def test_a_ledger_is_ids_or_objects_and_its_torn_end_is_left_out(tmp_path: Path) -> None:
    ids = [uuid.uuid4() for _ in range(3)]
    path = tmp_path / "ledger"
    path.write_text(f'{ids[0]}\n{{"n": 1, "capture_id": "{ids[1]}"}}\n\n{ids[2]}\n{ids[0]!s:.20}')
    assert list(auditing.ledger(path)) == ids


@pytest.mark.parametrize("line", ["7", "{", '{"id": 1}', "[" * 50, '{"capture_id": null}'])
def test_a_line_of_a_ledger_that_is_no_id_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ledger"
    path.write_text(f"{uuid.uuid4()}\n{line}\n")
    with pytest.raises(InvalidInput, match=r"ledger, line 2: .+ is no capture id"):
        list(auditing.ledger(path))


# The command


@pytest.fixture
def here(store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("TDSYS_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "240")
    return store


def tdsys(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0), capsys.readouterr().out


def test_verify_says_that_all_is_well(here: Store, capsys: pytest.CaptureFixture[str]) -> None:
    in_one_transaction(here, a_bit_of_everything, at_rest)
    code, out = tdsys(capsys, "verify")
    assert (code, f"{len(INVARIANTS)} of {len(INVARIANTS)} invariants hold" in out) == (0, True)


def test_verify_fails_for_what_a_generator_was_promised_and_did_not_get(
    here: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, missing = tmp_path / "ledger", uuid.uuid4()
    in_one_transaction(here, a_bit_of_everything, at_rest)
    path.write_text(f"{missing}\n")
    code, out = tdsys(capsys, "verify", "--ledger", str(path))
    assert code == 1
    assert "1 accepted, 0 refused with a reason, 1 lost, 0 doubled" in out
    assert f"lost: {missing}" in out


def test_what_an_older_forget_damaged_has_a_way_out_and_is_found_again_if_it_comes_back(
    here: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    in_one_transaction(
        here,
        a_bit_of_everything,
        at_rest,
        lambda tx: tx.exec_driver_sql(DAMAGE["demos are named"]),
    )
    code, out = tdsys(capsys, "verify")
    assert (code, "program 1 of arithmetic" in out) == (1, True)
    assert "demos are named: `forget` of an older tdsys did this" in out
    assert "`tdsys optimize retry --domain DOMAIN` makes another program" in out

    def replaced(tx: Tx) -> None:
        version = datasets.latest(tx, domain="arithmetic")
        assert version
        keep(tx, version)

    in_one_transaction(here, replaced)
    assert tdsys(capsys, "verify")[0] == 0
    activating.activate(
        here, domain="arithmetic", program_id=1, actor="ann", reason="as it was", now=NOW
    )
    assert tdsys(capsys, "verify")[0] == 1


def test_verify_tells_machines_which_invariant_is_broken_by_what(
    here: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    in_one_transaction(
        here,
        lambda tx: ingest(tx, make_captures(1)),
        lambda tx: tx.execute(text("UPDATE examples SET state = 'candidate'")),
        lambda tx: tx.execute(text("UPDATE capture_batches SET received = 9")),
    )
    code, out = tdsys(capsys, "verify", "--json")
    found = {one["name"]: one for one in json.loads(out)["invariants"] if one["broken"]}
    assert code == 1
    assert found["batches add up"]["broken"] == 1
    assert State.CANDIDATE in found["no candidate is stuck"]["says"]
