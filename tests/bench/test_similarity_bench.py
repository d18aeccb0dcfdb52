"""Near-duplicates: what is found and what is found wrongly, and how fast, beside plain MinHash.

What is found is held beside the research's combined rule, too.

The GSM8K copy beside the project is tried where it is there, else the 200 problems shipped.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from tdsys.core.matching import Keyed, keyed, met
from tdsys.core.sketching import Alike, Sketch, alike, sketch
from tdsys.reference import DOMAINS, ReferenceGenerator
from tdsys.store import Store, clusters, neighbours
from tests.bench import minhash
from tests.bench.combined import Combined
from tests.editing import EDITS, sentences

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "gsm8k" / "train.jsonl"
SHIPPED = ROOT / "tdsys" / "reference" / "gsm8k" / "problems.jsonl"
QUERIES = 800
STORED = 100_000
FRESH = 2_000
BLOCK = 500


def gsm8k() -> list[str]:
    path = SHARED if SHARED.exists() else SHIPPED
    return [json.loads(line)["question"] for line in path.open()]


def of_the_test_set() -> list[str]:
    """Nothing was chosen by these."""
    path = SHARED.with_name("example_model_solutions.jsonl")
    told = path.read_text().splitlines() if path.exists() else []
    return list(dict.fromkeys(json.loads(line)["question"] for line in told))


class Found:
    """Which of the stored problems each rule calls near a problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.sketches = [sketch(problem) for problem in problems]
        self.stored = met(keyed(dict(enumerate(self.sketches)))).kept
        self.shingles = [minhash.shingles(problem) for problem in problems]
        self.combined = Combined(problems)
        self.by_template: dict[int, list[int]] = {}
        self.by_band: dict[tuple[int, ...], list[int]] = {}
        for n, one in enumerate(self.sketches):
            self.by_template.setdefault(one.template, []).append(n)
            for band in minhash.bands(self.shingles[n]):
                self.by_band.setdefault(band, []).append(n)

    def near(self, one: Sketch) -> dict[int, Alike]:
        """Who is compared, as placing does it."""
        asked = keyed({len(self.sketches): one})
        here = np.isin(self.stored.keys, asked.keys)
        before = Keyed(self.stored.keys[here], self.stored.owners[here])
        met_with = {*met(asked, before=before).pairs.others.tolist()}
        met_with.update(self.by_template.get(one.template, ()))
        return {n: alike(one, self.sketches[n]) for n in met_with}

    def by_minhash(self, problem: str, *, limit: float) -> set[int]:
        mine = minhash.shingles(problem)
        met = {n for band in minhash.bands(mine) for n in self.by_band.get(band, ())}
        return {n for n in met if minhash.jaccard(mine, self.shingles[n]) >= limit}

    def rules(self, problem: str) -> dict[str, set[int]]:
        near = self.near(sketch(problem))
        return {
            "cluster": {n for n, one in near.items() if one.linked},
            "neighbour": {n for n, one in near.items() if one.near},
            "MinHash .5": self.by_minhash(problem, limit=0.5),
            "MinHash .4": (by_minhash := self.by_minhash(problem, limit=0.4)),
            "combined": by_minhash | self.combined.near(problem),
        }


@pytest.mark.parametrize("held_out", [False, True], ids=["chosen_by", "held_out"])
def test_what_is_found_and_what_is_found_wrongly(*, held_out: bool) -> None:
    """Of the problems that the limits were chosen by, and of those that they were not."""
    rng = random.Random(7)
    others = of_the_test_set() if held_out else []
    if held_out and not others:
        pytest.skip("GSM8K's test problems are not beside the project")
    problems = [*gsm8k(), *others]
    found = Found(problems)
    several = range(len(problems))[-len(others) :]
    asked = rng.sample(several, min(QUERIES, len(several)))
    names = list(found.rules(problems[0]))
    print(f"\nof {len(asked)} of {len(problems)} problems", *names, sep=" | ")
    recall: dict[str, list[float]] = {}
    for edit, change in EDITS.items():
        answers = [(n, found.rules(change(problems[n], rng, problems))) for n in asked]
        recall[edit] = [statistics.mean(n in told[rule] for n, told in answers) for rule in names]
        print(f"{edit:<24}", *(f"{share:.3f}" for share in recall[edit]), sep=" | ")
    unchanged = [(n, found.rules(problems[n])) for n in asked]
    hits = [statistics.mean(bool(told[r] - {n}) for n, told in unchanged) for r in names]
    print(f"{'left out, still found':<24}", *(f"{share:.3f}" for share in hits), sep=" | ")
    for found_of in recall.values():
        assert found_of[0] >= found_of[-1]
    assert hits[0] <= min(hits[-1], 0.037)  # of the combined rule here, and in the research


