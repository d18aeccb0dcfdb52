"""Real providers: the same programs over HTTP, without litellm, and errors that say what to do."""

from __future__ import annotations

import os
import resource
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tdsys.core.program import Recipe, Trial
from tdsys.errors import ConfigurationError, ModelUnavailable
from tdsys.llm import answers
from tdsys.llm.generation import problem_program
from tdsys.llm.naming import check_name
from tdsys.llm.offline.engine import BRAIN
from tdsys.llm.optimizer import DspyOptimizer
from tdsys.llm.session import Model, run_all, translate, using
from tests.small_world import SIGNATURE, grade, items
from tests.stub_provider import StubProvider

REQUEST = {"topic": "area", "difficulty": "easy", "context": "zoo"}


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


def trials_on(model: Model) -> list[Trial]:
    trials: list[Trial] = []
    DspyOptimizer(model, threads=8).optimize(
        SIGNATURE,
        items(12, seed=1),
        items(10, seed=2),
        grader=grade,
        recipe=Recipe(),
        on_trial=trials.append,
        should_stop=lambda: False,
    )
    return trials


def ask(model: Model, **config: object) -> object:
    with using(model.lm()):
        request = {**REQUEST, "config": config}
        outcome = run_all(problem_program(SIGNATURE), [request], threads=1)[0]
    if outcome.error is not None:
        raise translate(outcome.error)
    return outcome.prediction


def test_an_optimization_over_http_equals_one_in_this_process(stub: StubProvider) -> None:
    over_http = trials_on(Model(stub.model, api_base=stub.api_base))
    in_process = trials_on(Model(seed=stub.seed))
    assert len(over_http) == 11
    plain = {"seconds"}
    assert [trial.model_dump(exclude=plain) for trial in over_http] == [
        trial.model_dump(exclude=plain) for trial in in_process
    ]
    assert stub.peak > 1
    assert "litellm" not in sys.modules


def test_an_address_in_the_environment_is_honoured_without_litellm(
    stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", stub.api_base)
    assert ask(Model(stub.model, retries=0))
    assert len(stub.requests) == 1
    assert os.environ["OPENAI_API_BASE"] == stub.api_base
    assert "litellm" not in sys.modules


def test_the_given_address_comes_before_the_environment(
    stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert ask(Model(stub.model, api_base=stub.api_base, retries=0))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt-4o", "names no provider"),
        ("openai/", "names no provider"),
        ("", "names no provider"),
        ("acme/gpt", "no provider is called 'acme'"),
        ("groq/llama", "needs GROQ_API_KEY"),
    ],
)
def test_a_wrong_model_name_is_one_line_with_a_remedy(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=said) as refused:
        check_name(name)
    assert refused.value.remedy
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 78


@pytest.mark.parametrize("name", ["offline", "openai/small", "ollama/llama3"])
def test_a_usable_model_name_passes_and_names_the_results(name: str) -> None:
    check_name(name)
    model = Model(name, seed=3)
    assert model.lm().model == model.label
    assert model.label == (f"offline/tdsys-s3-v{BRAIN}" if model.simulated else name)


def test_a_rate_limit_is_waited_out(stub: StubProvider) -> None:
    stub.behaviour.refuse_next = 3
    assert ask(Model(stub.model, api_base=stub.api_base))
    assert len(stub.requests) == 4


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (401, ConfigurationError),
        (402, ConfigurationError),
        (404, ConfigurationError),
        (429, ModelUnavailable),
        (500, ModelUnavailable),
        (503, ModelUnavailable),
    ],
)
def test_every_refusal_has_a_meaning(
    status: int, meaning: type[Exception], stub: StubProvider
) -> None:
    stub.behaviour.status = status
    with pytest.raises(meaning):
        ask(Model(stub.model, api_base=stub.api_base, retries=0))


def test_nobody_listening_is_a_model_that_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable):
        ask(Model("openai/nobody", api_base="http://127.0.0.1:9/v1", retries=0))


def test_an_answer_is_paid_once_and_a_fresh_sample_again(stub: StubProvider) -> None:
    model = Model(stub.model, api_base=stub.api_base, retries=0)
    for _ in range(3):
        ask(model)
    assert len(stub.requests) == 1
    ask(model, rollout_id=1, temperature=1.0)
    ask(model, rollout_id=2, temperature=1.0)
    assert len(stub.requests) == 3


def test_fresh_samples_of_the_offline_model_differ_and_repeat() -> None:
    model = Model()
    samples = [str(ask(model, rollout_id=n, temperature=1.0)) for n in (1, 2, 1)]
    assert samples[0] == samples[2] != samples[1]


def test_tokens_are_counted_across_threads(stub: StubProvider) -> None:
    requests = [{**REQUEST, "context": f"zoo {number}"} for number in range(20)]
    model = Model(stub.model, api_base=stub.api_base, retries=0)
    with using(model.lm()) as spent:
        run_all(problem_program(SIGNATURE), requests, threads=8)
    first = spent.tokens
    with using(model.lm()) as spent:
        run_all(problem_program(SIGNATURE), requests, threads=8)
    assert len(stub.requests) == 20
    assert first > 20 * 100
    assert spent.tokens == 0, "cached answers cost nothing"


def test_any_thread_may_use_a_model() -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: str(ask(Model())), range(8)))
    assert len(set(answers)) == 1


def test_a_forked_process_opens_its_own_model() -> None:
    parent = Model(seed=21).lm()
    child = os.fork()
    if child == 0:
        mine = Model(seed=21).lm()
        os._exit(0 if mine is not parent and ask(Model(seed=21)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_usual_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        ask(Model(seed=22))
        os._exit(0 if resource.getrlimit(resource.RLIMIT_NOFILE)[0] in {hard, 8192} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_folder_that_cannot_be_written_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "file" / "answers"))
    with pytest.raises(ConfigurationError, match="DSPY_CACHEDIR"):
        ask(Model())


def test_a_cache_that_another_worker_opens_at_the_same_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, install = [1, 2, 3], answers.install

    def installed(directory: str, *, size: int) -> None:
        if busy:
            raise sqlite3.OperationalError(f"database is locked, {busy.pop()}")
        install(directory, size=size)

    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))
    monkeypatch.setattr(answers, "install", installed)
    ask(Model(seed=23))
    assert not busy
    assert any((tmp_path / "answers").iterdir())
