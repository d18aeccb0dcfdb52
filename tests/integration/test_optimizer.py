"""MIPROv2 behind our port: the signal is real, failures never become scores, reruns are replays."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import pytest
from pydantic import JsonValue

from tdsys.core.budget import evaluations, plan
from tdsys.core.comparison import compare
from tdsys.core.example import Document
from tdsys.core.program import (
    Artefact,
    Grade,
    Grader,
    Item,
    ItemScore,
    Method,
    Recipe,
    Spent,
    Trial,
)
from tdsys.core.tombs import Gone, spared
from tdsys.errors import (
    Cancelled,
    ConfigurationError,
    InvalidInput,
    ModelUnavailable,
    NotReady,
    StoreUnavailable,
)
from tdsys.llm.optimizer import DspyOptimizer
from tdsys.llm.session import Model
from tests.factories import NOW
from tests.killing import PLANNED_IN_FLIGHT, killed_and_undisturbed
from tests.small_world import SIGNATURE, TOPICS, grade, items, requests
from tests.stub_provider import StubProvider

TRAIN, VAL, TEST = items(12, seed=1), items(18, seed=2), items(30, seed=3)
REQUESTS = requests(TEST)
FEW = VAL[:6]
WRONG_TOPICS = items(12, seed=4, topics=TOPICS[3:])
THREADS = 4
RECIPE = Recipe()
SEEDS = (1, 2, 3, 4, 5)
UNREADABLE = 2  # DSPy asks for its second format by itself


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPY_CACHEDIR", str(tmp_path_factory.mktemp("answers")))
        patch.setenv("OPENAI_API_KEY", "any text")
        yield


@pytest.fixture
def stub() -> Iterator[StubProvider]:
    with StubProvider() as running:
        yield running


def over(stub: StubProvider, *, threads: int = THREADS) -> DspyOptimizer:
    return DspyOptimizer(Model(stub.model, api_base=stub.api_base, retries=0), threads=threads)


def never() -> bool:
    return False


def run(
    optimizer: DspyOptimizer,
    *,
    train: list[Item] = TRAIN,
    val: list[Item] = VAL,
    grader: Grader = grade,
    on_trial: Callable[[Trial], None] = lambda _: None,
    should_stop: Callable[[], bool] = never,
    on_progress: Callable[[Spent], None] = lambda _: None,
    recipe: Recipe = RECIPE,
) -> Artefact:
    return optimizer.optimize(
        SIGNATURE,
        train,
        val,
        grader=grader,
        recipe=recipe,
        on_trial=on_trial,
        on_progress=on_progress,
        should_stop=should_stop,
    )


def evaluated(
    optimizer: DspyOptimizer,
    *,
    state: dict[str, JsonValue] | None = None,
    items: list[Item] = TEST,
    should_stop: Callable[[], bool] = never,
) -> list[ItemScore]:
    return optimizer.evaluate(SIGNATURE, state, items, grader=grade, should_stop=should_stop)


def values(scores: list[ItemScore]) -> list[float]:
    assert all(score.value is not None for score in scores), scores
    return [score.value or 0.0 for score in scores]


def with_demos_of(artefact: Artefact, demos: list[Item]) -> dict[str, JsonValue]:
    shown = [{**d.inputs, **d.outputs, "dspy_uid": d.uid} for d in demos]
    changed: dict[str, JsonValue] = json.loads(json.dumps({**artefact.state, "demos": shown}))
    return changed


class Ran(NamedTuple):
    """One ordinary run, looked at by several tests."""

    artefact: Artefact
    trials: list[Trial]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    trials: list[Trial] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPY_CACHEDIR", str(tmp_path_factory.mktemp("answers")))
        artefact = run(DspyOptimizer(Model(), threads=THREADS), on_trial=trials.append)
    return Ran(artefact, trials)


@pytest.mark.criterion("7.4")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_optimized_program_is_better_on_held_out_items_because_of_its_demos(seed: int) -> None:
    optimizer = DspyOptimizer(Model(seed=seed), threads=THREADS)
    artefact = run(optimizer, recipe=Recipe(seed=seed))
    before = values(evaluated(optimizer))
    after = values(evaluated(optimizer, state=dict(artefact.state)))
    misled = with_demos_of(artefact, WRONG_TOPICS[: len(artefact.demos)])
    wrong = values(evaluated(optimizer, state=misled))
    assert artefact.demos
    assert compare(before, after, REQUESTS).is_better
    assert fmean(after) > fmean(before) + 0.3
    assert not compare(before, wrong, REQUESTS).is_better
    assert fmean(wrong) < fmean(after) / 3


def test_wrong_topic_examples_teach_nothing() -> None:
    optimizer = DspyOptimizer(Model(), threads=THREADS)
    artefact = run(optimizer, train=WRONG_TOPICS)
    before = values(evaluated(optimizer))
    after = values(evaluated(optimizer, state=dict(artefact.state)))
    assert not compare(before, after, REQUESTS).is_better


def test_every_trial_is_recorded_with_item_scores_and_the_origin_of_its_demos(ran: Ran) -> None:
    assert [trial.number for trial in ran.trials] == list(range(1, 12))
    known = {item.uid for item in VAL}
    for trial in ran.trials:
        assert {item.uid for item in trial.items} == known
        assert trial.score == pytest.approx(fmean(item.value or 0 for item in trial.items))
    demos = [demo for trial in ran.trials for demo in trial.demos]
    assert {demo.role for demo in demos} == {"labeled", "bootstrapped"}
    assert {demo.uid for demo in [*demos, *ran.artefact.demos]} <= {item.uid for item in TRAIN}
    assert max(trial.score for trial in ran.trials) > ran.trials[0].score
    assert ran.artefact.simulated
    assert ran.artefact.tokens > 0


@pytest.mark.criterion("6.1")
def test_a_forgotten_example_takes_the_demos_with_it_that_were_bootstrapped_from_it(
    ran: Ran,
) -> None:
    items, origins = {item.uid: item for item in TRAIN}, ran.artefact.demos
    shown = ran.artefact.state["demos"]
    assert isinstance(shown, list)
    for demo, origin in zip(shown, origins, strict=True):
        assert isinstance(demo, dict)
        asked = items[str(origin.uid)].inputs
        assert {name: demo[name] for name in SIGNATURE.inputs} == asked
    uid = next(str(one.uid) for one in origins if one.role == "bootstrapped")
    envelope: dict[str, JsonValue] = {"demos": [one.model_dump() for one in origins]}
    gone = Gone(frozenset({uid}), frozenset(), (items[uid].inputs,))
    left = spared(ran.artefact.state, envelope, gone, at=NOW)
    kept = [n for n, one in enumerate(origins) if one.uid != uid]
    assert left.state == {**ran.artefact.state, "demos": [shown[n] for n in kept]}
    assert left.envelope["demos"] == [origins[n].model_dump() for n in kept]


def test_a_run_without_minibatches_asks_for_what_was_planned(ran: Ran) -> None:
    assert_planned(ran, len(VAL))


def test_a_run_with_minibatches_asks_for_what_was_planned() -> None:
    trials: list[Trial] = []
    optimizer = DspyOptimizer(Model(), threads=THREADS)
    artefact = run(optimizer, val=items(54, seed=6), on_trial=trials.append)
    assert_planned(Ran(artefact, trials), 54)


def assert_planned(ran: Ran, n_val: int) -> None:
    planned = plan(len(TRAIN), n_val, "light")
    assert sum(trial.calls for trial in ran.trials) == planned.evaluation_calls
    assert len(ran.trials) == evaluations(planned)
    assert planned.minibatch == any(trial.kind == "minibatch" for trial in ran.trials)
    sure = planned.evaluation_calls + planned.proposal_calls
    assert sure < ran.artefact.calls <= planned.calls_at_most


def test_a_stop_ends_the_run_within_three_seconds_and_no_call_follows(stub: StubProvider) -> None:
    wanted = threading.Event()
    stopped_at = []

    def on_trial(_: Trial) -> None:
        stub.behaviour.latency = 0.2
        stopped_at.append(time.monotonic())
        wanted.set()

    with pytest.raises(Cancelled):
        run(over(stub), val=FEW, on_trial=on_trial, should_stop=wanted.is_set)
    assert time.monotonic() - stopped_at[0] < 3
    asked = len(stub.requests)
    run_to_rest(stub)
    assert len(stub.requests) <= asked + THREADS, "only what was on its way already"


@pytest.mark.parametrize("ask", [run, evaluated])
def test_a_stop_is_heard_while_one_slow_call_is_running(
    ask: Callable[..., object], stub: StubProvider
) -> None:
    stub.behaviour.latency = 60
    started = time.monotonic()
    with pytest.raises(Cancelled):
        ask(over(stub), should_stop=lambda: bool(stub.running))
    assert time.monotonic() - started < 5
    assert stub.running, "the call was waited for"


def test_a_stop_wanted_from_the_beginning_costs_no_call(stub: StubProvider) -> None:
    with pytest.raises(Cancelled):
        evaluated(over(stub), should_stop=lambda: True)
    assert not stub.requests


def run_to_rest(stub: StubProvider) -> None:
    """Wait until every request under way has been answered."""
    deadline = time.monotonic() + 5
    while stub.running and time.monotonic() < deadline:
        threading.Event().wait(0.01)


def test_the_model_dying_midway_is_no_low_score(stub: StubProvider) -> None:
    trials: list[Trial] = []

    def on_trial(trial: Trial) -> None:
        trials.append(trial)
        stub.behaviour.status = 503 if len(trials) == 2 else 200

    with pytest.raises(ModelUnavailable):
        run(over(stub), val=FEW, on_trial=on_trial)
    assert len(trials) == 2


def test_a_refused_key_ends_the_run_as_configuration(stub: StubProvider) -> None:
    stub.behaviour.status = 401
    with pytest.raises(ConfigurationError):
        run(over(stub))
    assert len(stub.requests) < 10


def test_a_model_that_only_talks_nonsense_gives_a_reason_and_no_program(stub: StubProvider) -> None:
    stub.behaviour.garbage_next = 10**9
    with pytest.raises(NotReady, match="cannot be read"):
        run(over(stub), train=TRAIN[:4], val=FEW)


def test_a_run_without_any_score_above_zero_gives_a_reason_and_no_program() -> None:
    def nothing(item: Item, produced: Document) -> Grade:  # noqa: ARG001
        return Grade(value=0.0, parts={})

    with pytest.raises(NotReady, match="flat metric: all 11 trials scored 0"):
        run(DspyOptimizer(Model(), threads=THREADS), val=FEW, grader=nothing)


def test_a_record_that_is_lost_ends_the_run_unchanged() -> None:
    def lost(_: Trial) -> None:
        raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        run(DspyOptimizer(Model(), threads=THREADS), on_trial=lost)


def no_number(item: Item, produced: Document) -> Grade:
    return Grade(value=float("nan") if item.uid in HARD else grade(item, produced).value, parts={})


def raising(item: Item, produced: Document) -> Grade:
    return grade(item, produced) if item.uid not in HARD else Grade(value=1 / 0, parts={})


HARD = frozenset({VAL[1].uid})


@pytest.mark.criterion("7.4")
@pytest.mark.parametrize(("grader", "said"), [(no_number, "nan"), (raising, "ZeroDivisionError")])
def test_what_a_metric_cannot_grade_is_an_error_of_that_item_and_no_score(
    grader: Grader, said: str
) -> None:
    trials: list[Trial] = []
    optimizer = DspyOptimizer(Model(), threads=THREADS)
    run(optimizer, grader=grader, recipe=Recipe(method="random_search"), on_trial=trials.append)
    for trial in trials:
        (failed,) = [item for item in trial.items if item.value is None]
        assert (failed.uid in HARD, said in str(failed.error)) == (True, True)
        answered = [item.value for item in trial.items if item.value is not None]
        assert trial.score == pytest.approx(fmean(answered))
    tested = optimizer.evaluate(SIGNATURE, None, VAL[:3], grader=grader, should_stop=never)
    assert [score.value is None for score in tested] == [False, True, False]


def test_a_run_with_too_many_failed_evaluations_ends_with_the_reasons() -> None:
    asked: list[str] = []

    def broken(item: Item, produced: Document) -> Grade:
        asked.append(item.uid)
        return grade(item, produced) if int(item.uid[2:]) % 2 else Grade(value=1 / 0, parts={})

    recipe = Recipe(answers=198)
    with pytest.raises(NotReady, match=r"evaluations got no score: \d+ × metric failed: ZeroDiv"):
        run(DspyOptimizer(Model(), threads=THREADS), grader=broken, recipe=recipe)
    assert len(asked) < 198, "it went on though it could not end well"


def test_a_run_that_asks_for_more_than_the_policy_allows_ends() -> None:
    with pytest.raises(NotReady, match="asked for more than 100 calls"):
        run(DspyOptimizer(Model(), threads=THREADS), recipe=Recipe(max_calls=100))


@pytest.mark.parametrize("method", ["random_search", "gepa"])
def test_every_optimizer_keeps_its_plan_its_evidence_and_its_word(method: Method) -> None:
    told: list[Spent] = []
    first: list[Trial] = []
    again: list[Trial] = []
    optimizer = DspyOptimizer(Model(seed=11), threads=THREADS)
    recipe = Recipe(method=method)
    artefact = run(optimizer, recipe=recipe, on_trial=first.append, on_progress=told.append)
    replayed = run(optimizer, recipe=recipe, on_trial=again.append)
    assert (told[-1].calls, told[-1].tokens) == (artefact.calls, artefact.tokens)
    planned = plan(len(TRAIN), len(VAL), "light", method=method)
    evaluated = sum(trial.calls for trial in first)
    assert artefact.calls <= planned.calls_at_most
    assert len(first) <= evaluations(planned)
    if method == "random_search":
        assert (evaluated, len(first)) == (planned.evaluation_calls, evaluations(planned))
        assert {demo.uid for demo in artefact.demos} <= {item.uid for item in TRAIN}
    else:
        assert evaluated <= planned.evaluation_calls
        assert {trial.kind for trial in first} == {"full", "minibatch"}
        assert artefact.instruction != SIGNATURE.instructions
    assert max(t.score for t in first if t.kind == "full") > first[0].score
    plain = {"seconds"}
    assert [t.model_dump(exclude=plain) for t in first] == [
        t.model_dump(exclude=plain) for t in again
    ]
    assert (replayed.state, replayed.calls, replayed.tokens) == (artefact.state, artefact.calls, 0)
    assert told[0] == Spent()
    assert {one.phase for one in told[1:]} <= {
        "starting",
        "bootstrapping",
        "proposing",
        "optimizing",
    }


def test_a_run_killed_at_a_random_call_pays_one_percent_more_at_most_and_scores_the_same() -> None:
    found = killed_and_undisturbed(seed=random.randrange(10**6))
    assert found.again == found.whole
    assert found.paid <= found.undisturbed * 1.01, found
    assert found.paid - found.before_the_kill < found.undisturbed - PLANNED_IN_FLIGHT


def test_a_slow_model_is_asked_more_at_once_where_the_policy_says_so_with_the_same_scores() -> None:
    found = []
    for at_once in (1, 8):
        trials: list[Trial] = []
        with StubProvider() as slow:
            slow.behaviour.latency = 0.02
            artefact = run(over(slow, threads=16), train=TRAIN[:4], val=VAL[:8],
                           on_trial=trials.append, recipe=Recipe(in_flight=at_once))  # fmt: skip
        scores = [[(i.uid, i.value) for i in one.items] for one in trials]
        found.append((slow.peak, slow.answered, scores, artefact.state))
    (one, *before), (peak, *after) = found
    assert one == 1
    assert 2 < peak <= 8
    assert after == before


@pytest.mark.criterion("5.4")
def test_an_exported_program_loads_with_plain_dspy_where_tdsys_is_unknown(
    tmp_path: Path, ran: Ran
) -> None:
    artefact = ran.artefact
    exported = tmp_path / "program.json"
    exported.write_text(json.dumps(artefact.state))
    code = """
        import sys, json
        sys.modules["tdsys"] = None
        import dspy
        fields = "topic, difficulty, context -> problem, solution, answer, hints: list[str]"
        program = dspy.Predict(fields)
        program.load(sys.argv[1])
        print(json.dumps([len(program.demos), program.signature.instructions, program.lm]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(exported)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [len(artefact.demos), artefact.instruction, None]


def test_a_program_of_other_fields_is_refused(ran: Ran) -> None:
    other = SIGNATURE.model_copy(update={"inputs": {"topic": "text", "level": "text"}})
    with pytest.raises(InvalidInput, match="other fields"):
        DspyOptimizer(Model()).evaluate(
            other, ran.artefact.state, TEST, grader=grade, should_stop=never
        )


def test_an_answer_that_cannot_be_read_is_asked_for_again_as_a_fresh_sample(
    stub: StubProvider,
) -> None:
    optimizer = over(stub, threads=1)
    stub.behaviour.garbage_next = UNREADABLE
    first = evaluated(optimizer, items=TEST[:3])
    assert len(values(first)) == 3
    assert [request.get("temperature") for request in stub.requests] == [None] * 4 + [1.0]
    assert evaluated(optimizer, items=TEST[:3]) == first
    assert len(stub.requests) == 5, "fresh samples are cached too"


def test_an_item_without_any_answer_that_can_be_read_has_no_value(stub: StubProvider) -> None:
    stub.behaviour.garbage_next = 3 * UNREADABLE
    [score] = evaluated(over(stub, threads=1), items=TEST[:1])
    assert score.value is None
    assert "unparseable" in str(score.error)
    assert len(stub.requests) == 3 * UNREADABLE


def test_an_item_whose_prompt_the_model_cannot_take_has_no_value(stub: StubProvider) -> None:
    stub.behaviour.status = 400
    assert {score.value for score in evaluated(over(stub), items=TEST[:2])} == {None}


@pytest.mark.parametrize(
    ("status", "meaning"), [(503, ModelUnavailable), (401, ConfigurationError)]
)
def test_a_model_that_goes_away_ends_the_evaluation(
    status: int, meaning: type[Exception], stub: StubProvider
) -> None:
    stub.behaviour.status = status
    with pytest.raises(meaning):
        evaluated(over(stub, threads=1))
    assert len(stub.requests) == 1


def test_a_trials_score_is_the_mean_of_its_answered_items(stub: StubProvider) -> None:
    [spoilt] = trials_with(stub, unreadable=2)
    answered = [item.value for item in spoilt.items if item.value is not None]
    assert len(answered) == len(FEW) - 2
    assert spoilt.score == pytest.approx(fmean(answered))
    assert spoilt.score > 0


def test_a_trial_without_any_answer_is_not_reported(stub: StubProvider) -> None:
    assert trials_with(stub, unreadable=len(FEW)) == []


def trials_with(stub: StubProvider, *, unreadable: int) -> list[Trial]:
    """The trials with unanswered items of a run whose model gets confused after the first."""
    trials: list[Trial] = []

    def on_trial(trial: Trial) -> None:
        trials.append(trial)
        if trial.number == 1:
            stub.behaviour.garbage_next = unreadable * UNREADABLE

    run(over(stub, threads=1), val=FEW, on_trial=on_trial)
    assert stub.behaviour.garbage_next == 0
    assert [trial.number for trial in trials] == list(range(1, len(trials) + 1))
    return [trial for trial in trials if any(item.value is None for item in trial.items)]


def test_sound_data_has_no_blockers() -> None:
    assert blockers() == []


@pytest.mark.criterion("5.3")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda item: item.model_copy(update={"inputs": {"topic": "area"}}),
            "'difficulty' is missing",
        ),
        (lambda item: with_output(item, answer=""), "'answer' is missing"),
        (lambda item: with_output(item, answer=12), "is a int, not text"),
        (lambda item: with_output(item, hints="one"), "is not a list of texts"),
        (lambda item: item.model_copy(update={"uid": VAL[0].uid}), "is used 2 times"),
        (
            lambda _: VAL[0].model_copy(update={"uid": "twin"}),
            "has the content of train example twin",
        ),
    ],
)
def test_what_mipro_would_swallow_is_named_before_any_call(
    spoil: Callable[[Item], Item], said: str
) -> None:
    found = blockers(train=[spoil(TRAIN[0]), *TRAIN[1:]])
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("grader", "said"),
    [
        (lambda _item, _produced: Grade(value=2.0, parts={}), "must stay in"),
        (lambda _item, _produced: Grade(value=float("nan"), parts={}), "must stay in"),
        (lambda _item, _produced: Grade(value=0.5, parts={}), "flat metric"),
        (lambda _item, produced: Grade(value=produced["nothing"], parts={}), "fails on example"),
        (lambda _item, _produced: None, "gives a NoneType on example"),
        (lambda _item, _produced: "0.9", "gives a str on example"),
        (
            lambda item, _produced: Grade(value=1 / (item.uid != VAL[-1].uid), parts={}),
            "fails on example",
        ),
    ],
)
def test_a_metric_that_cannot_guide_is_named(grader: Grader, said: str) -> None:
    found = blockers(grader=grader)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.criterion("5.3")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("items", "the name of a member of dspy.Example"),
        ("config", "dspy.Predict takes it for itself"),
        ("dspy_note", "DSPy hides fields"),
        ("a note", "not a name that Python takes"),
    ],
)
def test_a_field_read_off_the_examples_that_dspy_cannot_have_is_named(name: str, said: str) -> None:
    fields = SIGNATURE.model_copy(update={"inputs": {**SIGNATURE.inputs, name: "text"}})
    train, val = ([i.model_copy(update={"inputs": {**i.inputs, name: "x"}}) for i in held]
                  for held in (TRAIN, VAL))  # fmt: skip
    (found,) = DspyOptimizer(Model()).blockers(fields, train, val, grader=grade, recipe=Recipe())
    assert f"signature.inputs.{name}: " in found
    assert said in found
    assert "conversion.rename" in found