def mixed(count: int) -> Iterator[tuple[str, str]]:
    """Domain and problem: half of them new stories out of GSM8K's sentences, half generated."""
    rng = random.Random(3)
    pool = [one for problem in gsm8k() for one in sentences(problem)]
    streams = [ReferenceGenerator(seed=s).stream(list(DOMAINS), count) for s in range(1)]
    generated = iter(streams[0])
    for n in range(count):
        if n % 2:
            yield "stories", " ".join(rng.sample(pool, 4))
        else:
            problem = next(generated)
            yield problem.domain, problem.outputs["problem"]


def fill(store: Store, made: Sequence[tuple[str, str]]) -> list[tuple[int, str, str]]:
    """Rows of examples with these problems: id, domain, problem."""
    domains = [domain for domain, _ in made]
    with store.begin() as tx:
        tx.execute(
            text(
                "INSERT INTO domains (name, created_at) "
                "SELECT DISTINCT unnest(CAST(:names AS text[])), now() ON CONFLICT DO NOTHING"
            ),
            {"names": domains},
        )
        ids = tx.scalars(
            text(
                "INSERT INTO examples (fingerprint, domain, topic, difficulty, source, state, "
                "due_at, captured_at, created_at, moved_at) "
                "SELECT uuid_send(gen_random_uuid()), d, 't', 'easy', 'captured', 'candidate', "
                "now(), now(), now(), now() FROM unnest(CAST(:names AS text[])) AS d RETURNING id"
            ),
            {"names": domains},
        ).all()
        tx.execute(
            text(
                "INSERT INTO example_bodies SELECT id, json_build_object('outputs', "
                "json_build_object('problem', problem)) FROM "
                "unnest(CAST(:ids AS bigint[]), CAST(:problems AS text[])) AS t(id, problem)"
            ),
            {"ids": list(ids), "problems": [problem for _, problem in made]},
        )
    return [(id_, *row) for id_, row in zip(ids, made, strict=True)]


def place(store: Store, rows: Sequence[tuple[int, str, str]]) -> None:
    for domain in sorted({domain for _, domain, _ in rows}):
        held = [row for row in rows if row[1] == domain]
        for start in range(0, len(held), BLOCK):
            sketches = {id_: sketch(problem) for id_, _, problem in held[start : start + BLOCK]}
            with store.begin() as tx:
                clusters.place(tx, domain=domain, sketches=sketches)


def server_seconds(store: Store) -> float:
    """CPU of this session's server process so far; only Linux tells."""
    with store.begin() as tx:
        pid = tx.scalar(text("SELECT pg_backend_pid()"))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_hundred_thousand_stored_hold_nobody_up(new_database: Callable[[], str]) -> None:
    store = Store(new_database(), pool_size=1)
    store.upgrade()
    made = list(mixed(STORED + FRESH))
    rows = fill(store, made)
    place(store, rows[:STORED])
    vacuum(store)
    ours, theirs = time.process_time(), server_seconds(store)
    place(store, rows[STORED:])
    ours, theirs = time.process_time() - ours, server_seconds(store) - theirs
    began = time.process_time()
    minhash.clusters([problem for _, problem in made[:FRESH]], threshold=0.5)
    baseline = FRESH / (time.process_time() - began)
    looked = []
    for id_, _, _ in rows[:: STORED // 200]:
        at = time.perf_counter()
        with store.begin() as tx:
            neighbours.nearest(tx, example_id=id_, limit=10)
        looked.append(time.perf_counter() - at)
    with store.begin() as tx:
        size = tx.scalar(text(SIZE))
        templates = tx.scalar(text("SELECT count(*) FROM templates"))
        groups = tx.scalar(text("SELECT count(DISTINCT cluster) FROM templates"))
    store.close()
    print(
        f"\n{FRESH} examples placed beside {STORED:,} ({templates:,} templates, {groups:,} "
        f"clusters, {size} bytes each): {FRESH / (ours + theirs):,.0f} per CPU second, "
        f"{ours / FRESH * 1e6:.0f} us here and {theirs / FRESH * 1e6:.0f} us in Postgres; "
        f"plain MinHash in memory beside {FRESH:,}: {baseline:,.0f} per CPU second"
    )
    middle, worst = statistics.median(looked), sorted(looked)[int(0.99 * len(looked))]
    print(f"ten nearest: median {middle * 1e3:.1f} ms, of a hundred one {worst * 1e3:.1f} ms")
    assert FRESH / (ours + theirs) >= 1000
    assert middle < 0.020


def vacuum(store: Store) -> None:
    """What autovacuum does meanwhile where a hundred thousand did not come in minutes."""
    with store.single() as tx:
        tx.execute(text("VACUUM (ANALYZE) templates, example_keys, example_templates"))


SIZE = """
    SELECT sum(pg_total_relation_size(CAST(name AS regclass)))
           / (SELECT count(*) FROM example_templates)
    FROM unnest(ARRAY['templates', 'example_keys', 'example_templates'])
        AS name
"""
