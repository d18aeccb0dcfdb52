"""`tdsys demo` as a newcomer runs it: every key, every bar, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KEYS = {
    "captured", "imported", "admitted", "rejected", "in_review", "parked", "faults_injected",
    "faults_caught", "clean_rejected", "domains", "simulated", "seconds",
}  # fmt: skip
DOMAIN_KEYS = {"name", "train", "val", "test", "before", "after", "ci_low", "ci_high", "program"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    folder = tmp_path_factory.mktemp("demo")
    env = {k: v for k, v in os.environ.items() if not k.startswith("TDSYS_")}
    done = subprocess.run(
        [sys.executable, "-m", "tdsys", "demo", "--json", "--picture", str(folder / "demo.svg")],
        env={
            **env,
            "TDSYS_HOME": str(folder / "unused"),
            "TMPDIR": str(folder),
            # somebody's own servers, which a demo must leave alone: it would fail on these
            "TDSYS_DATABASE_URL": "postgresql://somebody@127.0.0.1:1/precious",
            "TDSYS_REDIS_URL": "redis://127.0.0.1:1/0",
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout), done.stderr, folder


def test_it_tells_everything_as_data(demo: tuple[dict[str, Any], str, Path]) -> None:
    result, _, _ = demo
    assert set(result) >= KEYS
    assert (result["captured"], result["imported"]) == (300, 200)
    assert all(set(d) >= DOMAIN_KEYS for d in result["domains"])
    accounted = sum(result[k] for k in ("admitted", "rejected", "in_review", "parked"))
    assert accounted + result["reasons"].get("duplicate", 0) == 500
    assert result["simulated"] is True
    assert result["simulated_roles"] == ["program", "judge"]


def test_it_leaves_the_servers_of_the_environment_alone_and_says_so(
    demo: tuple[dict[str, Any], str, Path],
) -> None:
    _, told, _ = demo
    (line,) = [line for line in told.splitlines() if "TDSYS_DATABASE_URL" in line]
    assert "TDSYS_REDIS_URL" in line
    assert "set aside" in line


@pytest.mark.criterion("4.3")
def test_it_catches_hard_faults_and_spares_clean_examples(
    demo: tuple[dict[str, Any], str, Path],
) -> None:
    result, told, _ = demo
    assert result["faults_injected"] >= 40
    assert result["faults_caught"] >= 0.97 * result["faults_injected"]
    assert result["clean_rejected"] <= 0.03 * result["clean"]
    assert "of the hard" in told
    assert "clean examples rejected" in told


@pytest.mark.criterion("7.4")
def test_every_domain_ends_with_a_better_program_that_is_called_simulated(
    demo: tuple[dict[str, Any], str, Path],
) -> None:
    result, told, folder = demo
    for one in result["domains"]:
        assert one["after"] > one["before"], one
        assert one["ci_low"] <= one["after"] <= one["ci_high"]
        assert (folder / one["program"]).is_file()
        assert (folder / one["dataset"]).is_file()
    assert "SIMULATED" in told


def test_it_is_quick_and_leaves_nothing_behind(demo: tuple[dict[str, Any], str, Path]) -> None:
    result, _, folder = demo
    assert result["seconds"] <= 120
    assert (folder / "demo.svg").stat().st_size > 10_000
    assert not list(folder.glob("tdsys-demo-*"))
    assert not (folder / "unused").exists()


def tdsys(
    *words: str, folder: Path, **environment: str
) -> tuple[subprocess.CompletedProcess[str], str]:
    """The command as a newcomer types it in `folder`, and the one line it says in the end."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TDSYS_", "OPENAI"))}
    done = subprocess.run(
        [sys.executable, "-m", "tdsys", *words],
        cwd=folder,
        check=False,
        timeout=60,
        env={**env, "TDSYS_HOME": str(folder / "home"), "TMPDIR": str(folder), **environment},
        capture_output=True,
        text=True,
    )
    return done, done.stderr.splitlines()[-1] if done.stderr else ""


def test_a_demo_that_fails_keeps_its_folder_and_names_it(tmp_path: Path) -> None:
    done, line = tdsys("demo", folder=tmp_path, TDSYS_VALKEY_PORT="seven")
    assert done.returncode == 78, done.stderr
    (kept,) = tmp_path.glob("tdsys-demo-*")
    assert "TDSYS_VALKEY_PORT" in line
    assert str(kept) in line
    assert list((kept / "logs").iterdir())


def test_a_demo_that_cannot_start_leaves_no_folder(tmp_path: Path) -> None:
    done, line = tdsys("demo", "--lm", "gpt-5", folder=tmp_path)
    assert done.returncode == 78
    assert "TDSYS_LM" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TDSYS_LM": "gpt-5"}, "TDSYS_LM"),
        ({"TDSYS_LM": "openai/gpt-5", "OPENAI_API_KEY": ""}, "OPENAI_API_KEY"),
        ({"TDSYS_JUDGE_LM": "gpt-5"}, "TDSYS_JUDGE_LM"),
        ({"TDSYS_LM_THREADS": "many"}, "TDSYS_LM_THREADS"),
        ({"TDSYS_LM_THREADS": "0"}, "TDSYS_LM_THREADS"),
        ({"TDSYS_SCORING_BLOCK": "0"}, "TDSYS_SCORING_BLOCK"),
        ({"TDSYS_LEASE_SECONDS": "-5"}, "TDSYS_LEASE_SECONDS"),
        ({"TDSYS_MAX_ATTEMPTS": "0"}, "TDSYS_MAX_ATTEMPTS"),
        ({"TDSYS_DATABASE_URL": "mysql://x/y"}, "TDSYS_DATABASE_URL"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_78(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    done, _ = tdsys("up", folder=tmp_path, **environment)
    assert done.returncode == 78, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert said in line
    assert " — " in line, "it says what to do"
