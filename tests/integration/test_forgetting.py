"""What is deleted: what nothing used for long, and what must be forgotten wherever it is."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import text

from tdsys import quarantine
from tdsys.core.arrival import from_capture
from tdsys.core.example import Source, fingerprint
from tdsys.core.intake import Faulty
from tdsys.core.lifecycle import Move
from tdsys.core.panel import together
from tdsys.core.policy import Policy
from tdsys.core.program import DemoRef, ItemScore, Trial
from tdsys.core.rubric import Decision, Juror
from tdsys.core.sections import Lifecycle, Purges
from tdsys.errors import Conflict, InvalidInput
from tdsys.stages import auditing, clustering, curation, forgetting, policies
from tdsys.store import (
    Store,
    Tx,
    burials,
    datasets,
    examples,
    imports,
    judgements,
    programs,
    runs,
    words,
)
from tdsys.store.examples import Refusal
from tests.commanding import Shell, one_line
from tests.factories import (
    NOW,
    PROBLEM,
    make_assessment,
    make_capture,
    make_judgement,
    make_verdict,
)
from tests.stored import (
    LEASE,
    admit,
    claim,
    count,
    decide,
    enqueue,
    freeze,
    ingest,
    keep,
    upload,
    write_trial,
)

SECRET = "The red heron of Marlow borrowed exactly 4711 buttons"
OTHER = "A bakery sells 3 trays of 12 buns. How many buns is that?"
HINT = "Read the question once more before you begin."
ANOTHERS = {"uid": "z", "role": "bootstrapped", "predictor": "generate"}
LATER = NOW + timedelta(days=40)


def capture(problem: str = SECRET, **over: Any) -> Any:
    outputs = {**PROBLEM, "problem": problem, "solution": f"{problem}, so 3*12=<<3*12=36>>36."}
    return make_capture(outputs=outputs, metadata={"said by": problem}, **over)


def whole_database(tx: Tx) -> dict[str, str]:
    """Every row of every table as text, by table."""
    names = tx.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
    found = {}
    for name in names:
        rows = tx.execute(text(f"SELECT t::text FROM {name} AS t")).scalars()  # noqa: S608
        found[name] = "\n".join(rows)
    return found


def told(tx: Tx) -> set[str]:
    """The tables in which the secret is found, also as bytes or words."""
    marks = (SECRET, SECRET.encode().hex(), "marlow", "4711")
    return {name for name, rows in whole_database(tx).items() if any(one in rows for one in marks)}


def named(tx: Tx, one: Any) -> int:
    """The id of a capture's example."""
    asked = {"capture": one.capture_id}
    return int(tx.scalar(text("SELECT id FROM examples WHERE capture_id = :capture"), asked) or 0)


def demos(*problems: str) -> dict[str, Any]:
    """A program's state, one demo for each problem; the first says which example it is."""
    content = fingerprint("arithmetic", capture().inputs, capture().outputs).hex()
    made = [{"problem": one, "augmented": True} for one in problems]
    return {"generate": {"demos": [{**made[0], "problem": "x", "dspy_uid": content}, *made],
                         "signature": {"instructions": f"Write like: {SECRET}!"}}}  # fmt: skip


