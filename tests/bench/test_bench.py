"""Measurements, each beside its baseline in the same run: `make bench` prints the table."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdsys.client import CaptureClient, MemorySpool
from tdsys.core.matching import clusters
from tdsys.reference import DOMAINS
from tdsys.stages import capture, monitoring, trending
from tdsys.store import Store
from tdsys.verify import EvidenceVerifier
from tests.factories import NOW, make_captures, make_items

pytestmark = pytest.mark.bench


def seconds(work: Callable[[], Any], repeat: int = 5) -> float:
    """The median wall time of `work`."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def tell(what: str, measured: float, unit: str, baseline: str, compared: float) -> None:
    print(f"\n{what:<46} {measured:>10.2f} {unit:<10} {baseline}: {compared:.2f}")


def test_capture_costs_the_caller_microseconds() -> None:
    problem = {"domain": "d", "inputs": {"topic": "sums"}, "outputs": {"problem": "x" * 2000}}
    client = CaptureClient("redis://127.0.0.1:1", spool=MemorySpool())
    dump = seconds(lambda: [json.dumps(problem) for _ in range(2000)]) / 2000
    cost = seconds(lambda: [client.capture(**problem) for _ in range(2000)]) / 2000  # type: ignore[arg-type]
    tell(
        "capture() of 2 KB, broker away", cost * 1e6, "us/call", "json.dumps alone, us", dump * 1e6
    )
    assert cost < 200e-6


def test_verification_and_clustering_keep_up() -> None:
    problems = [item for domain in DOMAINS for item in make_items(domain, 50)]
    verifier = EvidenceVerifier()
    began = time.process_time()
    for p in problems:
        verifier.verify("d", p.inputs, p.outputs)
    verified = len(problems) / (time.process_time() - began)
    verifier.close()
    began = time.process_time()
    clusters([str(p.outputs["problem"]) for p in problems])
    clustered = len(problems) / (time.process_time() - began)
    tell("problems verified", verified, "/CPU s", "problems clustered, /CPU s", clustered)
    assert verified > 200


def test_the_client_imports_fast_and_light() -> None:
    def spent(statement: str) -> tuple[float, int]:
        script = (
            f"import time, resource; b = time.perf_counter(); {statement}; "
            "print(time.perf_counter() - b, "
            "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        runs = [
            subprocess.run(
                [sys.executable, "-c", script], capture_output=True, text=True, check=True
            ).stdout.split()
            for _ in range(5)
        ]
        return (
            statistics.median(float(a) for a, _ in runs),
            int(statistics.median(int(b) for _, b in runs)),
        )

    bare_time, bare_memory = spent("pass")
    time_, memory = spent("import tdsys.client")
    tell(
        "import tdsys.client",
        (time_ - bare_time) * 1e3,
        "ms",
        "memory over a bare Python, MB",
        (memory - bare_memory) / 1024,
    )


def test_a_freshness_count_is_quick(new_database: Callable[[], str]) -> None:
    store = Store(new_database())
    store.upgrade()
    for n in range(20):
        block = make_captures(500, domain=f"d{n}")
        text = "[" + ",".join(c.model_dump_json() for c in block) + "]"
        capture.ingest(store, batch_id=str(n), records=text, now=NOW)
    trending.write_days(store, now=NOW)
    report = seconds(lambda: trending.trends(store, domains=None, now=NOW))
    funnel = seconds(lambda: monitoring.funnel(store))
    store.close()
    tell("freshness report over 10,000 examples", report * 1e3, "ms", "funnel, ms", funnel * 1e3)
    assert report < 1


def test_the_demo_is_at_work_in_under_5_seconds(tmp_path: Path) -> None:
    began = time.perf_counter()
    demo = subprocess.Popen(
        [sys.executable, "-m", "tdsys", "demo"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TDSYS_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)},
    )
    assert demo.stdout
    for line in demo.stdout:
        if line.startswith("capture"):
            break
    started = time.perf_counter() - began
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)
    bare = seconds(
        lambda: subprocess.run(
            [sys.executable, "-m", "tdsys", "--help"], check=True, capture_output=True
        ),
        repeat=3,
    )
    tell("tdsys demo, until the first capture", started, "s", "tdsys --help, s", bare)
    assert started < 5
