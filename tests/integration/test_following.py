"""Following a run: what is told while it goes on, how it is stopped, and what strangers bring."""

from __future__ import annotations

import json
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tdsys.core import following
from tdsys.core.budget import plan
from tdsys.core.following import Progress
from tdsys.core.policy import Signature
from tdsys.core.program import ItemScore, Recipe, Spent, Trial
from tdsys.errors import InvalidInput
from tdsys.llm import extensions
from tdsys.llm.optimizer import DspyOptimizer
from tdsys.llm.session import Model
from tdsys.store import Store, runs
from tests.commanding import Shell
from tests.factories import NOW, make_captures
from tests.small_world import SIGNATURE, items
from tests.stored import admit, enqueue, freeze, write_trial

TRAIN, VAL = items(6, seed=1), items(9, seed=2)
PLAN = plan(12, 60, "light")


def trial(number: int, kind: str, score: float) -> Trial:
    return Trial.model_validate(
        {
            "number": number, "kind": kind, "score": score, "instruction": "Write.", "demos": (),
            "items": (ItemScore(uid="a", value=score),), "seconds": 0.5, "calls": 3,
        }
    )  # fmt: skip


def test_scores_on_minibatches_and_on_all_of_val_are_kept_apart() -> None:
    known = following.planned(PLAN)
    for number, (kind, score) in enumerate([("full", 0.3), ("minibatch", 0.9), ("full", 0.2)], 1):
        known = following.after_trial(known, trial(number, kind, score))
    assert (known.best, known.best_trial, known.best_minibatch) == (0.3, 1, 0.9)
    assert (known.trials, known.full, known.minibatches) == (3, 2, 1)
    assert Progress.read(known.document()) == known


def test_spend_and_the_time_that_is_left_are_told_only_when_they_are_known() -> None:
    known = following.planned(PLAN)
    assert following.after_calls(known, Spent(), price=None).cost is None
    paid = following.after_calls(known, Spent("optimizing", 50, 40, 2_000_000), price=0.25)
    assert (paid.cost, paid.calls, paid.paid) == (0.5, 50, 40)
    minute = timedelta(seconds=60)
    assert following.left(PLAN, Spent(), before=None, took=minute) is None
    spent = Spent("optimizing", 100, 30, 0)
    calls = PLAN.evaluation_calls - 20
    assert following.left(PLAN, spent, before=80, took=minute) == pytest.approx(2.0 * calls)


def test_watching_tells_the_run_to_its_end_and_how_it_ended(here: Store, tdsys: Shell) -> None:
    assert tdsys("optimize", "watch", "--domain", "sums").code == 2
    with here.begin() as tx:
        admit(tx, make_captures(9, domain="sums"))
        run_id = enqueue(tx, freeze(tx, domain="sums"))
        assert run_id is not None
        known = following.planned(PLAN)
        for number, kind in enumerate(("full", "minibatch"), 1):
            one = trial(number, kind, number / 4)
            known = following.after_trial(known, one)
            write_trial(tx, run_id, one)
        run = runs.run(tx, run_id=run_id)
        assert run is not None
        assert runs.tell(tx, run=run, document=known.document())
        runs.finish(
            tx, run_id=run_id, state="failed", reason="no \x1b[31mluck", outcome=None, now=NOW
        )
    said = tdsys("optimize", "watch", "--domain", "sums", "--json")
    assert said.code == 1
    assert [(t["kind"], t["score"]) for t in said.result["trials"]] == [
        ("full", 0.25),
        ("minibatch", 0.5),
    ]
    assert said.result["progress"]["best"] == 0.25
    plain = tdsys("optimize", "watch", "--domain", "sums", "--run", str(run_id))
    assert "best on all of val 0.250 in trial 1" in plain.out
    assert "best on a minibatch 0.500" in plain.out
    assert "\x1b" not in plain.out


PACKAGE = """
import dspy


class TwoSteps(dspy.Module):
    def __init__(self):
        super().__init__()
        self.write = dspy.Predict("topic, difficulty, context -> problem, solution, answer")
        self.help = dspy.Predict("problem, solution -> observations")

    def forward(self, topic, difficulty, context):
        made = self.write(topic=topic, difficulty=difficulty, context=context)
        hints = [self.help(problem=made.problem, solution=made.solution).observations]
        return dspy.Prediction(problem=made.problem, solution=made.solution, answer=made.answer,
                               hints=hints)


class Deaf(TwoSteps):
    def forward(self, subject):
        return dspy.Prediction()


def of_fields(signature):
    return dspy.ChainOfThought(signature)


def empty():
    return dspy.Module()


def raising():
    raise RuntimeError("no licence")


def short(example, prediction, trace=None):
    if example.difficulty == "medium":
        return None
    words = len(prediction.problem.split())
    return {"score": min(1.0, 20 / words), "feedback": f"{words} words"}


def wants_nothing():
    return 1.0
"""
POINTS = """
[tdsys.programs]
two_steps = customer:TwoSteps
of_fields = customer:of_fields
deaf = customer:Deaf
empty = customer:empty
raising = customer:raising
number = customer:PI
gone = no_such_module:thing

[tdsys.metrics]
short = customer:short
wants_nothing = customer:wants_nothing
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A customer's package, installed as pip would leave it."""
    info = tmp_path / "customer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: customer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "customer.py").write_text(textwrap.dedent(PACKAGE) + "\nPI = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))


