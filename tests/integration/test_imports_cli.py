"""`tdsys imports` and who follows one: listed, followed, left alone and stopped."""

from __future__ import annotations

import json
import time
import uuid
from types import SimpleNamespace

import pytest

from tdsys import runtime
from tdsys.cli import importing as cli_importing
from tdsys.stages import importing
from tdsys.store import Store, imports
from tdsys.store.imports import Progress
from tests.commanding import Shell, one_line
from tests.factories import NOW
from tests.files import MAPPED, gsm8k, jsonl, uploaded
from tests.stored import LEASE


def waiting(store: Store, number: int = 1) -> uuid.UUID:
    """A file that is uploaded and not read."""
    return uploaded(store, jsonl([gsm8k(number)]), domain="sums", **MAPPED).import_id


def test_an_import_that_stands_still_while_a_worker_runs_says_what_it_waits_for(
    here: Store,
) -> None:
    first, now = waiting(here), runtime.current().now()
    with here.begin() as tx:
        assert imports.claim(tx, lease=LEASE, now=now)
    second = waiting(here, 2)
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        importing.cancel(here, import_id=second, actor="ann", clock=lambda: now)

    cli_importing.follow(second, patience=0.1, tell=tell)
    assert said == [f"nothing moves: it waits behind import {first} (in.jsonl, 0 records read)"]


def test_an_import_whose_worker_is_silent_says_when_its_lease_ends(here: Store) -> None:
    import_id = waiting(here)
    with here.begin() as tx:
        assert imports.claim(tx, lease=LEASE, now=NOW)
    now = NOW + LEASE / 4
    assert "its lease ends in 45 s" in importing.held_up(here, import_id=import_id, now=now)
    assert importing.held_up(here, import_id=import_id, now=NOW + LEASE) == ""


def test_records_that_are_counted_are_progress_wherever_the_file_is(here: Store) -> None:
    import_id = waiting(here)
    places = set()
    for progress in (Progress(9), Progress(9, checked=1), Progress(9, read=1, new=1)):
        with here.begin() as tx:
            imports.advance(tx, import_id=import_id, progress=progress, rejects=[], until=NOW)
        places.add(cli_importing.place(importing.status(here, import_id=import_id)))
    assert len(places) == 3


def test_imports_are_listed_and_an_open_one_is_cancelled_once(here: Store, tdsys: Shell) -> None:
    import_id = str(waiting(here))
    cancelled = tdsys("imports", "cancel", import_id[:8], "--json")
    assert (cancelled.code, cancelled.document["state"]) == (0, "failed")
    (listed,) = json.loads(tdsys("imports", "list", "--json").out)
    assert (listed["id"], listed["state"], listed["read"]) == (import_id, "failed", 0)
    assert listed["reason"].startswith("cancelled by ")
    assert "in.jsonl" in tdsys("imports", "list").out
    assert len(tdsys("imports", "list", "--domain", "sums", "--json").document) == 1
    assert tdsys("imports", "cancel", import_id).code == 3
    assert "there is no import 'zz'" in one_line(tdsys("imports", "cancel", "zz"))
    watched = tdsys("imports", "watch", import_id, "--json")
    assert (watched.code, watched.result["state"]) == (1, "failed")


def test_whoever_leaves_an_import_is_told_that_it_goes_on(
    here: Store, tdsys: Shell, process: pytest.MonkeyPatch
) -> None:
    def leave(_: float) -> None:
        raise KeyboardInterrupt

    import_id = waiting(here)
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=leave)
    process.setattr(cli_importing, "time", clock)
    said = tdsys("imports", "watch", str(import_id))
    assert said.code == 130
    assert f"import {import_id} goes on" in one_line(said)
    assert importing.status(here, import_id=import_id).state == "due"