RAW = f"""
INSERT INTO example_revisions (example_id, number, payload, fingerprint, last_score_id, editor,
                               vouched, at)
SELECT example_id, 1, payload, 'before', 0, 'ann', true, now() FROM example_bodies
WHERE example_id = 1;
INSERT INTO review_drafts (example_id, person, content, at)
VALUES (1, 'ann', '{{"problem": "{SECRET}"}}', now());
INSERT INTO review_events (example_id, entry, token, person, act, reason, detail, before, after,
                           seconds, policy_version, at)
VALUES (1, gen_random_uuid(), gen_random_uuid(), 'ann', 'skip', 'r', '{SECRET}', '{{}}', '{{}}',
        1, 1, now());
INSERT INTO batches (domain, kind, state, wanted, plan, policy_version, model, max_calls, actor,
                     created_at, finished_at)
VALUES ('arithmetic', 'synthesis', 'finished', 1, '{{}}', 1, 'm', 9, 'ann', now(), now());
INSERT INTO batch_cells (batch_id, position, topic, difficulty, ladder, wanted, state, fallbacks)
SELECT id, 0, 't', 'd', '[]', 1, 'done', '[]' FROM batches;
INSERT INTO batch_items (cell_id, number, strategy, example_id, detail, content, evidence, made_by,
                         calls, tokens, seconds, at)
SELECT id, 1, 's', 1, '{SECRET}', '{{"problem": "{SECRET}"}}', '[]', '{{"by": "{SECRET}"}}', 1, 1,
       1, now() FROM batch_cells;
INSERT INTO batch_items (cell_id, number, strategy, reason, detail, content, evidence, made_by,
                         calls, tokens, seconds, at)
SELECT id, 2, 's', 'differs', '{SECRET}', '{{"problem": "{SECRET}"}}', '["{SECRET}"]', '{{}}', 1, 1,
       1, now() FROM batch_cells;
"""  # noqa: S608


def seed(tx: Tx) -> Any:
    """The capture of an example, the first, that has left its traces wherever there is room."""
    secret = capture()
    ingest(tx, [secret])
    (candidate,) = claim(tx)
    juror = Juror(model="m", rubric="r", prompt="p", texts="t")
    said = make_judgement(juror, make_assessment())
    quoted = said.model_copy(update={"rationales": dict.fromkeys(said.rationales, SECRET)})
    content = fingerprint(candidate.domain, candidate.inputs, candidate.outputs)
    judgements.introduce(tx, known=[juror], now=NOW)
    answered = judgements.Answered(content, juror, 0, quoted)
    judgements.keep(tx, answered=[answered], now=NOW)
    decision = Decision(move=Move.ADMIT, reason="meets_policy", detail=SECRET, quality=0.75)
    assert decide(tx, candidate, decision, answer=together([quoted], make_verdict()))
    admit(tx, [capture(f"{OTHER} {n}") for n in range(8)])
    broken = json.dumps(
        {"capture_id": str(uuid.uuid4()), "outputs": {"problem": f"{SECRET} \u00e9"}}
    )
    examples.ingest(
        tx,
        batch_id="again",
        batch=examples.Batch(
            {0: from_capture(capture()),
             1: from_capture(capture(f"{SECRET} twice", capture_id=secret.capture_id))},
            [Refusal(2, "malformed", "x", f"not {SECRET}", broken)],
        ),
        now=NOW,
    )  # fmt: skip
    import_id = upload(tx, b"x")
    bad = Faulty(3, 3, 1, "", "malformed", SECRET, "mend it", f'{{"problem": "{SECRET}"}}',
                 {"problem": SECRET})  # fmt: skip
    imports.advance(tx, import_id=import_id, progress=imports.Progress(done=1, read=1),
                    rejects=[bad], until=NOW)  # fmt: skip
    imports.finish(tx, import_id=import_id, state="finished", reason=None, now=NOW)
    version = freeze(tx)
    run_id = enqueue(tx, version)
    assert run_id is not None
    trial = Trial(number=1, kind="full", score=1, instruction=f"Write like: {SECRET}!", seconds=1,
                  demos=(DemoRef(uid=content.hex(), role="labeled"),), calls=1,
                  items=(ItemScore(uid="u", value=None, error=f"unparseable: {SECRET}"),),
    )  # fmt: skip
    write_trial(tx, run_id, trial)
    runs.finish(tx, run_id=run_id, state="finished", reason="done", outcome={}, now=NOW)
    keep(tx, version, run_id=run_id, state=demos(f"Once more: {SECRET}", OTHER),
         envelope={"demos": [{"uid": content.hex(), "role": "labeled", "predictor": "generate"},
                             {"uid": "y", "role": "bootstrapped", "predictor": "generate"},
                             ANOTHERS], "instruction": SECRET},
    )  # fmt: skip
    words.index(tx, limit=100, now=NOW)
    for statement in RAW.split(";\n"):
        if statement.strip():
            tx.exec_driver_sql(statement.replace("%", "%%"))
    return secret


