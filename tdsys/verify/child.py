"""The program of the guarded child: says whether two mathematical texts are equal.

One rule: it is run by path in isolated mode (`python -I child.py`) and reads hostile text, so it
imports nothing of tdsys, gives up every right before the first request, and may die at any time.

Requests and replies are JSON, one per line: `["x+1", "1+x"]` -> `"equal"`, `"unequal"` or a reason
why it cannot be said. The parent keeps the time; a request's CPU is bounded here as well, so that
a child whose parent was killed does not compute for ever.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import sys
import warnings
from typing import IO, Any

import sympy  # type: ignore[import-untyped]
from math_verify import LatexExtractionConfig, parse, verify

MEMORY = 1 << 30
CPU_SECONDS = 10
FILES = 16
SAME = 1e-9
DIFFERENT = 1e-6
SAMPLES = (
    ("0.7310585", "1.2039728", "2.7725887", "3.4657359"),
    ("5.1298987", "0.4054651", "1.9459101", "0.9162907"),
)
# `2pi` would be read as 2*p*i; LaTeX wants its names with a backslash.
_PLAIN_NAME = re.compile(
    r"(?<![\\A-Za-z])(sqrt|pi|sin|cos|tan|cot|sec|csc|log|ln|exp|infty)"
    r"(?![A-Za-z])"
)
_PLAIN_ROOT = re.compile(r"\\sqrt\s*\(([^()]*)\)")

# Marks by which math-verify would find a piece inside a text and take it for the whole.
_PIECES = re.compile(r"\$|\\[()\[\]]|\\boxed|answer|\\\Z", re.IGNORECASE)
_LATEX = (LatexExtractionConfig(),)


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    _read("1/2")  # the grammar's tables are built before the memory is capped
    _give_up_rights()
    _reply(replies, "ready")
    for line in sys.stdin:
        used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
        resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, resource.RLIM_INFINITY))
        left, right = json.loads(line)
        _reply(replies, _verdict(left, right))


def _give_up_rights() -> None:
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _reply(replies: IO[str], word: str) -> None:
    replies.write(json.dumps(word) + "\n")
    replies.flush()


def _verdict(left: str, right: str) -> str:
    try:
        return _compared(left, right)
    except RecursionError:
        return "too deep"
    except MemoryError:
        return "out of memory"
    except Exception as error:  # noqa: BLE001 - the libraries raise everything there is
        return f"not understood: {type(error).__name__}"


def _compared(left: str, right: str) -> str:
    a, b = _read(left), _read(right)
    if a is None or b is None:
        return "not parsed"
    # math-verify is not symmetric, rounds to six places, and "not proved equal" is its False:
    # both directions and a numerical second opinion are needed before anything is said.
    same = all(verify(x, y, timeout_seconds=None, raise_on_error=True) for x, y in ((a, b), (b, a)))
    apart = _distance(a, b)
    if same and (apart is None or apart < SAME):
        return "equal"
    if not same and apart is not None and apart > DIFFERENT:
        return "unequal"
    return "undecided"


def _read(text: str) -> Any:
    """The text as one expression; None where it is not one.

    LaTeX only: math-verify's reader of plain expressions calls sympy's `parse_expr`, an eval.
    """
    if _PIECES.search(text):
        return None
    latex = _PLAIN_ROOT.sub(r"\\sqrt{\1}", _PLAIN_NAME.sub(r"\\\1", text.replace("**", "^")))
    found = parse(
        f"${latex}$",
        _LATEX,
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
        raise_on_error=True,
    )
    return found[0] if found else None


def _distance(a: Any, b: Any) -> float | None:
    """The largest relative difference at the sample points; None where there is no number."""
    if not (isinstance(a, sympy.Expr) and isinstance(b, sympy.Expr)):
        return None
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    if len(symbols) > len(SAMPLES[0]):
        return None
    points = [dict(zip(symbols, map(sympy.Float, values), strict=False)) for values in SAMPLES]
    return max(
        _apart(complex(a.evalf(20, subs=point)), complex(b.evalf(20, subs=point)))
        for point in points
    )


def _apart(x: complex, y: complex) -> float:
    size = max(abs(x), abs(y))
    return abs(x - y) / size if size else 0.0


if __name__ == "__main__":
    main()
