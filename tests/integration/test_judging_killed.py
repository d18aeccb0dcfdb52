"""A scoring process is killed with kill -9, time and again: what was answered is paid once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from tdsys.core.policy import Policy
from tdsys.stages import policies
from tdsys.store import Store
from tests.factories import NOW, PROBLEM
from tests.integration.test_stages import captured, record, states
from tests.processes import wait_for
from tests.stub_provider import Behaviour, StubProvider

ROOT = Path(__file__).parents[2]
EXAMPLES = 60
WIDTH = 4
KILLS = 2
# Its clock runs ahead by the number given, so nobody waits for a dead one's lease.
WORKER = f"""
import sys
from datetime import UTC, datetime, timedelta
from tdsys.llm.judge import ModelJudge
from tdsys.llm.session import Model
from tdsys.stages.scoring import Limits, score_due
from tdsys.store import Store
from tdsys.verify import EvidenceVerifier
database, model, address, ahead = sys.argv[1:]
verifier = EvidenceVerifier()
judge = ModelJudge(Model(model, api_base=address, retries=0), width={WIDTH})
while score_due(
    Store(database), judge=judge, verifier=verifier, limits=Limits(20, timedelta(minutes=1), 5),
    clock=lambda: datetime.now(UTC) + timedelta(minutes=2 * int(ahead)),
).decided:
    pass
verifier.close()
"""


@contextmanager
def scoring(
    url: str, stub: StubProvider, folder: Path, turn: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A scoring process that shares nothing but the database with those before it."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, url, stub.model, stub.api_base, f"{turn}"],
        cwd=ROOT,
        env={**os.environ, "OPENAI_API_KEY": "x", "DSPY_CACHEDIR": str(folder / f"cache-{turn}")},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_what_was_answered_before_kill_9_is_not_paid_again(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    captured(store, [record(n, outputs={**PROBLEM, "problem": f"{PROBLEM['problem']} Day {n}."})
                     for n in range(EXAMPLES)])  # fmt: skip
    policies.put(store, domain="d", policy=Policy(audit_share=0), author="ann", now=NOW)
    killed_at = []
    with StubProvider(behaviour=Behaviour(latency=0.05)) as stub:
        for turn in range(KILLS):
            with scoring(database_url, stub, tmp_path, turn) as process:
                answers(stub, stub.answered + 12)
                process.kill()
                process.wait(20)
            wait_for(lambda: not stub.running, "the dead one's questions are over")
            killed_at.append(paid(store))
        with scoring(database_url, stub, tmp_path, KILLS) as process:
            assert process.wait(120) == 0
        asked = Counter(str(one["messages"][-1]["content"]) for one in stub.requests)
    assert len(asked) == EXAMPLES
    assert killed_at[0] > 0
    assert killed_at == sorted(set(killed_at))
    # What was on its way when somebody died, and nothing else, was asked once more.
    again = sum(times - 1 for times in asked.values())
    assert again <= KILLS * 2 * WIDTH
    assert again == stub.answered - EXAMPLES
    assert paid(store) == EXAMPLES
    assert "candidate" not in states(store)
    assert sum(states(store).values()) == EXAMPLES


def answers(stub: StubProvider, wanted: int) -> None:
    wait_for(lambda: stub.answered >= wanted, f"{wanted} answers", seconds=60)


def paid(store: Store) -> int:
    with store.begin() as tx:
        return int(tx.scalar(text("SELECT count(*) FROM judgements WHERE outcome = 'scored'")) or 0)