EVERYWHERE = {
    "batch_items", "capture_duplicates", "capture_refusals", "dataset_members", "example_bodies",
    "example_revisions", "example_words", "import_rejects", "judgements", "programs",
    "review_drafts", "review_events", "scores", "transitions", "trial_items", "trials",
}  # fmt: skip


def forget(store: Store, *ids: int, **more: Any) -> forgetting.Forgotten:
    return forgetting.forget(store, ids=ids, actor="ann", reason="asked to", now=NOW, **more)


@pytest.mark.criterion("6.1")
def test_what_is_forgotten_is_nowhere_in_the_database(store: Store) -> None:
    with store.begin() as tx:
        secret = seed(tx)
    with store.begin() as tx:
        found = examples.admitted(tx, domain="arithmetic")
    clustering.place(store, domain="arithmetic", examples=found)
    with store.begin() as tx:
        assert told(tx) == EVERYWHERE
        held = {name: count(tx, name) for name in ("templates", "examples")}
    would = forget(store, captures=[secret.capture_id], dry_run=True)
    with store.begin() as tx:
        assert told(tx) == EVERYWHERE
        assert count(tx, "cache_evictions") == 0
    done = forget(store, captures=[secret.capture_id])
    assert done == would
    with store.begin() as tx:
        assert told(tx) == set()
        assert {name: count(tx, name) for name in held} == {
            "templates": held["templates"] - 1, "examples": held["examples"] - 1}  # fmt: skip
        program = programs.incumbent(tx, domain="arithmetic")
    assert done.examples == (1,)
    assert [(one.domain, one.number, one.members) for one in done.versions] == [
        ("arithmetic", 1, 1)
    ]
    (taught,) = done.programs
    assert (taught.active, taught.demos) == (True, 2)
    assert program
    assert program.stale
    assert program.state["generate"] == {
        "demos": [{"problem": OTHER, "augmented": True}],
        "signature": {"instructions": "Write like: [forgotten]!"},
    }
    assert program.envelope["demos"] == [ANOTHERS]
    assert all(one.holds for one in auditing.audit(store, lease=LEASE, now=NOW))


