"""What batches make again, whom they turn to instead, and how they end where nothing helps."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from tdsys.core.batch import BatchState, Draft, Kind, Order, Refused
from tdsys.core.contamination import marks
from tdsys.core.policy import Policy
from tdsys.core.rubric import Unscored
from tdsys.errors import ConfigurationError
from tdsys.stages import filling
from tdsys.store import Store, benchmarks, policies
from tdsys.store.batches import Budget
from tdsys.store.benchmarks import Benchmark
from tests.batching import AWAY, Line
from tests.factories import NOW, make_assessment, make_verdict
from tests.making import ScriptedMaker, ScriptedWorkshop, drafted, paid


@pytest.mark.criterion("2.3")
def test_what_the_judge_rejects_is_made_anew_and_counted(line: Line) -> None:
    seen: set[str] = set()

    def fussy(candidate: object) -> object:
        key = str(candidate)
        first = len(seen) < 7 and key not in seen
        seen.add(key)
        return make_assessment(0.1 if first else 0.9)

    line.judge.answer = fussy  # type: ignore[assignment]
    report = line.run(line.ask(20))
    assert report.batch.state == "finished"
    assert (report.whole.made, report.whole.admitted) == (27, 20)
    assert report.whole.reasons == {"low_accuracy": 7}


@pytest.mark.criterion("2.5")
def test_a_generator_that_never_answers_ends_the_batch_with_reasons_and_what_was_tried(
    store: Store,
) -> None:
    broken = ScriptedMaker(lambda _: Refused("generator_failed", "KeyError: 'x'"))
    none = ScriptedMaker(lambda _: Refused("no_template", "unknown"))
    line = Line(store, ScriptedWorkshop(broken, templates=none))
    result = filling.ended(line.run(line.ask(4)))
    assert (result["state"], result["wanted"], result["made"]) == ("partial", 4, 0)
    assert result["reasons"] == {"generator_failed": 24, "no_template": 24}
    assert result["details"] == {"generator_failed": "KeyError: 'x'", "no_template": "unknown"}
    fallbacks = result["fallbacks"]
    assert isinstance(fallbacks, list)
    assert [f["next"] for f in fallbacks[:2]] == ["templates", "import"]  # type: ignore[index,call-overload]
    assert "6 × generator_failed" in str(fallbacks[0])
    assert "generator_failed" not in str(fallbacks[1]), "of what was given up, its own attempts"
    cells = result["cells"]
    assert isinstance(cells, list)
    assert all(cell["reason"] for cell in cells)  # type: ignore[index,call-overload]


@pytest.mark.criterion("2.5")
def test_templates_step_in_for_a_strategy_that_fails(store: Store) -> None:
    broken = ScriptedMaker(lambda _: Refused("generator_failed"))
    line = Line(store, ScriptedWorkshop(broken, templates=ScriptedMaker()))
    report = line.run(line.ask(8))
    assert (report.batch.state, report.whole.admitted) == ("finished", 8)
    assert report.by_strategy["templates"]["admitted"] == 8
    assert report.mixture[:3] == (8, 0, 0)  # not what the customer's generator made
    assert {one.next for one in report.fallbacks} == {"templates"}


def test_a_crash_costs_its_attempts_and_a_bad_document_is_malformed(store: Store) -> None:
    def strange(order: Order) -> Draft | Refused:
        if order.number == 1:
            raise ZeroDivisionError
        made = drafted(order)
        return made._replace(outputs={"problem": "\x00"}) if order.number == 4 else made

    line = Line(store, ScriptedWorkshop(ScriptedMaker(strange)))
    report = line.run(line.ask(8))
    assert report.batch.state == "finished"
    assert report.whole.reasons["crash"] == 8
    assert report.whole.reasons["malformed"] == 4


def test_a_model_that_is_away_is_waited_for_and_then_reported(store: Store) -> None:
    away = ScriptedMaker(lambda _: Refused("model_unavailable", "503", later=True), calls=1)
    line = Line(store, ScriptedWorkshop(away))
    batch_id = line.ask(2, Kind.SYNTHESIS, topics=("sums",), difficulties=("easy",))
    for _ in range(3):
        line.make()
        line.clock.forward(seconds=30)
    waiting = filling.report(store, batch_id=batch_id)
    assert waiting.whole.tried == 0
    (reason,) = {one.reason for one in waiting.cells}
    assert reason == filling.held_up(store, batch_id=batch_id)
    assert str(reason).startswith("model_unavailable: 503; asked 3 of 7 times, again at ")
    away.answer = paid
    done = line.run(batch_id)
    assert (done.batch.state, {one.reason for one in done.cells}) == ("finished", {None})
    assert filling.held_up(store, batch_id=batch_id) is None
    away.answer = lambda _: Refused("model_unavailable", "503", later=True)
    report = line.run(line.ask(2, Kind.SYNTHESIS, topics=("sums",), difficulties=("easy",)))
    assert report.batch.state == "partial"
    assert {one.reason for one in report.cells} == {"model_unavailable: 503"}


@pytest.mark.criterion("2.5")
@pytest.mark.parametrize(
    ("outage", "strategy"), [(30, "persona"), (60, "persona"), (900, "templates")]
)
def test_a_short_outage_is_waited_for_and_templates_step_in_before_two_minutes(
    store: Store, outage: int, strategy: str
) -> None:
    model = ScriptedMaker(calls=1)
    line = Line(store, ScriptedWorkshop(model, templates=ScriptedMaker()))
    began = line.clock()

    def answer(order: Order) -> Draft | Refused:
        away = line.clock() < began + timedelta(seconds=outage)
        return Refused("model_unavailable", "503", later=True) if away else paid(order)

    model.answer = answer
    batch_id = line.ask(2, Kind.SYNTHESIS, topics=("sums",), strategies=("persona",))
    while filling.report(store, batch_id=batch_id).batch.state == "open":
        assert line.clock() < began + timedelta(seconds=110)
        line.make()
        line.score()
        line.clock.forward(seconds=1)
    assert set(filling.report(store, batch_id=batch_id).by_strategy) == {strategy}


@pytest.mark.criterion("2.5")
def test_templates_step_in_where_the_model_is_away_or_refuses_us_or_costs_too_much(
    store: Store,
) -> None:
    def refusing(_: Order) -> Draft:
        raise ConfigurationError("the model refused us", remedy="check the key")

    cell = {"topics": ("sums",), "difficulties": ("easy",)}
    model = ScriptedMaker(refusing, calls=1)
    line = Line(store, ScriptedWorkshop(model, templates=ScriptedMaker()))
    refused = line.run(line.ask(2, Kind.SYNTHESIS, **cell))
    model.answer = lambda _: Refused("model_unavailable", "503", later=True)
    away = line.run(line.ask(2, Kind.SYNTHESIS, **cell))
    dear = line.run(line.ask(2, Kind.SYNTHESIS, max_calls=0, **cell))
    told = []
    for report in (refused, away, dear):
        assert (report.batch.state, report.whole.admitted) == ("finished", 2)
        assert set(report.by_strategy) == {"templates"}
        told += [one.because for one in report.fallbacks if one.next == "templates"]
    said = " ".join(told)
    assert "the model refused us" in said
    assert "model_unavailable: 503" in said
    assert "budget" in said


def test_what_is_rejected_is_made_again_before_all_that_was_made_is_decided(line: Line) -> None:
    line.ask(10, topics=("sums",), difficulties=("easy",))
    line.make()
    heard = iter([make_assessment(0.1), make_assessment(0.1)])
    line.judge.answer = lambda _: next(heard, AWAY)
    line.score()
    assert (line.told, line.make().made) == ([None], 2)
    assert line.make().made == 0


def test_a_portion_whose_attempts_are_used_up_waits_for_its_last_decision(line: Line) -> None:
    batch_id = line.ask(2, topics=("sums",), difficulties=("easy",))
    heard = iter([make_assessment(0.1)] * 8)
    line.judge.answer = lambda _: next(heard, AWAY)
    for _ in range(5):
        line.make()
        line.score()
    assert filling.report(line.store, batch_id=batch_id).whole.tried == 9
    told = len(line.told)
    line.judge.answer = lambda _: make_assessment(0.1)
    line.clock.forward(seconds=20)
    line.score()
    assert len(line.told) == told


def test_a_batch_whose_time_is_over_ends_once_what_it_made_is_decided(line: Line) -> None:
    batch_id = line.ask(10, topics=("sums",), difficulties=("easy",), max_minutes=5)
    line.make()
    line.clock.forward(seconds=301)
    heard = iter([make_assessment(0.1)])
    line.judge.answer = lambda _: next(heard, AWAY)
    line.score()
    line.make()
    assert filling.report(line.store, batch_id=batch_id).batch.state is BatchState.OPEN
    line.judge.answer = lambda _: make_assessment()
    line.clock.forward(seconds=20)
    line.score()
    line.make()
    over = filling.report(line.store, batch_id=batch_id)
    assert (over.batch.state, over.whole.admitted, over.whole.undecided) == ("partial", 9, 0)
    assert [one.reason for one in over.cells] == ["budget: the batch's time is over"]


def test_what_waits_for_a_person_is_not_made_again_and_is_said(line: Line) -> None:
    with line.store.begin() as tx:
        policies.put(tx, domain="d", policy=Policy(collection="manual"), author="ann", now=NOW)
    report = line.run(line.ask(8))
    assert (report.batch.state, report.whole.made, report.whole.waiting) == ("partial", 8, 8)
    assert report.whole.reasons == {"in_review: manual_collection": 8}
    assert not line.told


@pytest.mark.criterion("2.5")
def test_a_judge_that_is_away_ends_the_batch_and_what_was_made_counts_once_it_is_back(
    line: Line,
) -> None:
    line.judge.answer = lambda _: AWAY
    batch_id = line.ask(2, topics=("sums",), difficulties=("easy",))
    for _ in range(3):
        line.make()
        line.score()
        line.clock.forward(seconds=30)
    assert filling.held_up(line.store, batch_id=batch_id) == (
        "the judge gives no answer on what was made; asked 3 of 7 times"
    )
    away = line.run(batch_id)
    assert (away.batch.state, away.whole.made, away.whole.undecided) == ("partial", 2, 2)
    (cell,) = away.cells
    assert cell.reason == "2 wait for the judge, which gives no answer"
    assert [one.next for one in away.fallbacks] == ["resume"]
    line.judge.answer = lambda _: make_assessment()
    filling.resume(line.store, batch_id=batch_id, more=Budget(), clock=line.clock)
    back = line.run(batch_id)
    assert (back.batch.state, back.whole.tried, back.whole.admitted) == ("finished", 2, 2)


def test_an_example_the_judge_cannot_read_is_parked_and_said(line: Line) -> None:
    line.judge.answer = lambda _: Unscored(reason="unparseable")
    report = line.run(line.ask(2, topics=("sums",), difficulties=("easy",)))
    assert report.batch.state == "partial"
    assert report.whole.reasons == {"parked: unparseable": 18}


def test_a_problem_of_a_benchmark_is_nobodys_to_learn_from(line: Line) -> None:
    telling = "A gardener plants three rows of twelve roses and then buys five lilies at the shop"
    with line.store.begin() as tx:
        benchmark = Benchmark("secret", "f", "", 1, "ann", NOW)
        found = [one for one in marks(telling) if one is not None]
        benchmarks.register(tx, benchmark=benchmark, marks=found)

    def leaky(order: Order) -> Draft:
        made = drafted(order)
        return (
            made._replace(outputs={**made.outputs, "problem": telling})
            if order.number == 1
            else made
        )

    line.workshop.first.answer = leaky
    report = line.run(line.ask(4, topics=("sums",), difficulties=("easy",)))
    assert report.whole.reasons == {"contaminated": 1}
    assert report.whole.admitted == 4


def test_a_generator_that_says_the_same_again_is_not_asked_on_and_told_so(store: Store) -> None:
    maker = ScriptedMaker(lambda order: drafted(order._replace(serial=7)))
    templates = ScriptedMaker(lambda _: Refused("no_template", "unknown"))
    line = Line(store, ScriptedWorkshop(maker, templates=templates))
    batch_id = line.ask(10, topics=("sums",), difficulties=("easy",))
    report = line.run(batch_id)
    assert (report.batch.state, report.whole.admitted, len(maker.orders)) == ("partial", 1, 10)
    (told,) = (one.because for one in report.fallbacks if one.next == "templates")
    assert told.startswith("it gives the same again: 9 of 10 were copies")
    maker.answer = drafted  # mended
    filling.resume(store, batch_id=batch_id, more=Budget(), clock=line.clock)
    assert line.run(batch_id).batch.state == "finished"


def test_the_same_content_twice_is_counted_as_a_duplicate_and_made_again(line: Line) -> None:
    def stubborn(order: Order) -> Draft:
        return drafted(order._replace(serial=1) if order.number <= 3 else order)

    line.workshop.first.answer = stubborn
    report = line.run(line.ask(4, topics=("sums",), difficulties=("easy",)))
    assert report.whole.reasons == {"duplicate": 2}
    assert (report.whole.made, report.whole.admitted) == (4, 4)


@pytest.mark.criterion("10.3")
def test_what_no_solver_could_solve_waits_for_a_person_unless_the_policy_says_else(
    store: Store,
) -> None:
    line = Line(store, ScriptedWorkshop(ScriptedMaker(paid, calls=1), templates=ScriptedMaker(
        lambda _: Refused("no_template", "unknown"))))  # fmt: skip
    line.solver.answer = lambda _, __: None
    cell = {"topics": ("sums",), "difficulties": ("easy",)}
    report = line.run(line.ask(2, Kind.SYNTHESIS, **cell))
    assert (report.batch.state, report.whole.admitted) == ("partial", 0)
    assert set(report.whole.reasons) == {"in_review: unsolved", "no_template"}
    assert report.solved_again == {"unknown": report.whole.waiting}
    with store.begin() as tx:
        policies.put(tx, domain="d", policy=Policy(unsolved="judge"), author="ann", now=NOW)
    report = line.run(line.ask(2, Kind.SYNTHESIS, **cell))
    assert (report.batch.state, report.whole.admitted) == ("finished", 2)


@pytest.mark.criterion("10.3")
def test_what_two_blind_solvers_contradict_is_refused_with_the_evidence(store: Store) -> None:
    line = Line(store, ScriptedWorkshop(ScriptedMaker(paid, calls=1)))
    right = {f"What is {n} and 1 together?": str(n + 1) for n in range(100_000)}
    line.solver.answer = lambda problem, _: (
        "0" if problem.endswith("1 and 1 together?") else (right[problem])
    )
    report = line.run(line.ask(6, Kind.SYNTHESIS, topics=("sums",), difficulties=("easy",)))
    assert report.batch.state == "finished"
    refused = report.whole.reasons.get("re_solve", 0)
    assert refused == sum(order.serial % 10 == 1 for order in line.workshop.first.orders)
    with store.begin() as tx:
        told = tx.execute(
            text("SELECT reason, evidence, content FROM batch_items ORDER BY cell_id, number")
        ).all()
        sources = set(tx.scalars(text("SELECT source FROM examples")))
        verdicts = tx.scalars(text("SELECT verdict FROM scores WHERE kind = 'verifier'")).all()
    assert sources == {"synthetic"}
    assert {one["checks"][-1]["name"] for one in verdicts} == {"re_solve"}
    assert told[0].reason == "re_solve"
    assert told[0].content["answer"]
    assert "0 of 2 solutions by scripted" in told[0].evidence[-1]["evidence"]
    assert told[1].evidence[-1]["outcome"] == "passed"


def test_a_third_solver_decides_and_what_evidence_refutes_is_solved_by_nobody(
    store: Store,
) -> None:
    line = Line(store, ScriptedWorkshop(ScriptedMaker(paid, calls=1)))
    line.solver.answer = lambda problem, sample: (
        "0" if sample == 0 else str(int(problem.split()[2]) + 1)
    )
    batch_id = line.ask(1, Kind.SYNTHESIS, topics=("sums",), difficulties=("easy",))
    report = line.run(batch_id)
    assert report.whole.admitted == 1
    assert report.batch.spent == 4
    line.solver.asked.clear()
    line.verifier.verdict = make_verdict(steps="failed")
    report = line.run(line.ask(1, Kind.SYNTHESIS, topics=("sums",), difficulties=("easy",)))
    assert report.batch.state == "partial"
    assert set(report.whole.reasons) == {"steps"}
    assert not line.solver.asked
