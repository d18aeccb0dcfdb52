"""The shipped canaries: a versioned file of examples whose worth is known."""

from __future__ import annotations

import json
from importlib.resources import files

from tdsys.core.canaries import Canary

FILE = "canaries_v1.jsonl"


def shipped() -> tuple[Canary, ...]:
    """Good ones, wrong ones, empty ones, and ones that talk to the judge."""
    lines = (files("tdsys.llm") / FILE).read_text(encoding="utf-8").splitlines()
    return tuple(Canary(**json.loads(line)) for line in lines)