def a_program_of(tx: Tx, ids: list[int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The active program, as a run makes it: one whole demo, the others written by a model."""
    version = freeze(tx)
    (first, *others) = sorted(examples.admitted(tx, domain="arithmetic"), key=lambda one: one.id)
    assert [first.id, *(one.id for one in others)] == ids
    whole = {**first.inputs, **first.outputs, "dspy_uid": first.fingerprint}
    made = [{"augmented": True, **one.inputs, "problem": f"Model's {one.id}", "hints": [HINT]}
            for one in others]  # fmt: skip
    origins = [{"uid": first.fingerprint, "role": "labeled", "predictor": "self"},
               *({"uid": one.fingerprint, "role": "bootstrapped", "predictor": "self"}
                 for one in others)]  # fmt: skip
    state = {"demos": [whole, *made], "signature": {"instructions": f"Hint like: {HINT}"}}
    keep(tx, version, state=state, envelope={"demos": origins})
    return [whole, *made], origins


@pytest.mark.criterion("6.1")
def test_a_program_loses_the_demos_of_what_is_forgotten_and_no_others(store: Store) -> None:
    with store.begin() as tx:
        outputs = [{**PROBLEM, "problem": f"{OTHER} {n}", "hints": [HINT]} for n in range(4)]
        ids = sorted(admit(tx, [make_capture(outputs=one) for one in outputs]))
        shown, origins = a_program_of(tx, ids)
    for number, which in enumerate((2, 0), 1):  # a bootstrapped one, then the whole one
        (taught,) = forget(store, ids[which]).programs
        del shown[which], origins[which]
        with store.begin() as tx:
            left = programs.incumbent(tx, domain="arithmetic")
        assert left
        assert (taught.active, taught.demos) == (True, 1)
        assert (left.state["demos"], left.envelope["demos"]) == (shown, origins)
        assert left.state["signature"] == {"instructions": f"Hint like: {HINT}"}
        assert [one.demos for one in left.lost] == [1] * number
        assert all(one.holds for one in auditing.audit(store, lease=LEASE, now=NOW))


def test_a_text_is_an_examples_own_once_no_other_has_it(store: Store) -> None:
    with store.begin() as tx:
        outputs = [{**PROBLEM, "problem": f"{OTHER} {n}", "hints": [HINT] * (n < 2)}
                   for n in range(4)]  # fmt: skip
        captures = [make_capture(outputs=one) for one in outputs]
        a_program_of(tx, sorted(admit(tx, captures)))
    assert forget(store, captures=[captures[0].capture_id]).programs[0].demos == 1
    assert forget(store, captures=[captures[1].capture_id]).programs[0].demos > 1
    with store.begin() as tx:
        left = programs.incumbent(tx, domain="arithmetic")
    assert left
    assert HINT not in str((left.state, left.envelope))
    assert all(one.holds for one in auditing.audit(store, lease=LEASE, now=NOW))


def test_what_is_forgotten_does_not_come_in_again(store: Store) -> None:
    with store.begin() as tx:
        (id_,) = admit(tx, [secret := capture()])
    forget(store, id_)
    with store.begin() as tx:
        again = ingest(tx, [secret, later := capture()])
        assert (again.new, again.duplicate, again.resent) == (0, 1, 1)
        added = examples.add(tx, arrivals=[from_capture(capture())], source=Source.IMPORTED,
                             due_at=NOW, now=NOW)  # fmt: skip
        assert (added.new, added.duplicate) == (0, 1)
        assert told(tx) == set()
    ledger = [secret.capture_id, later.capture_id]
    assert auditing.reconcile(store, ledger).holds
    assert all(one.holds for one in auditing.audit(store, lease=LEASE, now=NOW))
    with pytest.raises(InvalidInput, match="nothing here was ever 999"):
        forget(store, 999)


def test_a_version_that_lost_content_says_so_and_the_next_one_keeps_its_splits(
    store: Store,
) -> None:
    with store.begin() as tx:
        ids = admit(tx, [capture(f"{SECRET} {n}") for n in range(9)])
        version = freeze(tx)
        before = {m.example.id: m.split for m in datasets.members(tx, version_id=version.id)}
    forget(store, ids[4])
    with store.begin() as tx, pytest.raises(Conflict, match="lost the content of 1 of its 9"):
        datasets.members(tx, version_id=version.id)
    with store.begin() as tx:
        after = datasets.members(tx, version_id=version.id, whole=False)
        assert {m.example.id: m.split for m in after} == before


def test_purging_deletes_what_nothing_used_for_long_and_versions_keep_what_they_froze(
    store: Store,
) -> None:
    with store.begin() as tx:
        admit(tx, captures := [capture(f"{OTHER} {n}") for n in range(9)])
        ids = [named(tx, one) for one in captures]
        version = freeze(tx)
        frozen = datasets.members(tx, version_id=version.id)
    rules = Lifecycle(purge_after_days=Purges(retired=30))
    policies.put(store, domain="arithmetic", author="ann", now=NOW, policy=Policy(lifecycle=rules))
    for id_ in ids[:4]:
        curation.move(store, example_id=id_, move=Move.RETIRE, reason="r", actor="a", now=NOW)
    curation.pin(store, example_ids=[ids[3]], reason="keep", actor="a", now=NOW)
    assert forgetting.purge_due(store, clock=lambda: NOW + timedelta(days=29))[0].states == {}
    assert forgetting.foreseen(store, domain="arithmetic", clock=lambda: LATER).states == {
        "retired": 3
    }
    (purged,) = forgetting.purge_due(store, clock=lambda: LATER)
    assert (purged.states, purged.more) == ({"retired": 3}, False)
    with store.begin() as tx:
        left = [row.id for row in tx.execute(text("SELECT id FROM examples ORDER BY id"))]
        assert left == sorted(ids[3:])
        assert datasets.members(tx, version_id=version.id) == frozen
        assert count(tx, "scores") == 2 * 6
        again = ingest(tx, [captures[0], capture(f"{OTHER} 1")])
        assert (again.new, again.resent) == (1, 1)
    assert auditing.reconcile(store, [one.capture_id for one in captures]).holds
    assert all(one.holds for one in auditing.audit(store, lease=LEASE, now=NOW))
    forget(store, ids[0])
    with store.begin() as tx, pytest.raises(Conflict, match="lost the content of 1"):
        datasets.members(tx, version_id=version.id)


def test_a_run_that_learns_from_it_is_asked_to_stop(store: Store) -> None:
    with store.begin() as tx:
        ids = admit(tx, [capture(f"{OTHER} {n}") for n in range(9)])
        run_id = enqueue(tx, freeze(tx))
    forget(store, ids[0])
    with store.begin() as tx:
        assert run_id
        run = runs.run(tx, run_id=run_id)
    assert run
    assert run.cancel_requested


def test_an_import_that_is_being_read_is_waited_for(store: Store) -> None:
    with store.begin() as tx:
        (id_,) = admit(tx, [capture()])
        import_id = upload(tx, json.dumps({"problem": SECRET + " 100%_\\"}).encode())
    with pytest.raises(Conflict, match=f"import {import_id} is being read"):
        forget(store, id_)
    with store.begin() as tx:
        imports.finish(tx, import_id=import_id, state="failed", reason="no", now=NOW)
    assert forget(store, id_).examples == (id_,)


def test_examples_are_forgotten_by_command(
    here: Store, tdsys: Shell, redis_url: str, tmp_path: Path
) -> None:
    with here.begin() as tx:
        admit(tx, [secret := capture(), other := capture(f"{OTHER} 1"), capture(f"{OTHER} 2")])
        ids = [named(tx, secret), named(tx, other)]
    broker: Redis = Redis.from_url(redis_url)
    quarantine.clear(broker)
    quarantine.keep(broker, json.dumps(secret.outputs).encode(), queue="capture", reason="no")
    quarantine.keep(broker, b"{}", queue="capture", reason="no")
    said = tdsys("forget", "1", "--reason", "r")
    assert (said.code, "--dry-run" in one_line(said)) == (2, True)
    assert tdsys("forget", "--reason", "r", "--yes").code == 2
    file = tmp_path / "ids"
    file.write_text(f"{secret.capture_id}\n\n{ids[1]}\n")
    shown = tdsys("forget", "--file", file, "--reason", "asked to", "--dry-run")
    assert shown.out.startswith("would delete 2 examples, 2 contents")
    told_ = tdsys("forget", "--file", file, "--reason", "asked to", "--yes", "--json").document
    assert (told_["examples"], told_["applied"]) == (sorted(ids), True)
    assert told_["records"]["quarantine"] == quarantine.count(broker) == 1
    again = tdsys("forget", "--file", file, "--reason", "asked to", "--yes").out
    assert again.startswith("no example of this is left: it was forgotten or purged before")
    assert "deleted 0" not in again
    file.write_text("what\n")
    bad = tdsys("forget", "--file", file, "--reason", "asked to", "--yes")
    assert (bad.code, "line 1: 'what' is no id" in one_line(bad)) == (2, True)
    with here.begin() as tx:
        assert count(tx, "examples") == 1
        assert {one.tag for one in burials.evictions(tx, done=[])} >= {"shared"}
