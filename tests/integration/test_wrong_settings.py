"""A setting that cannot work ends `tdsys up` before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commanding import Shell


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TDSYS_LM": "openai/gpt-5", "OPENAI_API_KEY": ""}, "OPENAI_API_KEY"),
        ({"TDSYS_JUDGE_LM": "gpt-5"}, "TDSYS_JUDGE_LM"),
        ({"TDSYS_LM_THREADS": "0"}, "TDSYS_LM_THREADS"),
        ({"TDSYS_SCORING_BLOCK": "0"}, "TDSYS_SCORING_BLOCK"),
        ({"TDSYS_LEASE_SECONDS": "-5"}, "TDSYS_LEASE_SECONDS"),
        ({"TDSYS_MAX_ATTEMPTS": "0"}, "TDSYS_MAX_ATTEMPTS"),
        ({"TDSYS_DATABASE_URL": "mysql://x/y"}, "TDSYS_DATABASE_URL"),
        ({"TDSYS_FLOWER_PORT": "99999"}, "TDSYS_FLOWER_PORT"),
        ({"TDSYS_HOME": __file__}, "TDSYS_HOME"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_to_do(
    environment: dict[str, str],
    said: str,
    shell: Shell,
    process: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in environment.items():
        process.setenv(name, value)
    told = shell("up")
    assert told.code == 78
    (line,) = told.err.splitlines()
    assert line.startswith("tdsys: ")
    assert said in line
    assert " \u2014 " in line, "it says what to do"
    assert not (tmp_path / "home" / "postgres").exists(), "nothing was started"
