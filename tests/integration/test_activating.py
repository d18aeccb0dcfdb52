"""Which program is the active one: by a run, by a person, taken back; and what is told of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from tdsys.core.comparison import Comparison
from tdsys.core.policy import Policy
from tdsys.core.sections import Activation
from tdsys.errors import Conflict, InvalidInput, NotFound, NotReady
from tdsys.stages import activating, forgetting, policies
from tdsys.store import Store, Tx, activations, datasets, examples, programs, runs
from tdsys.store.datasets import DatasetVersion
from tests.commanding import Shell
from tests.factories import NOW, make_captures
from tests.scripted import ScriptedOptimizer
from tests.stepping import program_of, put, ready, run
from tests.stored import BETTER, admit, enqueue, freeze, keep

DOMAIN = "arithmetic"
WORSE = BETTER.model_copy(update={"gain": -0.1, "gain_low": -0.2, "gain_high": 0.1})


def kept(store: Store, comparison: Comparison = BETTER, *, activate: bool = True) -> int:
    """A run's program."""
    with store.begin() as tx:
        version = freeze(tx)
        number = len(programs.programs(tx, domain=DOMAIN))
        run_id = enqueue(tx, version, now=NOW + timedelta(hours=number))
        assert run_id
        runs.finish(tx, run_id=run_id, state="finished", reason="", outcome={}, now=NOW)
        envelope = {"calls": 700, "tokens": 2_000_000, "metric": "m", "simulated": True}
        return keep(tx, version, run_id=run_id, activate=activate,
                    comparison=comparison, envelope=envelope)  # fmt: skip


@pytest.fixture
def three(store: Store) -> list[int]:
    """Three programs, the first two active one after the other, the third worse."""
    with store.begin() as tx:
        admit(tx, make_captures(6))
    return [kept(store), kept(store), kept(store, WORSE, activate=False)]


def active(store: Store) -> int | None:
    with store.begin() as tx:
        found = programs.incumbent(tx, domain=DOMAIN)
    return found.id if found else None


def rollback(store: Store) -> int:
    return activating.rollback(store, domain=DOMAIN, actor="ann", reason="odd", now=NOW).program_id


def activate(store: Store, program_id: int | None = None, **over: Any) -> activations.Activation:
    given = {"domain": DOMAIN, "program_id": program_id, "actor": "ann", "reason": "try it"}
    return activating.activate(store, **{**given, **over}, now=NOW)


def test_a_person_activates_any_program_and_is_written_down(store: Store, three: list[int]) -> None:
    done = activate(store)
    assert (done.program_id, done.former_id, done.how.value) == (three[2], three[1], "person")
    assert active(store) == three[2]
    (newest, *before) = activating.history(store, domain=DOMAIN)
    assert [(one.actor, one.reason) for one in newest.activations] == [("ann", "try it")]
    assert [one.activations[0].actor for one in before] == ["run", "run"]


def test_each_rollback_goes_one_further_until_there_is_nothing_before(
    store: Store, three: list[int]
) -> None:
    activate(store)
    assert [rollback(store), rollback(store)] == [three[1], three[0]]
    with pytest.raises(NotReady, match="was active before this one"):
        rollback(store)
    assert active(store) == three[0]
    activate(store, three[2])
    assert rollback(store) == three[0]


def test_what_cannot_be_activated_is_refused_and_changes_nothing(
    store: Store, three: list[int]
) -> None:
    with pytest.raises(Conflict, match="is active already"):
        activate(store, three[1])
    with pytest.raises(NotFound, match="no program 999"):
        activate(store, 999)
    with pytest.raises(InvalidInput, match="no domain 'other'"):
        activating.rollback(store, domain="other", actor="ann", reason="", now=NOW)
    assert active(store) == three[1]
    with pytest.raises(IntegrityError), store.begin() as tx:
        tx.exec_driver_sql("DELETE FROM activations")


