"""`tdsys demo` as a newcomer runs it: every key, every bar, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.listening import Heard

KEYS = {
    "captured", "imported", "admitted", "rejected", "in_review", "parked", "faults_injected",
    "faults_caught", "clean_rejected", "domains", "simulated", "seconds",
}  # fmt: skip
DOMAIN_KEYS = {"name", "train", "val", "test", "before", "after", "ci_low", "ci_high", "program"}


Demo = tuple[dict[str, Any], Heard, Path]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    env = {k: v for k, v in os.environ.items() if not k.startswith("TDSYS_")}
    demo = Heard(
        [sys.executable, "-m", "tdsys", "demo", "--json", "--picture", str(folder / "demo.svg")],
        cwd=folder,
        env={
            **env,
            "TDSYS_HOME": str(folder / "unused"),
            "TMPDIR": str(folder),
            # somebody's own servers, which a demo must leave alone: it would fail on these
            "TDSYS_DATABASE_URL": "postgresql://somebody@127.0.0.1:1/precious",
            "TDSYS_REDIS_URL": "redis://127.0.0.1:1/0",
        },
        result=folder / "result.json",
    )
    assert demo.end() == 0, demo.text[-4000:]
    return json.loads((folder / "result.json").read_text()), demo, folder


def test_it_tells_everything_as_data(demo: Demo) -> None:
    result, _, _ = demo
    assert set(result) >= KEYS
    assert (result["captured"], result["imported"]) == (300, 200)
    assert all(set(d) >= DOMAIN_KEYS for d in result["domains"])
    accounted = sum(result[k] for k in ("admitted", "rejected", "in_review", "parked"))
    assert accounted + result["reasons"].get("duplicate", 0) == 500
    assert result["simulated"] is True
    assert result["simulated_roles"] == ["program", "judge"]


def test_it_leaves_the_servers_of_the_environment_alone_and_says_so(
    demo: Demo,
) -> None:
    _, heard, _ = demo
    (line,) = [line for line in heard.text.splitlines() if "TDSYS_DATABASE_URL" in line]
    assert "TDSYS_REDIS_URL" in line
    assert "set aside" in line


@pytest.mark.criterion("4.3")
def test_it_catches_hard_faults_and_spares_clean_examples(
    demo: Demo,
) -> None:
    result, heard, _ = demo
    assert result["faults_injected"] >= 40
    assert result["faults_caught"] >= 0.97 * result["faults_injected"]
    assert result["clean_rejected"] <= 0.03 * result["clean"]
    assert "of the hard" in heard.text
    assert "clean examples rejected" in heard.text


@pytest.mark.criterion("7.4")
def test_every_domain_ends_with_a_better_program_that_is_called_simulated(
    demo: Demo,
) -> None:
    result, heard, folder = demo
    for one in result["domains"]:
        assert one["after"] > one["before"], one
        assert one["ci_low"] <= one["after"] <= one["ci_high"]
        assert (folder / one["program"]).is_file()
        assert (folder / one["dataset"]).is_file()
    assert "SIMULATED" in heard.text


def test_it_is_never_silent_for_long_even_without_a_terminal(demo: Demo) -> None:
    _, heard, _ = demo
    assert heard.silences == []


def test_no_progress_goes_beyond_its_end(demo: Demo) -> None:
    _, heard, _ = demo
    told = re.findall(r"(\d+)/(\d+) \d:\d\d:\d\d|(\d+) of (\d+)", heard.text)
    assert len(told) > 10
    assert all(int(a or c) <= int(b or d) for a, b, c, d in told), told


def test_it_is_quick_and_leaves_nothing_behind(demo: Demo) -> None:
    result, _, folder = demo
    assert result["seconds"] <= 120
    assert (folder / "demo.svg").stat().st_size > 10_000
    assert not list(folder.glob("tdsys-demo-*"))
    assert not (folder / "unused").exists()
