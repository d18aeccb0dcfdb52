"""The import readers: megabytes per CPU second and peak memory, each beside its baseline."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tdsys.parsing import Format
from tests.bench.reading import BASELINES
from tests.reading import CSV, JSON, JSONL, YAML

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
RECORDS = 80_000
MIB_AT_MOST = 60
# Parsing alone; the bars (30, 25, 30, 8) are for parsing and mapping together.
BARS = {JSONL: 45, JSON: 35, CSV: 45, YAML: 10}
WORDS = [
    *("Natalia", "sold", "clips", "to", "friends", "in", "April", "and", "half", "as", "many"),
    *("again", "altogether", "she", "\\frac{1}{2}", "$3", "<<48/2=24>>24", "per", "dozen"),
]


class Cost(NamedTuple):
    """What reading one file cost."""

    good: int
    seconds: float
    mib: int


def texts(seed: int, length: int) -> str:
    chosen = random.Random(seed)
    return " ".join(chosen.choices(WORDS, k=length // 6))


def record(number: int) -> dict[str, Any]:
    """1.3 KB like those of GSM8K."""
    kind = number % 1000
    return {
        "id": number,
        "question": texts(kind, 450),
        "answer": f"{texts(kind + 1, 450)}\n#### {kind}",
        "topic": "arithmetic",
        "steps": [texts(kind + 2, 100), texts(kind + 3, 100), 'said "yes"'],
        "source": {"name": "gsm8k", "tokens": 312, "quality": 0.875},
    }


def as_yaml(one: dict[str, Any]) -> str:
    answer = one["answer"].replace("\n", "\n    ")
    steps = "".join(f"  - {json.dumps(step)}\n" for step in one["steps"])
    return (
        f"- id: {one['id']}\n  question: {json.dumps(one['question'])}\n"
        f"  answer: |-\n    {answer}\n  topic: arithmetic\n  steps:\n{steps}"
        "  source:\n    name: gsm8k\n    tokens: 312\n"
    )


def write(folder: Path, pool: list[dict[str, Any]]) -> dict[Format, Path]:
    paths = {kind: folder / f"problems.{kind}" for kind in Format}
    many = [{**pool[n % len(pool)], "id": n} for n in range(RECORDS)]
    with paths[JSONL].open("w") as file:
        file.writelines(json.dumps(one) + "\n" for one in many)
    with paths[JSON].open("w") as file:
        json.dump(many, file, indent=1)
    with paths[CSV].open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "question", "answer", "topic", "step1", "step2", "step3"])
        rows.writerows(
            [one["id"], one["question"], one["answer"], one["topic"], *one["steps"]] for one in many
        )
    with paths[YAML].open("w") as file:
        file.writelines(map(as_yaml, many))
    return paths


def measured(way: str, path: Path) -> Cost:
    """Read in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.reading", way, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return Cost(*json.loads(done.stdout))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Format, Path]:
    return write(tmp_path_factory.mktemp("files"), [record(n) for n in range(1000)])


@pytest.mark.parametrize("kind", Format)
def test_reading_beside_the_standard_way(kind: Format, files: dict[Format, Path]) -> None:
    path = files[kind]
    size = path.stat().st_size / 1e6
    found, usual = measured("ours", path), measured(kind, path)
    rate = size / found.seconds
    usual_rate = size * usual.good / found.good / usual.seconds
    print(
        f"\n{kind:<6} {size:.0f} MB {rate:>6.1f} MB/CPU s, peak {found.mib} MiB      "
        f"{BASELINES[kind][0]}: {usual_rate:.1f} MB/CPU s, peak {usual.mib} MiB"
    )
    assert found.good == RECORDS
    assert rate >= BARS[kind]
    assert found.mib <= MIB_AT_MOST