def test_of_many_who_activate_at_once_each_replaces_another(store: Store, three: list[int]) -> None:
    def work(number: int) -> bool:
        try:
            activate(store, three[number % 3], actor=f"p{number}")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        done = sum(threads.map(work, range(18)))
    with store.begin() as tx:
        told = activations.listed(tx, domain=DOMAIN)
    assert len(told) == 2 + done
    assert all(one.former_id == before.program_id for one, before in pairwise(told))
    assert active(store) == told[0].program_id


@pytest.mark.criterion("7.4")
def test_a_program_is_activated_only_above_the_margin_of_its_policy(store: Store) -> None:
    clock = ready(store, 42, activation=Activation(margin=0.7))
    (done,) = run(store, ScriptedOptimizer(0.9), clock)
    assert "not activated" in done.reason
    assert "may be +0.700, activation.margin is 0.7" in done.reason
    put(store, seed=3, audit_share=0, activation=Activation(margin=0.69))
    (done,) = run(store, ScriptedOptimizer(0.9), clock)
    assert done.reason.startswith("activated: ")


def test_where_a_person_decides_a_better_program_waits(store: Store) -> None:
    clock = ready(store, 42, activation=Activation(by="person"))
    (done,) = run(store, ScriptedOptimizer(0.9), clock)
    assert done.reason.endswith("it waits for a person, activation.by")
    assert program_of(store) is None
    activating.activate(store, domain="d", program_id=None, actor="ann", reason="", now=clock())
    assert program_of(store).comparison.after == pytest.approx(0.9)


def test_a_comparison_with_a_program_that_was_replaced_meanwhile_activates_nothing(
    store: Store,
) -> None:
    clock = ready(store, 42)
    run(store, ScriptedOptimizer(0.5), clock)
    clock.forward(minutes=1)
    policies.put(store, domain="d", author="t", now=NOW,
                 policy=Policy(min_examples=40, settle_seconds=0, audit_share=0, seed=3,
                               activation=Activation(by="person")))  # fmt: skip
    run(store, ScriptedOptimizer(0.6), clock)
    clock.forward(minutes=1)
    put(store, seed=4, audit_share=0)

    class Meanwhile(ScriptedOptimizer):
        def optimize(self, *args: Any, **kwargs: Any) -> Any:
            made = super().optimize(*args, **kwargs)
            with store.begin() as tx:
                waiting = programs.programs(tx, domain="d")[0]
            self.rival = waiting.id
            return made

        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            if program_of(store).id != self.rival:
                activating.activate(store, domain="d", program_id=self.rival, actor="ann",
                                    reason="", now=NOW)  # fmt: skip
            return super().evaluate(*args, **kwargs)

    (done,) = run(store, Meanwhile(0.9), clock)
    assert done.reason.endswith("with a program that is no longer the active one")
    assert program_of(store).comparison.after == pytest.approx(0.6)


@pytest.mark.criterion("7.4")
def test_history_tells_metric_cost_and_data_of_every_run(three: list[int], tdsys: Shell) -> None:
    told = tdsys("optimize", "history", "--domain", DOMAIN, "--json").document
    assert [one["program"]["id"] for one in told["runs"]] == three[::-1]
    newest = told["runs"][0]["program"]
    assert (newest["after"], newest["gain_low"], newest["calls"]) == (0.7, -0.2, 700)
    assert (newest["active"], newest["cost"], newest["metric"]) == (False, 0.0, "m")
    assert told["runs"][0]["dataset"]["number"] == 1
    assert newest["simulated"] is True
    said = tdsys("optimize", "history", "--domain", DOMAIN)
    assert "0.700 (simulated)" in said.out
    assert "(simulated)" in tdsys("optimize", "status", "--domain", DOMAIN).out
    assert said.out.endswith("from the first to the newest: ▆▆▆\n")
    assert "+0.300 [+0.100, +0.500]" in said.out
    refused = tdsys("optimize", "activate", "--domain", DOMAIN, "--program", "999")
    assert refused.code == 2
    done = tdsys("optimize", "activate", "--domain", DOMAIN, "--reason", "a try", "--json")
    assert done.document["program_id"] == three[2]
    back = tdsys("optimize", "rollback", "--domain", DOMAIN)
    assert back.out.startswith(f"program {three[1]} of {DOMAIN} is active, by ")
    assert f"another rollback makes program {three[0]} active" in back.out
    back = tdsys("optimize", "rollback", "--domain", DOMAIN)
    assert "there is none to go back to from it" in back.out
    assert tdsys("optimize", "history", "--domain", "none").code == 2


