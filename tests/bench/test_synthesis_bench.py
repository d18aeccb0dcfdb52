"""Making and judging with real workers, beside a bare loop and NVIDIA's Data Designer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.bench import designer
from tests.bench.asking import prompts
from tests.bench.plant import ROOT, Plant, provider

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

# Names a Python that has it, for the comparison.
DESIGNER = "TDSYS_BENCH_DATA_DESIGNER"
COUNT = 200
IN_FLIGHT = 16
# On a machine that others use, too, a round is up to a sixth faster or slower than the next one.
ROUNDS = 9
PROGRAM = "ours: a DSPy generator, verified, judged, stored"
PROVED = "ours: strategies, solved twice again, verified, judged, stored"
BARE = "baseline: asyncio and httpx into a file"
THEIRS = "baseline: NVIDIA Data Designer, structured and judge column"
TEXTS = "baseline: the same, two columns of text: nothing parsed"
STRATEGIES = ("persona", "rationale-first")
Build = Callable[..., Plant]


@pytest.fixture
def plant(new_database: Callable[[], str], redis_url: str, tmp_path: Path) -> Iterator[Build]:
    with ExitStack() as exits:
        numbers = iter(range(100))

        def build(api_base: str, **env: str) -> Plant:
            folder = tmp_path / str(next(numbers))
            given = {"TDSYS_LM_API_BASE": api_base, "TDSYS_LM_THREADS": str(IN_FLIGHT), **env}
            return exits.enter_context(Plant(new_database(), redis_url, folder, **given))

        yield build


def printed(*words: object) -> dict[str, float]:
    """What a baseline prints."""
    done = subprocess.run(
        list(map(str, words)), cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "HOME": tempfile.mkdtemp(), "NEMO_TELEMETRY_ENABLED": "false"},
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def said(holds: bool) -> str:  # noqa: FBT001  # one word for it
    return "met" if holds else "NOT MET"


def baselines(
    api_base: str, parrot: str, folder: Path
) -> dict[str, Callable[[], dict[str, float]]]:
    """Who else is asked for the same, with as many calls on their way as our two workers have.

    The `parrot` gives the one answer that a structured column and a judge's both can parse.
    """
    asked = folder / "prompts.json"
    asked.write_text(json.dumps(prompts()))
    words = (2 * IN_FLIGHT, asked)
    others: dict[str, Callable[[], dict[str, float]]]
    bare = (sys.executable, "-m", "tests.bench.asking", COUNT, api_base, *words)
    others = {BARE: partial(printed, *bare)}
    if named := os.environ.get(DESIGNER):
        theirs = (named, "tests/bench/designer.py", COUNT)
        others[THEIRS] = partial(printed, *theirs, parrot, *words, "parsed")
        others[TEXTS] = partial(printed, *theirs, api_base, *words, "text")
    return others


def test_making_and_judging_beside_a_bare_loop_and_data_designer(
    plant: Build, tmp_path: Path
) -> None:
    found: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    with provider(0.05) as api_base, provider(0.05, say=designer.ANSWER) as parrot:
        here = plant(api_base)
        here.hire("synthesis")
        here.hire("scoring")
        others = baselines(api_base, parrot, tmp_path)
        ways: dict[str, dict[str, Any]]
        ways = {PROGRAM: {"generator": "bench"}, PROVED: {"strategies": STRATEGIES}}
        for way in ways.values():
            here.make(40, domain="warm", **way)
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found[name].append(here.make(COUNT, **way)._asdict())
            for name, ask in others.items():
                found[name].append(ask())
    told(found)


def told(found: Mapping[str, list[dict[str, float]]]) -> None:
    title = f"{COUNT} items, 50 ms an answer, {2 * IN_FLIGHT} calls at once; medians of {ROUNDS}"
    columns = {"items/s": "judged", "admitted/s": "rate", "CPU ms": "cpu",
               "servers' CPU ms": "servers", "calls": "calls"}  # fmt: skip
    table = Table("making and judging an item", *columns, title=title)
    for name in (PROGRAM, PROVED, BARE, THEIRS, TEXTS):
        rounds = found.get(name, [])
        cells = [_median(rounds, one) for one in columns.values()]
        table.add_row(name, *(cells if rounds else ["not installed", *[""] * 4]))
    Console(width=130).print(table)
    cpu = [median(one["cpu"] for one in found[name]) for name in (PROGRAM, PROVED)]
    print(f"bar: 20 ms {said(cpu[0] <= 20)}; of strategies, with four calls, {said(cpu[1] <= 20)}")
    if not found.get(THEIRS):
        print(f"not compared with Data Designer: {DESIGNER} names no Python that has it")
        return
    for theirs in (THEIRS, TEXTS):
        pairs = zip(found[PROGRAM], found[theirs], strict=True)
        shares = [ours["judged"] / one["judged"] for ours, one in pairs]
        told = ", ".join(f"{one:.2f}" for one in shares)
        print(f"items/s of {theirs.removeprefix('baseline: ')}: {told}; bar: 2 "
              f"{said(median(shares) >= 2)}")  # fmt: skip


def _median(rounds: Sequence[Mapping[str, float]], column: str) -> str:
    values = [one[column] for one in rounds if column in one]
    return f"{median(values):.1f}" if values else ""


def test_two_workers_make_twice_as_much_where_the_provider_is_what_is_waited_for(
    plant: Build,
) -> None:
    rates = []
    with provider(0.3) as api_base:
        for count in (1, 2):
            here = plant(api_base, TDSYS_LM_THREADS="4", TDSYS_LM=f"openai/stub-{count}")
            for _ in range(count):
                here.hire("synthesis")
            here.hire("scoring")
            here.make(20 * count, domain="warm", strategies=STRATEGIES)
            rates.append(here.make(80 * count, strategies=STRATEGIES).rate)
            here.fire()
    share = rates[1] / rates[0] / 2
    print(
        f"\none worker {rates[0]:.2f}/s, two {rates[1]:.2f}/s: {share:.0%} of twice one", end="; "
    )
    print(f"bar: 90 % {said(share >= 0.9)}")


def test_of_answers_that_are_refused_by_the_third_none_is_lost(plant: Build) -> None:
    with provider(0.05, refused=0.3) as api_base:
        terms = {"openai/stub": {"calls_per_minute": 60_000}}
        here = plant(api_base, TDSYS_MODELS=json.dumps(terms))
        here.hire("synthesis")
        here.hire("scoring")
        made = here.make(COUNT, strategies=STRATEGIES)
        assert not here.broken()
    print(f"\n30 % refused: {COUNT} of {COUNT} admitted at {made.rate:.1f}/s, "
          f"{made.calls:.1f} answered calls an item")  # fmt: skip
