"""Models' answers about what is forgotten go from every machine's cache, and none comes after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest
from sqlalchemy import text

from tdsys import runtime
from tdsys.core.policy import Signature
from tdsys.core.program import Grade, Item, Recipe
from tdsys.core.rubric import Judgement, Question
from tdsys.core.sections import Member
from tdsys.core.tombs import SHARED_ANSWERS, answers_in
from tdsys.llm import answers, session
from tdsys.llm.judge import ModelJudge
from tdsys.llm.optimizer import DspyOptimizer
from tdsys.llm.session import Model, using
from tdsys.stages import forgetting
from tdsys.store import Store
from tests.commanding import Shell
from tests.factories import NOW, PROBLEM, make_capture, make_verdict
from tests.stored import admit, claim, ingest

OTHER = "A bakery sells 3 trays of 12 buns. How many buns is that?"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of models' answers for each test."""
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))


def capture(problem: str = OTHER) -> Any:
    return make_capture(outputs={**PROBLEM, "problem": problem})


def forget(store: Store, example_id: int) -> None:
    forgetting.forget(store, ids=[example_id], actor="ann", reason="asked to", now=NOW)


def cached() -> dict[str, int]:
    """How many answers this machine's cache has, by tag."""
    shards = dspy.cache.disk_cache._shards
    rows = [
        row for shard in shards for row in shard._sql("SELECT tag, count(*) FROM Cache GROUP BY 1")
    ]
    found: Counter[str] = Counter()
    for tag, n in rows:
        found[tag] += n
    return dict(found)


@pytest.mark.criterion("6.4")
def test_answers_that_may_rest_on_what_is_forgotten_are_evicted_and_only_those(
    store: Store, tmp_path: Path
) -> None:
    home, elsewhere = answers_in(capture().domain), answers_in("elsewhere")
    with store.begin() as tx:
        (forgotten,) = admit(tx, [capture()])

    def ask(when: str, *abouts: str | None) -> None:
        for about in abouts:
            with using(Model().lm(), about=about):
                dspy.Predict("question -> answer")(question=f"What of {about}, {when}?")

    ask("at first", home, elsewhere, None)
    assert cached() == {home: 1, elsewhere: 1, SHARED_ANSWERS: 1}
    forget(store, forgotten)

    directory = str(tmp_path / "answers")
    told_ = forgetting.evictions(store, done=answers.marks(directory))
    # As another process does, while work that began before is under way here.
    assert answers.evict(directory, told_) == 2
    assert cached() == {elsewhere: 1}
    ask("late", home, elsewhere, None)
    assert cached() == {elsewhere: 2}
    assert evicted(store) == 0
    ask("in new work", home, None)
    assert cached() == {home: 1, elsewhere: 2, SHARED_ANSWERS: 1}


@pytest.mark.criterion("6.4")
def test_what_a_judge_says_about_an_example_is_in_no_cache(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, [capture()])
        (candidate,) = claim(tx)
    judge = ModelJudge(Model(), width=1)
    said = judge.ask(Question(candidate, make_verdict(), Member())).result()
    assert isinstance(said, Judgement)
    assert not cached()


@pytest.mark.criterion("6.4")
def test_a_restored_backup_and_another_database_have_their_answers_evicted_too(
    store: Store,
) -> None:

    def asked() -> None:
        with using(Model().lm()):
            dspy.Predict("question -> answer")(question="What else?")

    def rows_are(rows: Sequence[tuple[int, str]]) -> None:
        with store.begin() as tx:
            tx.execute(text("TRUNCATE cache_evictions"))
            for number, at in rows:
                tx.execute(
                    text("""INSERT INTO cache_evictions (id, tag, at) OVERRIDING SYSTEM VALUE
                            VALUES (:id, 'shared', CAST(:at AS timestamptz))"""),
                    {"id": number, "at": at},
                )

    def is_evicted() -> bool:
        asked()
        return evicted(store) > 0

    whole = [(1, "2026-01-01"), (2, "2026-01-02"), (3, "2026-01-03")]
    rows_are(whole)
    assert (is_evicted(), is_evicted()) == (True, False)
    restored = whole[:1]
    rows_are([*restored, (2, "2026-01-04")])  # a backup of the first day, and a day after it
    assert (is_evicted(), is_evicted()) == (True, False)
    other = [(1, "2026-02-01")]
    rows_are(other)
    assert (is_evicted(), is_evicted()) == (True, False)
    rows_are([*restored, (2, "2026-01-04")])  # and this machine serves the first one still
    assert not is_evicted()
    rows_are([*other, (2, "2026-02-02")])
    assert (is_evicted(), is_evicted()) == (True, False)


def evicted(store: Store) -> int:
    """How many answers a worker drops before its next work."""
    return session.evict(lambda done: forgetting.evictions(store, done=done))


@pytest.mark.criterion("6.4")
def test_a_run_loses_no_answer_to_what_is_forgotten_elsewhere_and_each_only_once(
    store: Store,
) -> None:
    with store.begin() as tx:
        (forgotten,) = admit(tx, [capture()])
    home = capture().domain

    def run(domain: str) -> None:
        items = [Item(uid=str(n), inputs={"topic": f"{domain} {n}"}, outputs={}) for n in range(3)]
        DspyOptimizer(Model(), threads=1).evaluate(
            Signature(),
            None,
            items,
            grader=lambda *_: Grade(value=1.0, parts={}),
            should_stop=lambda: False,
            recipe=Recipe(domain=domain),
        )

    run(home)
    run("elsewhere")
    before = cached()
    assert set(before) == {answers_in(home), answers_in("elsewhere")}
    forget(store, forgotten)
    assert evicted(store) == before.pop(answers_in(home))
    assert cached() == before
    run(home)
    assert evicted(store) == 0
    assert set(cached()) == {answers_in(home), answers_in("elsewhere")}


@pytest.mark.criterion("6.4")
@pytest.mark.parametrize("asking", ["optimizer", "prober", "solver"])
def test_whoever_takes_what_asks_a_model_has_the_answers_about_the_forgotten_dropped_each_time(
    here: Store, asking: str
) -> None:
    with here.begin() as tx:
        ids = admit(tx, [capture(f"{OTHER} {n}") for n in range(2)])
    first = getattr(runtime.current(), asking)
    for id_ in ids:
        with using(Model().lm()):
            dspy.Predict("question -> answer")(question="What else?")
        assert cached()
        forget(here, id_)
        assert getattr(runtime.current(), asking) is first
        assert not cached()


@pytest.mark.criterion("6.4")
def test_a_command_that_asks_models_drops_answers_about_the_forgotten_before(
    here: Store, tdsys: Shell
) -> None:
    with here.begin() as tx:
        id_, *_ = admit(tx, [capture(f"{OTHER} {n}") for n in range(2)])
    with using(Model().lm()):
        dspy.Predict("question -> answer")(question="What else?")
    forget(here, id_)
    assert tdsys("dataset", "check", "--domain", capture().domain).code == 3
    assert not cached()