@pytest.mark.criterion("5.1")
def test_no_other_column_reaches_a_prompt(stub: StubProvider) -> None:
    def marked(item: Item) -> Item:
        told: Document = {"internal_note": "SECRET"}
        return item.model_copy(
            update={"inputs": {**item.inputs, **told}, "outputs": {**item.outputs, **told}}
        )

    run(over(stub), train=[marked(item) for item in TRAIN[:4]], val=[marked(i) for i in FEW])
    sent = json.dumps(stub.requests)
    assert "internal_note" not in sent
    assert "SECRET" not in sent
    assert not any(item.uid in sent for item in TRAIN[:4]), "the id stays hidden too"
    assert str(TRAIN[0].outputs["problem"])[:30] in sent


def test_every_budget_asks_for_what_was_planned() -> None:
    for auto in ("medium", "heavy"):
        trials: list[Trial] = []
        DspyOptimizer(Model(), threads=THREADS).optimize(
            SIGNATURE, TRAIN[:4], FEW, grader=grade, recipe=Recipe(auto=auto),
            on_trial=trials.append, on_progress=lambda _: None, should_stop=never,
        )  # fmt: skip
        planned = plan(4, len(FEW), auto)
        assert sum(trial.calls for trial in trials) == planned.evaluation_calls
        assert len(trials) == evaluations(planned)


def test_an_empty_split_is_a_blocker() -> None:
    assert "each split needs at least one" in blockers(val=[])[0]


def test_a_missing_optuna_is_noticed_before_anything_is_paid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'dspy\[optuna\]'"):
        blockers()


def blockers(
    *, train: list[Item] = TRAIN, val: list[Item] = VAL, grader: Grader = grade
) -> list[str]:
    return DspyOptimizer(Model()).blockers(SIGNATURE, train, val, grader=grader, recipe=Recipe())


def with_output(item: Item, **outputs: object) -> Item:
    return item.model_copy(update={"outputs": {**item.outputs, **outputs}})
