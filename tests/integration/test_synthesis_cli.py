"""`tdsys bootstrap`, `synthesize`, `batch`, `strategy`, `report`, `why`, as somebody types them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tdsys import runtime
from tdsys.stages import scoring, synthesizing
from tdsys.stages.synthesizing import Means
from tdsys.store import Store
from tests.commanding import Shell
from tests.making import ScriptedSolver
from tests.scripted import ScriptedJudge


@contextmanager
def at_work() -> Iterator[None]:
    """Workers with everything real but the models, until the block ends."""
    here, over = runtime.current(), threading.Event()
    here.verifier, judge, solver = here.verifier, ScriptedJudge(), ScriptedSolver()
    solver.simulated = True  # as the offline one, which understands no story

    def work() -> None:
        while not over.is_set():
            synthesizing.make_due(
                here.store,
                means=Means(here.workshop, here.verifier, solver),
                clock=here.now,
                lease=here.lease,
                block=8,
            )
            scoring.score_due(
                here.store,
                judge=judge,
                verifier=here.verifier,
                clock=here.now,
                limits=here.scoring_limits,
            )
            over.wait(0.02)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join(30)


@pytest.fixture
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path_factory.mktemp("answers")))


def mixture(synthetic: int, real: int) -> dict[str, float]:
    return {"synthetic": synthetic, "real": real, "imported": 0, "allowed_share": 1.0}


def unrefuted(batch: str) -> list[Any]:
    """What models made for a batch, admitted or not, that the verifier does not refute."""
    here = runtime.current()
    with here.store.begin() as tx:
        made = tx.exec_driver_sql(
            "SELECT example.domain, body.payload -> 'inputs', body.payload -> 'outputs'"
            " FROM batch_items AS item"
            " JOIN batch_cells AS cell ON cell.id = item.cell_id"
            " JOIN examples AS example ON example.id = item.example_id"
            " JOIN example_bodies AS body ON body.example_id = example.id"
            " WHERE cell.batch_id = %s AND item.strategy <> 'templates'",
            (batch,),
        ).all()
    return [one for one in made if not here.verifier.verify(*one).failed()]


BOOTSTRAP = ("bootstrap", "--domain", "algebra", "--difficulties", "easy,hard")


@pytest.mark.criterion("2.2")
def test_a_dry_run_shows_the_plan_and_begins_nothing(tdsys: Shell) -> None:
    said = tdsys(*BOOTSTRAP, "--count", "20", "--dry-run", "--json")
    plan = said.document
    assert said.code == 0
    assert (plan["wanted"], plan["calls"], plan["cost"]) == (20, 0, 0)
    assert sum(one["wanted"] for one in plan["cells"]) == 20
    assert {one["difficulty"] for one in plan["cells"]} == {"easy", "hard"}
    assert len({one["topic"] for one in plan["cells"]}) == 3
    assert set(plan["cells"][0]) == {"topic", "difficulty", "strategy", "wanted", "calls"}
    assert tdsys("batch", "list", "--json").document == []
    told = tdsys(*BOOTSTRAP, "--count", "20", "--dry-run")
    assert "0 → 4 ██" in told.out
    assert "20 examples: about 0 calls" in told.out


@pytest.mark.criterion("2.1")
@pytest.mark.criterion("2.3")
def test_a_bootstrap_is_followed_to_its_end(tdsys: Shell) -> None:
    with at_work():
        said = tdsys(*BOOTSTRAP, "--count", "12", "--json")
    result = said.result
    assert said.code == 0
    assert (result["wanted"], result["made"], result["admitted"]) == (12, 12, 12)
    assert result["state"] == "finished"
    assert result["mixture"] == mixture(0, 12)
    shown = tdsys("batch", "show", result["batch"][:8])
    assert "12 wanted, 12 made, 12 admitted" in shown.out
    assert "synthetic : real : imported = 0 : 12 : 0; 0% synthetic" in shown.out
    assert tdsys("batch", "watch", result["batch"]).code == 0
    why = tdsys("why", "1").out
    assert "bootstrapped" in why
    assert f"of batch {result['batch']} by generator:reference" in why
    assert "candidate -> admitted by scoring: meets_policy" in why


@pytest.mark.criterion("10.1")
@pytest.mark.criterion("10.2")
@pytest.mark.criterion("10.5")
@pytest.mark.usefixtures("_own_cache")
def test_synthesis_uses_many_strategies_fills_cells_evenly_and_tells_the_ratio(
    tdsys: Shell,
) -> None:
    with at_work():
        tdsys(*BOOTSTRAP, "--count", "12")
        said = tdsys("synthesize", "--domain", "algebra", "--count", "24", "--json")
        assert said.code == 0, said.err
    result = said.result
    assert result["admitted"] == 24
    assert len(result["strategies"]) >= 5
    assert {one["topic"] for one in result["cells"]} == {
        one["topic"] for one in tdsys(*BOOTSTRAP, "--count", "6", "--dry-run", "--json")
        .document["cells"]
    }  # fmt: skip
    assert result["mixture"] == mixture(24, 12)
    assert 24 <= result["calls"] <= result["max_calls"]
    told = tdsys("report", "diversity", "--domain", "algebra", "--batch", result["batch"], "--json")
    every, own = told.document["sets"]
    assert (every["name"], every["diversity"]["examples"]) == ("admitted", 36)
    assert (own["name"], own["diversity"]["examples"]) == (f"batch {result['batch'][:8]}", 24)
    # All but what evidence refutes: that is not worth a call, and another is made for it.
    assert sum(result["solved_again"].values()) == len(unrefuted(result["batch"])) >= 1
    assert "solved again: " in tdsys("batch", "show", result["batch"]).out
    yields = tdsys("report", "yield", "--json").document
    assert sum(one["admitted"] for one in yields) == 36
    assert "calls per admitted" in tdsys("report", "yield").out


@pytest.mark.criterion("2.5")
def test_what_fell_short_says_why_and_what_is_left_to_do(tdsys: Shell, here: Store) -> None:
    assert here
    with at_work():
        said = tdsys("bootstrap", "--domain", "odd", "--topics", "knitting", "--count", "2")
    assert said.code == 1
    assert "0 made, 0 admitted" in said.out
    assert "the first generator_failed: " in said.out
    assert "tdsys import FILE --domain odd" in said.out


def test_who_stops_watching_a_batch_is_told_that_it_goes_on(
    tdsys: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tdsys.cli.batch.filling.progress", interrupted)
    said = tdsys(*BOOTSTRAP, "--count", "6")
    monkeypatch.undo()
    (listed,) = tdsys("batch", "list", "--json").document
    assert (said.code, listed["state"]) == (130, "open")
    assert f"goes on; follow it with tdsys batch watch {listed['id']}, stop it with" in said.err


def test_a_detached_batch_is_cancelled_and_gone_on_with(tdsys: Shell) -> None:
    found = tdsys(*BOOTSTRAP, "--count", "6", "--detach", "--json").result["batch"]
    (listed,) = tdsys("batch", "list", "--json").document
    assert (listed["id"], listed["state"]) == (found, "open")
    assert tdsys("batch", "cancel", found, "--json").document["state"] == "cancelled"
    assert tdsys("batch", "cancel", found).code == 3
    assert tdsys("batch", "watch", found).code == 1
    with at_work():
        said = tdsys("batch", "resume", found, "--json")
    assert said.code == 0
    assert said.result["admitted"] == 6


def test_a_batch_of_another_domain_is_no_part_of_a_report(tdsys: Shell) -> None:
    found = tdsys(*BOOTSTRAP, "--count", "6", "--detach", "--json").result["batch"]
    assert tdsys("bootstrap", "--domain", "statistics", "--count", "6", "--detach").code == 0
    said = tdsys("report", "diversity", "--domain", "statistics", "--batch", found)
    assert (said.code, f"batch {found} is of algebra" in said.err) == (2, True)


def test_wrong_requests_are_refused_in_one_sentence(tdsys: Shell) -> None:
    assert tdsys("bootstrap", "--domain", "odd", "--count", "5").code == 2
    assert tdsys(*BOOTSTRAP, "--count", "0").code == 2
    unknown = tdsys("synthesize", "--domain", "algebra", "--topics", "x", "--count", "5",
                    "--strategies", "magic")  # fmt: skip
    assert unknown.code == 2
    assert "there is no strategy 'magic'" in unknown.err
    nobody = tdsys(*BOOTSTRAP, "--count", "5", "--generator", "nobody")
    assert (nobody.code, "use one of: reference" in nobody.err) == (2, True)
    for wrong in ("00000000-0000-0000-0000-000000000000", "%", "no id"):
        assert "there is no batch" in tdsys("batch", "show", wrong).err
    assert tdsys("why", "99").code == 2


def test_strategies_are_listed_with_their_sources_and_shown_whole(tdsys: Shell) -> None:
    listed = {one["name"]: one for one in tdsys("strategy", "list", "--json").document}
    assert "arXiv:2308.07758" in listed["backward"]["source"]
    assert "when named" in tdsys("strategy", "list").out
    told = tdsys("strategy", "show", "backward").out
    assert "ask for x" in told
    assert "never instructions" in told
