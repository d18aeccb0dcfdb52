"""One way to hand a 2 KB example over, measured in a process of its own.

`python -m tests.bench.producing WAY URL`: prints JSON; times in microseconds.
"""

from __future__ import annotations

import json
import os
import queue
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from redis import Redis

from tdsys.client import CaptureClient, Serialiser

PROBLEM: dict[str, Any] = {
    "domain": "word problems",
    "inputs": {"topic": "linear equations", "difficulty": "easy", "context": "a bakery"},
    "outputs": {
        "problem": "A bakery sells \\frac{3}{4} of its " * 20,
        "solution": "First <<3*12=36>>36, then \\( x^{2} \\) " * 25,
        "answer": "36",
        "hints": ["Look at the first sentence."] * 3,
    },
    "metadata": {"generator": "v7", "model": "openai/gpt-5-mini", "temperature": 0.7},
}
LOOP = 5000
PACED = 400
GAP_SECONDS = 0.01
PROBLEM_SECONDS = 1e-3
# Two ticks of the shipper, so that what it costs is part of it.
SLICE_SECONDS = 1.0
LONGEST_SETTLING = 10.0
PAIRS = 30
Hand = Callable[[], object]


def nothing(_url: str) -> Hand:
    return lambda: None


def put(_url: str) -> Hand:
    waiting: queue.Queue[object] = queue.Queue()
    return lambda: waiting.put(PROBLEM)


def dump(_url: str) -> Hand:
    return lambda: json.dumps(PROBLEM)


def push(url: str) -> Hand:
    broker: Redis = Redis.from_url(url)
    text = json.dumps(PROBLEM)

    def hand() -> None:
        with broker.pipeline(transaction=False) as pipe:
            pipe.rpush("bench", text)
            pipe.execute()

    return hand


def span(_url: str) -> Hand:
    """As people do it with OpenTelemetry; its exporter does nothing, which is in its favour."""
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("bench")

    def hand() -> None:
        with tracer.start_as_current_span("capture") as span:
            for name, part in PROBLEM.items():
                span.set_attribute(name, part if isinstance(part, str) else json.dumps(part))

    return hand


class Capture:
    """Our own client."""

    def __init__(self, url: str) -> None:
        self.client = CaptureClient(url)

    def __call__(self) -> None:
        self.client.capture(**PROBLEM)

    def close(self) -> float:
        """Seconds until it is closed."""
        began = time.perf_counter()
        self.client.close()
        return time.perf_counter() - began


def without_orjson(url: str) -> Hand:
    hand = Capture(url)
    hand.client._serialise = Serialiser()
    return hand


WAYS: dict[str, Callable[[str], Hand]] = {
    **{way.__name__: way for way in (nothing, put, dump, push, span)},
    "ours": Capture,
    "ours_plain": without_orjson,
}


def paced(hand: Hand) -> tuple[float, float]:
    """p50 and p99 of one call at 100 a second: with cold caches, as in a real generator."""
    times = []
    for _ in range(PACED):
        time.sleep(GAP_SECONDS)
        began = time.perf_counter()
        hand()
        times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    return times[PACED // 2], times[PACED * 99 // 100]


def loop(hand: Hand) -> float:
    """Mean of one call among 5,000."""
    began = time.perf_counter()
    for _ in range(LOOP):
        hand()
    return (time.perf_counter() - began) * 1e6 / LOOP


def kept(hand: Hand) -> float:
    """The share of its throughput that a generator of a problem a millisecond keeps."""
    work = calibrated()
    shares = []
    for turn in range(PAIRS):
        # A machine that speeds up or slows down meanwhile favours each as often.
        order = (nothing_at_all, hand) if turn % 2 else (hand, nothing_at_all)
        problems = {each: made(each, work) for each in order}
        shares.append(problems[hand] / problems[nothing_at_all])
    return statistics.median(shares)


def nothing_at_all() -> None:
    """What a generator without capturing does with a problem."""


def calibrated() -> int:
    """How many squares this machine adds in the time of a problem."""
    tried = 20_000
    began = time.perf_counter()
    sum(n * n for n in range(tried))
    return int(tried * PROBLEM_SECONDS / (time.perf_counter() - began))


def made(hand: Hand, work: int) -> int:
    """Problems made in a slice of time; afterwards what still works on them may finish."""
    until = time.perf_counter() + SLICE_SECONDS
    count = 0
    while time.perf_counter() < until:
        sum(n * n for n in range(work))
        hand()
        count += 1
    if isinstance(hand, Capture):
        hand.client.flush(LONGEST_SETTLING)
    return count


def main(way: str, url: str, *also: str) -> None:
    os.environ["TDSYS_SPOOL_DIR"] = tempfile.mkdtemp()
    hand = WAYS[way](url)
    hand()
    found: dict[str, Any] = {}
    if "kept" in also:
        found["kept"] = kept(hand)
    else:
        found["p50"], found["p99"] = paced(hand)
        found["mean"] = loop(hand)
    if isinstance(hand, Capture):
        found["close"] = hand.close()
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    # no exit handler of anybody's: it is not what is measured
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
