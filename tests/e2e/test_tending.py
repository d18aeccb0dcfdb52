"""What a team does with its data beside optimizing: on a whole stack, as it is typed."""

from __future__ import annotations

import json
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tdsys.client import CaptureClient
from tdsys.core.policy import Policy
from tdsys.reference import ReferenceGenerator
from tdsys.stages import policies
from tdsys.wire import Task
from tests.attributed import World
from tests.processes import wait_for
from tests.running import RunningStack, children

Parts = tuple[dict[str, Any], dict[str, Any]]
DIMENSIONS = {"accuracy", "coherence", "relevance", "educational_value"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("tending")
    with RunningStack(folder / "home", DSPY_CACHEDIR=str(folder / "answers")) as running:
        yield running


def told(stack: RunningStack, *words: str, code: int = 0) -> Any:
    """What a command says to a machine: one document, or that of its last line."""
    done = stack.tdsys(*words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def put(stack: RunningStack, domain: str, **fields: Any) -> None:
    runtime = stack.runtime
    policy = Policy.model_validate(
        {"optimization": "hold", "audit_share": 0, "settle_seconds": 0, **fields}
    )
    policies.put(runtime.store, domain=domain, author="ann", now=runtime.now(), policy=policy)


def rows(stack: RunningStack, query: str, *values: object) -> list[Any]:
    with stack.runtime.store.begin() as tx:
        return [tuple(row) for row in tx.exec_driver_sql(query, values)]


def states(stack: RunningStack, domain: str) -> dict[str, int]:
    query = "SELECT state, count(*) FROM examples WHERE domain = %s GROUP BY state"
    return dict(rows(stack, query, domain))


def capture(stack: RunningStack, domain: str, count: int, *, seed: int) -> list[Parts]:
    """Inputs and outputs, captured by the client and decided by the workers."""
    before = sum(states(stack, domain).values())
    made = ReferenceGenerator(seed=seed).stream(("algebra",), count)
    problems: list[Parts] = [({**one.inputs}, {**one.outputs}) for one in made]
    with CaptureClient(stack.runtime.redis_url) as client:
        for inputs, outputs in problems:
            client.capture(domain=domain, inputs=inputs, outputs=outputs)
        assert client.flush(60).pending == 0

    def decided() -> bool:
        found = states(stack, domain)
        return not found.get("candidate") and sum(found.values()) == before + count

    wait_for(decided, "all are decided", seconds=60)
    return problems


@pytest.mark.criterion("1.2")
@pytest.mark.criterion("1.3")
@pytest.mark.criterion("4.2")
def test_a_capture_is_kept_with_inputs_outputs_and_scores_in_the_form_dspy_takes(
    stack: RunningStack,
) -> None:
    put(stack, "kept", min_examples=30)
    problems = capture(stack, "kept", 40, seed=11)
    (one, *_) = told(stack, "examples", "list", "--domain", "kept", "--state", "admitted")
    known = told(stack, "why", str(one["id"]))["example"]
    assert (known["inputs"], known["outputs"]) in problems
    judged = rows(stack, "SELECT accuracy, coherence, relevance, educational_value FROM scores "
                  "WHERE kind = 'judge' AND example_id = %s", one["id"])  # fmt: skip
    assert [all(0 <= value <= 1 for value in row) for row in judged] == [True]
    built = told(stack, "dataset", "build", "--domain", "kept")
    assert built["size"] == 40
    out = stack.home.parent / "kept.json"
    words = ("dataset", "export", "--domain", "kept", "--format", "dspy", "--out", str(out))
    assert stack.tdsys(*words).returncode == 0
    exported = json.loads(out.read_text())
    fields = {*exported["inputs"], *known["outputs"]}
    assert all(set(row) - {"dspy_uid"} == fields for row in exported["train"])


@pytest.mark.criterion("3.1")
@pytest.mark.criterion("3.2")
@pytest.mark.criterion("3.3")
@pytest.mark.criterion("3.4")
@pytest.mark.criterion("3.5")
def test_a_policy_says_what_is_collected_and_admitted_from_then_on(stack: RunningStack) -> None:
    put(stack, "ruled", collection="manual")
    capture(stack, "ruled", 10, seed=12)
    assert states(stack, "ruled") == {"in_review": 10}

    refused = stack.tdsys("policy", "set", "--domain", "ruled", "auto=heavy", "max_calls=10")
    assert refused.returncode == 2
    assert "programs on the 18 val examples that min_examples, 50, leaves" in refused.stderr
    assert "policy max_calls: 10 are fewer than" in refused.stderr

    words = ("policy", "set", "--domain", "ruled", "collection=automatic", "admit_quality=1.0",
             'topics=["number sequences"]', 'difficulties=["easy", "medium", "hard"]',
             'cells={"min": 3, "max": 12}', "min_examples=30", "max_examples=36")  # fmt: skip
    assert stack.tdsys(*words).returncode == 0
    capture(stack, "ruled", 10, seed=13)
    query = "SELECT min(quality), count(*) FROM examples WHERE domain = 'ruled' AND state = "
    ((worst, admitted),) = rows(stack, query + "'admitted'")
    assert (worst, 0 < admitted < 10) == (1.0, True)
    assert states(stack, "ruled")["in_review"] == 20 - admitted, "what was decided stays so"
    cells = told(stack, "report", "coverage", "--domain", "ruled")["cells"]
    wanted = [one for one in cells if one["wanted"]]
    assert [(one["least"], one["most"]) for one in wanted] == [(3, 12)] * 3
    waits = told(stack, "optimize", "plan", "--domain", "ruled")
    assert not waits["would_run"]


def found_by_word(stack: RunningStack, word: str) -> int:
    words = ("--domain", "algebra", "--text", word, "--move", "flag", "--because", "a look")
    counts = told(stack, "examples", "bulk", *words, "--dry-run")["counts"]
    return int(counts.get("waiting", 0))


@pytest.mark.criterion("2.1")
@pytest.mark.criterion("2.2")
@pytest.mark.criterion("2.3")
@pytest.mark.criterion("2.4")
@pytest.mark.criterion("10.2")
@pytest.mark.criterion("10.4")
@pytest.mark.criterion("10.5")
def test_a_domain_with_nothing_is_filled_evenly_by_a_generator_and_a_model(
    stack: RunningStack,
) -> None:
    put(stack, "algebra", min_examples=30)
    made = {}
    for command in ("bootstrap", "synthesize"):
        made[command] = told(stack, command, "--domain", "algebra", "--count", "18")
        cells = made[command]["cells"]
        assert (made[command]["wanted"], made[command]["admitted"]) == (18, 18)
        assert len({one["topic"] for one in cells}) == 3
        assert len({one["difficulty"] for one in cells}) == 3
    mixture = made["synthesize"]["mixture"]
    assert (mixture["synthetic"], mixture["real"]) == (18, 18)
    mix = told(stack, "report", "mix", "--domain", "algebra")
    assert {one["source"]: one["admitted"] for one in mix["sources"]} == {
        "bootstrapped": 18, "synthetic": 18
    }  # fmt: skip
    unscored = "SELECT count(*) FROM examples WHERE domain = 'algebra' AND quality IS NULL"
    assert rows(stack, unscored + " AND state = 'admitted'") == [(0,)]
    stack.runtime.bells.ring(Task.CATCH_UP)  # as beat does
    wait_for(lambda: found_by_word(stack, "sequence") >= 12, "they are found by their words")
    told(stack, "dataset", "build", "--domain", "algebra")
    held = rows(stack, "SELECT examples.source, count(*) FROM dataset_members JOIN examples "
                "ON examples.id = example_id JOIN dataset_versions v ON v.id = version_id "
                "WHERE v.domain = 'algebra' GROUP BY 1")  # fmt: skip
    assert sorted(held) == [("bootstrapped", 18), ("synthetic", 18)]


@pytest.mark.criterion("2.5")
def test_a_generator_that_cannot_says_why_and_what_was_tried_instead(stack: RunningStack) -> None:
    words = ("--domain", "odd", "--topics", "knitting", "--count", "2")
    ended = told(stack, "bootstrap", *words, code=1)
    assert (ended["made"], ended["reasons"]) == (0, {"generator_failed": 12, "no_template": 12})
    assert [one["next"] for one in ended["fallbacks"]] == ["templates", "import"] * 2


@pytest.mark.criterion("6.1")
@pytest.mark.criterion("6.2")
@pytest.mark.criterion("6.3")
@pytest.mark.criterion("6.5")
def test_what_is_too_much_or_too_old_goes_the_worst_of_the_fullest_cells_first(
    stack: RunningStack,
) -> None:
    put(stack, "much", min_examples=30)
    capture(stack, "much", 48, seed=14)
    put(stack, "much", min_examples=30, lifecycle={"max_admitted": 36})
    stack.runtime.bells.ring(Task.PRUNE)
    wait_for(lambda: states(stack, "much").get("retired") == 12, "the worker pruned")
    kept: dict[tuple[str, str], list[float]] = defaultdict(list)
    gone: dict[tuple[str, str], list[float]] = defaultdict(list)
    for topic, difficulty, state, quality in rows(
        stack, "SELECT topic, difficulty, state, quality FROM examples WHERE domain = 'much'"
    ):
        (kept if state == "admitted" else gone)[topic, difficulty].append(quality)
    sizes = [len(values) for values in kept.values()]
    assert max(sizes) - min(sizes) <= 1
    assert all(max(values) <= min(kept[cell]) for cell, values in gone.items())

    aged = "UPDATE examples SET created_at = created_at - interval '40 days' "
    with stack.runtime.store.begin() as tx:
        tx.exec_driver_sql(aged + "WHERE domain = 'much' AND state = 'admitted'")
    put(stack, "much", min_examples=30, lifecycle={"retire_after_days": 30})
    stack.runtime.bells.ring(Task.PRUNE)
    wait_for(lambda: states(stack, "much") == {"admitted": 30, "retired": 18}, "the old went")
    (fresh,) = told(stack, "report", "freshness", "--domain", "much")["domains"]
    (age,) = [one for one in fresh["ages"] if one["state"] == "admitted"]
    assert (age["within_days"]["30"], age["within_days"]["90"], age["n"]) == (0, 30, 30)
    reasons = told(stack, "report", "quality", "--domain", "much")["reasons"]
    assert {one["reason"]: one["n"] for one in reasons if one["state"] == "retired"} == {
        "over_cap": 12, "too_old": 6
    }  # fmt: skip


@contextmanager
def resting(stack: RunningStack, name: str) -> Iterator[None]:
    """A worker and its pool do nothing meanwhile."""
    worker = stack.processes()[name]["pid"]
    pids = [worker, *children(worker)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.criterion("9.2")
@pytest.mark.criterion("9.3")
@pytest.mark.criterion("9.4")
def test_what_does_harm_is_named_and_what_its_leaving_changes_is_measured(
    stack: RunningStack,
) -> None:
    world = World(stack.runtime.store)
    with resting(stack, "worker-optimization"):  # the evidence is written by hand
        world.begin(budget=400)
        world.work()
    found = told(stack, "effectiveness", "problems", "--domain", "arithmetic")["problems"]
    harmful = [one["example"] for one in found if one["fault"] == "harmful"]
    assert harmful == [world.train[0].fingerprint]
    made = told(stack, "effectiveness", "recommend", "--domain", "arithmetic")["recommendations"]
    (one,) = [one for one in made if one["kind"] == "retire"]
    assert one["reason"]
    assert one["predicted"]["low"] > 0
    done = told(stack, "effectiveness", "apply", str(one["id"]))
    assert done["version"]["number"] == 2
    measured = told(stack, "effectiveness", "impact", str(one["id"]), "--seeds", "1")
    assert measured["state"] == "finished"
    assert measured["calls"] > 100
    assert measured["impact"]["simulated"] is True
    # Its test items all ask for the same: no number of runs could say more.
    assert measured["impact"]["finding"] == "not enough evidence"


@pytest.mark.criterion("9.5")
def test_what_is_amiss_is_an_alert_that_says_what_to_do(stack: RunningStack) -> None:
    source = stack.home.parent / "broken.jsonl"
    source.write_text('{"question": "and no answer"}\n' * 20)
    words = ("import", str(source), "--domain", "kept", "--map", "question=problem")
    assert stack.tdsys(*words).returncode == 1

    def alerts() -> list[dict[str, Any]]:
        stack.runtime.bells.ring(Task.ALERTS)
        found: list[dict[str, Any]] = told(stack, "alerts", "list", "--domain", "kept")
        return found

    (alert,) = wait_for(alerts, "it fires")
    assert "import" in alert["title"]
    assert "a file to repair" in alert["remedy"]
