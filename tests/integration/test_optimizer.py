"""MIPROv2 behind our port: the signal is real, failures never become scores, reruns are replays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.budget import PRESETS, plan
from tdsys.core.comparison import compare
from tdsys.core.example import Document
from tdsys.core.program import Artefact, Auto, Grade, Grader, Item, ItemScore, Trial
from tdsys.errors import Cancelled, ConfigurationError, ModelUnavailable, NotReady, StoreUnavailable
from tdsys.llm.optimizer import MiproOptimizer
from tdsys.llm.session import Model
from tests.small_world import SIGNATURE, TOPICS, grade, items
from tests.stub_provider import StubProvider

TRAIN, VAL, TEST = items(12, seed=1), items(18, seed=2), items(36, seed=3)
WRONG_TOPICS = items(12, seed=4, topics=TOPICS[3:])
SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))
    monkeypatch.setenv("OPENAI_API_KEY", "any text")


@pytest.fixture
def stub() -> Iterator[StubProvider]:
    with StubProvider() as running:
        yield running


def over(stub: StubProvider, *, threads: int = 4) -> MiproOptimizer:
    return MiproOptimizer(Model("openai/small", api_base=stub.api_base, retries=0), threads=threads)


def never() -> bool:
    return False


def run(
    optimizer: MiproOptimizer,
    *,
    train: list[Item] = TRAIN,
    val: list[Item] = VAL,
    grader: Grader = grade,
    on_trial: Callable[[Trial], None] = lambda _: None,
    should_stop: Callable[[], bool] = never,
    seed: int = 9,
) -> Artefact:
    return optimizer.optimize(
        SIGNATURE,
        train,
        val,
        grader=grader,
        auto="light",
        seed=seed,
        on_trial=on_trial,
        should_stop=should_stop,
    )


def values(scores: list[ItemScore]) -> list[float]:
    assert all(score.value is not None for score in scores), scores
    return [score.value or 0.0 for score in scores]


def with_demos_of(artefact: Artefact, demos: list[Item]) -> dict[str, object]:
    shown = [{**d.inputs, **d.outputs, "dspy_uid": d.uid} for d in demos]
    return {**artefact.state, "demos": shown}


@pytest.mark.criterion("7.4")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_optimized_program_is_better_on_held_out_items_because_of_its_demos(seed: int) -> None:
    optimizer = MiproOptimizer(Model(seed=seed), threads=4)
    artefact = run(optimizer, seed=seed)
    before = values(optimizer.evaluate(SIGNATURE, None, TEST, grader=grade))
    after = values(optimizer.evaluate(SIGNATURE, dict(artefact.state), TEST, grader=grade))
    misled = json.loads(json.dumps(with_demos_of(artefact, WRONG_TOPICS[: len(artefact.demos)])))
    wrong = values(optimizer.evaluate(SIGNATURE, misled, TEST, grader=grade))
    assert artefact.demos
    assert compare(before, after).is_better
    assert fmean(after) > fmean(before) + 0.3
    assert not compare(before, wrong).is_better
    assert fmean(wrong) <= fmean(before)


def test_wrong_topic_examples_teach_nothing() -> None:
    optimizer = MiproOptimizer(Model(), threads=4)
    artefact = run(optimizer, train=WRONG_TOPICS)
    before = values(optimizer.evaluate(SIGNATURE, None, TEST, grader=grade))
    after = values(optimizer.evaluate(SIGNATURE, dict(artefact.state), TEST, grader=grade))
    assert not compare(before, after).is_better


@pytest.mark.criterion("9.1")
def test_every_trial_is_reported_live_with_item_scores_and_the_origin_of_its_demos() -> None:
    trials: list[Trial] = []
    artefact = run(MiproOptimizer(Model(), threads=4), on_trial=trials.append)
    assert [trial.number for trial in trials] == list(range(1, 12))
    assert all({item.uid for item in trial.items} == {item.uid for item in VAL} for trial in trials)
    assert all(
        trial.score == pytest.approx(fmean(item.value or 0 for item in trial.items))
        for trial in trials
    )
    known = {item.uid for item in TRAIN}
    demos = [demo for trial in trials for demo in trial.demos]
    assert {demo.role for demo in demos} == {"labeled", "bootstrapped"}
    assert {demo.uid for demo in demos} <= known
    assert {demo.uid for demo in artefact.demos} <= known
    assert max(trial.score for trial in trials) > trials[0].score
    assert artefact.simulated
    assert artefact.tokens > 0


@pytest.mark.parametrize("n_val", [18, 54])
def test_the_plan_is_what_a_run_asks_for(n_val: int) -> None:
    trials: list[Trial] = []
    artefact = run(
        MiproOptimizer(Model(), threads=4), val=items(n_val, seed=6), on_trial=trials.append
    )
    planned = plan(len(TRAIN), n_val, "light")
    assert sum(trial.calls for trial in trials) == planned.evaluation_calls
    assert planned.minibatch == any(trial.kind == "minibatch" for trial in trials)
    proposals = planned.proposal_calls
    assert planned.evaluation_calls + proposals < artefact.calls <= planned.calls_at_most


@given(
    st.integers(1, 2000), st.integers(1, 2000), st.sampled_from(sorted(PRESETS)), st.integers(1, 3)
)
def test_a_plan_grows_with_its_data_and_respects_the_caps(
    n_train: int, n_val: int, auto: Auto, predictors: int
) -> None:
    planned = plan(n_train, n_val, auto, predictors=predictors)
    larger = plan(n_train + 1, n_val, auto, predictors=predictors)
    assert planned.validated_on == min(n_val, PRESETS[auto].validated_at_most)
    assert planned.calls_at_most <= larger.calls_at_most
    assert planned.evaluation_calls >= planned.validated_on * predictors
    assert planned.minibatch == (planned.validated_on > 50)


@pytest.mark.parametrize(
    ("auto", "n_val", "calls"),
    [
        ("light", 48, 528),
        ("light", 100, 650),
        ("medium", 48, 912),
        ("medium", 300, 2130),
        ("heavy", 48, 1344),
        ("heavy", 1000, 7945),
    ],
)
def test_the_plan_gives_the_numbers_that_were_measured(auto: Auto, n_val: int, calls: int) -> None:
    assert plan(60, n_val, auto).evaluation_calls == calls


def test_a_stop_ends_the_run_within_three_seconds_and_no_call_follows(stub: StubProvider) -> None:
    stub.behaviour.latency = 0.2
    wanted = threading.Event()
    stopped_at = []

    def on_trial(_: Trial) -> None:
        stopped_at.append(time.monotonic())
        wanted.set()

    with pytest.raises(Cancelled):
        run(over(stub), on_trial=on_trial, should_stop=wanted.is_set)
    assert time.monotonic() - stopped_at[0] < 3
    asked = len(stub.requests)
    run_to_rest(stub)
    assert len(stub.requests) == asked


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
        run(over(stub), on_trial=on_trial)
    assert len(trials) == 2


def test_a_refused_key_ends_the_run_as_configuration(stub: StubProvider) -> None:
    stub.behaviour.status = 401
    with pytest.raises(ConfigurationError):
        run(over(stub))
    assert len(stub.requests) < 10


def test_a_model_that_only_talks_nonsense_gives_a_reason_and_no_program(stub: StubProvider) -> None:
    stub.behaviour.garbage_next = 10**9
    with pytest.raises(NotReady, match="all 11 trials scored 0; first error: unparseable"):
        run(over(stub))


def test_a_failing_metric_or_record_ends_the_run_unchanged() -> None:
    optimizer = MiproOptimizer(Model(), threads=4)

    def broken(item: Item, produced: Document) -> Grade:
        raise ZeroDivisionError

    def lost(trial: Trial) -> None:
        raise StoreUnavailable("gone")

    with pytest.raises(ZeroDivisionError):
        run(optimizer, grader=broken)
    with pytest.raises(StoreUnavailable):
        run(optimizer, on_trial=lost)


def test_a_killed_run_starts_again_and_pays_only_for_what_is_missing(
    stub: StubProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = 4
    whole: list[float] = []
    run(over(stub, threads=threads), on_trial=lambda t: whole.append(t.score))
    cost = len(stub.requests)
    stub.requests.clear()
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "killed"))
    kill_after(stub, 60)
    run_to_rest(stub)
    paid, again = len(stub.requests), []
    stub.requests.clear()
    run(over(stub, threads=threads), on_trial=lambda t: again.append(t.score))
    assert again == whole
    assert 60 <= paid < cost
    assert len(stub.requests) <= cost - paid + threads


def kill_after(stub: StubProvider, requests: int) -> None:
    """Run the same optimization in a process of its own and kill -9 it after some requests."""
    code = f"""
        from tests.integration.test_optimizer import MiproOptimizer, Model, run
        model = Model("openai/small", api_base={stub.api_base!r}, retries=0)
        run(MiproOptimizer(model, threads=4))
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=Path(__file__).parents[2]
    )
    deadline = time.monotonic() + 60
    while len(stub.requests) < requests and child.poll() is None and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"


@pytest.mark.criterion("5.4")
def test_an_exported_program_loads_with_plain_dspy_where_tdsys_is_unknown(tmp_path: Path) -> None:
    artefact = run(MiproOptimizer(Model(), threads=4))
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


def test_an_item_the_model_does_not_answer_has_no_value(stub: StubProvider) -> None:
    optimizer = over(stub, threads=1)
    stub.behaviour.refuse_next = 1
    stub.behaviour.garbage_next = 2
    first, second, third = optimizer.evaluate(SIGNATURE, None, TEST[:3], grader=grade)
    assert (first.value, second.value) == (None, None)
    assert "ModelUnavailable" in str(first.error)
    assert "AdapterParseError" in str(second.error)
    assert third.value is not None


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
    ],
)
def test_a_metric_that_cannot_guide_is_named(grader: Grader, said: str) -> None:
    found = blockers(grader=grader)
    assert len(found) == 1
    assert said in found[0]


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
    return MiproOptimizer(Model()).blockers(SIGNATURE, train, val, grader=grader, auto="light")


def with_output(item: Item, **outputs: object) -> Item:
    return item.model_copy(update={"outputs": {**item.outputs, **outputs}})
