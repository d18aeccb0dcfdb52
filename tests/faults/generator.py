"""A generator of problems: `python -m tests.faults.generator LEDGER DOMAIN SPOOL`, until SIGTERM.

It notes a capture in its ledger once `capture` has returned. If it dies between the two, a capture
more than the ledger knows may be stored; had it noted first, one it never made would be missed.
What a process has written survives its own kill -9, so nothing is synced.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tdsys.client import CaptureClient, shipping

PER_SECOND = 40
COPY_EVERY = 20
# The real ones wait six seconds, five and sixty, which a test of twenty faults cannot.
shipping.RESEND_SECONDS = 1.0
shipping.LONGEST_FAILING_SECONDS = 1.0
shipping.ADOPT_SECONDS = 1.0


def problem(domain: str, n: int) -> dict[str, Any]:
    return {
        "domain": domain,
        "inputs": {"topic": "sums", "difficulty": "easy"},
        "outputs": {
            "problem": f"In {domain}, what is {n} + 1?",
            "solution": f"<<{n}+1={n + 1}>>{n + 1}",
            "answer": str(n + 1),
        },
    }


def noted(ledger: Path) -> int:
    """How far the ledger got, when its writer was killed; a torn line ends here."""
    if not ledger.exists():
        return 0
    whole = ledger.read_bytes().rpartition(b"\n")[0]
    ledger.write_bytes(whole + b"\n" if whole else b"")
    return int(json.loads(whole.splitlines()[-1])["n"]) + 1 if whole else 0


def main(ledger: Path, domain: str, spool: Path) -> None:
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    client = CaptureClient(spool_dir=spool)
    n = noted(ledger)
    with ledger.open("ab", buffering=0) as notes:
        while not told.wait(1 / PER_SECOND):
            dropped = client.stats().dropped
            # Now and then the same problem twice, as generators do.
            id_ = client.capture(**problem(domain, n - 1 if n % COPY_EVERY == 1 else n))
            if client.stats().dropped == dropped:
                notes.write(json.dumps({"capture_id": id_, "n": n}).encode() + b"\n")
            n += 1
    while client.flush(1).pending:
        pass
    print(json.dumps(client.stats()._asdict()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