@pytest.mark.criterion("5.4")
@pytest.mark.usefixtures("installed")
def test_an_installed_program_is_optimized_and_graded_by_an_installed_metric() -> None:
    trials: list[Trial] = []
    optimizer = DspyOptimizer(Model(), threads=4)
    grader = optimizer.metric("short")
    recipe = Recipe(method="random_search", program="two_steps", failed_share=0.6)
    asked = optimizer.predictors(SIGNATURE, "two_steps")
    planned = plan(len(TRAIN), len(VAL), "light", predictors=asked, method="random_search")
    assert optimizer.blockers(SIGNATURE, EASY, EASY_VAL, grader=grader, recipe=recipe) == []
    made = optimizer.optimize(
        SIGNATURE, TRAIN, VAL, grader=grader, recipe=recipe,
        on_trial=trials.append, should_stop=lambda: False,
    )  # fmt: skip
    assert sum(one.calls for one in trials) == planned.evaluation_calls == 2 * 9 * len(VAL)
    assert set(made.state) >= {"write", "help"}
    assert {demo.predictor for demo in made.demos} <= {"write", "help"}
    for one in trials:
        none = [item for item in one.items if item.value is None]
        assert {item.error for item in none} == {
            "metric failed: Ungradable: the metric gave None, not a number"
        }
        assert {item.uid for item in none} == {
            i.uid for i in VAL if i.inputs["difficulty"] == "medium"
        }
    again = optimizer.evaluate(
        SIGNATURE,
        dict(made.state),
        EASY_VAL,
        grader=grader,
        should_stop=lambda: False,
        recipe=recipe,
    )
    assert all(score.value for score in again)
    with pytest.raises(InvalidInput, match="other fields"):
        optimizer.evaluate(
            SIGNATURE, dict(made.state), VAL, grader=grader, should_stop=lambda: False
        )


EASY = [one for one in TRAIN if one.inputs["difficulty"] == "easy"]
EASY_VAL = [one for one in VAL if one.inputs["difficulty"] == "easy"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deaf", "forward(subject) does not take topic, difficulty, context"),
        ("empty", "has no predictor"),
        ("raising", "cannot be loaded: RuntimeError: no licence"),
        ("number", "is a int, not a dspy.Module"),
        ("gone", "cannot be loaded: ModuleNotFoundError"),
        ("nobody", "has no 'nobody' — use one of: deaf, empty"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_a_program_that_cannot_be_one_is_told_before_any_call(name: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        extensions.program(name, SIGNATURE)
    assert said in str(refused.value)


@pytest.mark.usefixtures("installed")
def test_what_is_installed_is_shown_with_what_stands_in_its_way(tdsys: Shell) -> None:
    found = {(one["kind"], one["name"]): one["why_not"] for one in listed(tdsys)}
    assert found["program", "two_steps"] == found["program", "of_fields"] == ""
    assert found["metric", "short"] == ""
    assert "metric(example, prediction, trace)" in found["metric", "wants_nothing"]
    assert "no licence" in found["program", "raising"]


def listed(tdsys: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(tdsys("optimize", "extensions", "--json").out)
    return found


@pytest.mark.parametrize("given", [None, "0.5", float("nan"), float("inf"), 2, -0.1, object(), {}])
def test_what_is_no_share_of_one_is_no_score(given: Any) -> None:
    metric = extensions.InstalledMetric("m", lambda *_: given)
    with pytest.raises(extensions.Ungradable):
        metric(VAL[0], VAL[0].outputs)


def test_a_bool_a_number_and_a_score_with_words_are_scores() -> None:
    for given, value in ((True, 1.0), (0, 0.0), (0.25, 0.25), ({"score": 0.5}, 0.5)):
        metric = extensions.InstalledMetric("m", lambda *_, told=given: told)
        assert metric(VAL[0], VAL[0].outputs).value == value


@pytest.mark.usefixtures("installed")
def test_a_program_may_be_made_of_the_policys_fields() -> None:
    made = extensions.program("of_fields", Signature())
    assert list(made.predictors()[0].signature.input_fields) == list(Signature().inputs)