def test_history_is_read_line_by_line_where_the_terminal_is_narrow(
    three: list[int], tdsys: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = tdsys("optimize", "history", "--domain", DOMAIN).out.splitlines()
    assert max(map(len, lines)) <= 80
    for title in ("before", "after", "gain", "active"):
        assert sum(line.startswith(f"  {title} ") for line in lines) == len(three)
    assert sum("[+0.100, +0.500]" in line for line in lines) == 2


def test_history_says_that_a_prompt_is_no_longer_the_one_that_was_measured(
    here: Store, tdsys: Shell
) -> None:
    with here.begin() as tx:
        (example, *_) = admit(tx, make_captures(6))
        found = examples.admitted(tx, domain=DOMAIN)
        uid = next(one.fingerprint for one in found if one.id == example)
        origin = {"uid": uid, "role": "bootstrapped"}
        keep(tx, freeze(tx), state={"demos": [{"problem": "x"}]}, envelope={"demos": [origin]})
    asked = ("optimize", "history", "--domain", DOMAIN)
    before = tdsys(*asked, "--json").document["runs"][0]["program"]
    assert (before["as_measured"], before["forgotten_demos"]) == (True, 0)
    forgetting.forget(here, ids=[example], actor="ann", reason="asked to", now=NOW)
    after = tdsys(*asked, "--json").document["runs"][0]["program"]
    assert (after["as_measured"], after["forgotten_demos"]) == (False, 1)
    assert "0.700, before 1 demos were forgotten" in tdsys(*asked).out


def test_a_run_that_is_queued_while_history_is_read_is_not_in_it_yet(
    store: Store, three: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = datasets.versions

    def and_then_another_run(tx: Tx, *, domain: str) -> list[DatasetVersion]:
        found = read(tx, domain=domain)
        with store.begin() as other:
            admit(other, make_captures(12)[6:])
            later = NOW + timedelta(days=1)
            assert enqueue(other, freeze(other, now=later), now=later)
        return found

    monkeypatch.setattr(datasets, "versions", and_then_another_run)
    assert len(activating.history(store, domain=DOMAIN)) == len(three)
    monkeypatch.undo()
    assert len(activating.history(store, domain=DOMAIN)) == len(three) + 1


def test_what_was_captured_of_each_program_is_counted(
    store: Store, three: list[int], tdsys: Shell
) -> None:
    said = [{"served_program": three[2]}] * 3 + [{"served_program": three[1]}, {}]
    odd: list[dict[str, Any]] = [{"served_program": "x"}, {"served_program": [1]}]
    with store.begin() as tx:
        captures = make_captures(20)[10 : 10 + len(said) + len(odd)]
        admit(tx, [one.model_copy(update={"metadata": told})
                   for one, told in zip(captures, said + odd, strict=True)])  # fmt: skip
    told = tdsys("optimize", "history", "--domain", DOMAIN, "--json").document["runs"]
    counts = [one["served"] and (one["served"]["captured"], one["served"]["admitted"])
              for one in told]  # fmt: skip
    assert counts == [(3, 3), (1, 1), None]
    assert told[0]["served"]["quality"] == pytest.approx(0.75)
    shown = tdsys("optimize", "history", "--domain", DOMAIN).out
    assert "3, 3 admitted, 0 rejected, quality 0.75" in shown
