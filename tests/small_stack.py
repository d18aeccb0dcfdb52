"""A stack with the real servers and stand-ins for the workers: `python -m tests.small_stack HOME`.

It runs until it is told to stop, as `tdsys up` does, and starts in a quarter of a second.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tdsys.embedded.programs import Program
from tdsys.embedded.stack import Stack
from tdsys.errors import TdsysError

READY = "import time; print('here I am', flush=True); time.sleep(600)"
# ends twice, then stays
CRASHING = (
    "import pathlib, sys; counter = pathlib.Path('crashes'); "
    "n = len(counter.read_text()) if counter.exists() else 0; counter.write_text('x' * (n + 1)); "
    "n < 2 and sys.exit('RuntimeError: crash number %d' % n); " + READY
)
# its child is tied to it before it is ready: what is not tied yet would outlive it
PARENT = (
    "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', "
    '"import ctypes, time; ctypes.CDLL(None).prctl(1, 9); print(1, flush=True); time.sleep(600)"], '
    "stdout=subprocess.PIPE); p.stdout.readline(); " + READY
)


def stand_in(name: str, code: str = READY) -> Program:
    return Program(name, ("-c", code), said_when_ready="here I am")


def main(home: Path) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = (stand_in("worker-a"), stand_in("worker-b", PARENT))
    try:
        with Stack(home, env=os.environ, migrate=None, run=run, report=print) as stack:
            stack.run_forever()
    except TdsysError as expected:
        sys.stderr.write(f"tdsys: {expected}\n")
        raise SystemExit(expected.exit_code) from None
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
