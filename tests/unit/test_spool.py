"""The spool on the disk: what it hands out, what it leaves behind, and who may take it over."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsys.client import BATCH_BYTES, BATCH_RECORDS, FileSpool, MemorySpool, Spool, Unfit
from tdsys.client.folders import WriterFolder, is_alive, writers_in
from tdsys.client.spool import Batch, Lost, root_for


def record(n: int, size: int = 0) -> bytes:
    return json.dumps({"n": n, "x": "y" * size}).encode()


def taken(spool: Spool, *, forget: bool = True) -> list[int]:
    """The numbers of all records the spool hands out, batch by batch."""
    numbers: list[int] = []
    while (found := spool.take()) is not None:
        batch, text = found[0], bytes(found[1])
        listed = json.loads(text)
        assert len(listed) == batch.size
        assert bytes(spool.again(batch)) == text
        numbers += [one["n"] for one in listed]
        if forget:
            spool.forget(batch)
    return numbers


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def abandoned(root: Path, *numbers: int, tail: bytes = b"") -> Path:
    """What a killed process left: its folder, unlocked."""
    dead = FileSpool(root)
    for n in numbers:
        dead.append(record(n))
    (folder,) = [root / name for name in writers_in(str(root)) if not _held(root / name, dead)]
    with next(folder.glob("*.jsonl")).open("ab") as file:
        file.write(tail)
    dead.fresh()
    return folder


def _held(folder: Path, by: FileSpool) -> bool:
    return folder.name not in {one.name for one in by._folders}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_what_goes_in_comes_out_once_in_order_and_can_be_had_again(root: Path, kind: str) -> None:
    spool: Spool = FileSpool(root) if kind == "file" else MemorySpool()
    for n in range(1200):
        spool.append(record(n))
    assert spool.waiting() == 1200
    assert taken(spool) == list(range(1200))
    assert spool.waiting() == 0
    assert not spool.backlog()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 150_000), max_size=12))
def test_a_batch_is_bounded_in_records_and_bytes_whatever_their_sizes(sizes: list[int]) -> None:
    for spool in (MemorySpool(), FileSpool(_somewhere())):
        for n, size in enumerate(sizes):
            spool.append(record(n, size))
        while (found := spool.take()) is not None:
            batch, text = found
            assert batch.size <= BATCH_RECORDS
            assert len(text) <= BATCH_BYTES + 262_144
            spool.forget(batch)
        assert not spool.waiting()
        spool.tidy()


def _somewhere() -> Path:
    return Path(os.environ["TDSYS_SPOOL_DIR"])


def test_a_spool_that_was_shipped_leaves_nothing_on_the_disk(root: Path) -> None:
    spool = FileSpool(root)
    spool.append(record(1))
    assert files(root) == ["00000001.jsonl", "lock"]
    taken(spool)
    spool.tidy()
    assert not root.exists()
    spool.append(record(2))
    assert taken(spool) == [2]


def test_what_is_still_needed_stays(root: Path) -> None:
    spool = FileSpool(root)
    spool.append(record(1))
    taken(spool, forget=False)
    spool.tidy()
    assert files(root) == ["00000001.jsonl", "lock"]


def test_only_the_user_may_read_what_waits(root: Path) -> None:
    spool = FileSpool(root)
    spool.append(record(1))
    paths = [root, *root.rglob("*")]
    assert {oct(p.stat().st_mode & 0o777) for p in paths if p.is_dir()} == {"0o700"}
    assert {oct(p.stat().st_mode & 0o777) for p in paths if p.is_file()} == {"0o600"}


def test_a_full_file_is_followed_by_the_next_and_goes_when_it_is_committed(root: Path) -> None:
    spool = FileSpool(root)
    for n in range(60):
        spool.append(record(n, 200_000))
    assert files(root) == ["00000001.jsonl", "00000002.jsonl", "lock"]
    found = spool.take()
    while found and found[0].id.startswith(writers_in(str(root))[0] + "/00000001"):
        spool.forget(found[0])
        found = spool.take()
    assert files(root) == ["00000002.jsonl", "lock"]


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_spool_over_its_limit_keeps_what_it_has_and_takes_more_when_some_is_committed(
    root: Path, kind: str
) -> None:
    spool: Spool = FileSpool(root, limit=100) if kind == "file" else MemorySpool(100)
    with suppress(Unfit):
        for n in range(100):
            spool.append(record(n))
    kept = spool.waiting()
    assert 0 < kept < 10
    with pytest.raises(Unfit, match="spool_full"):
        spool.append(record(0))
    assert taken(spool) == list(range(kept))
    spool.append(record(7))
    assert taken(spool) == [7]


def test_an_abandoned_folder_is_taken_over_and_then_removed(root: Path) -> None:
    folder = abandoned(root, 1, 2)
    spool = FileSpool(root)
    spool.append(record(3))
    spool.adopt()
    assert spool.waiting() == 1
    assert taken(spool) == [3, 1, 2]
    assert not folder.exists()


def test_a_living_writers_folder_is_left_alone(root: Path) -> None:
    living, spool = FileSpool(root), FileSpool(root)
    living.append(record(1))
    spool.adopt()
    assert not spool.backlog()
    assert taken(living) == [1]


def test_two_that_find_the_same_folder_never_both_take_it_over(root: Path) -> None:
    abandoned(root, 1)
    first, second = FileSpool(root), FileSpool(root)
    first.adopt()
    second.adopt()
    assert (taken(first), taken(second)) == ([1], [])


def test_who_dies_while_shipping_anothers_records_leaves_them_to_the_next(root: Path) -> None:
    abandoned(root, 1)
    first, second = FileSpool(root), FileSpool(root)
    first.adopt()
    assert taken(first, forget=False) == [1]
    first.fresh()  # as a death does, it lets the lock go
    second.adopt()
    assert taken(second) == [1]


@pytest.mark.parametrize(
    ("tail", "sound"),
    [
        (b'{"n": 3, "x"', []),
        (b'{"n": 3}', []),
        (b"\x00" * 5000, []),
        (b"\x00" * 900_000 + b'\n{"n": 4}\n', [4]),
        (b'garbage\n{"n": 4}\n', [4]),
        (b'{"n": 3\n"m": 1}\n{"n": 4}\n', [4]),
        (b"\xff\xfe\n\n" + b"[" * 100_000 + b'\n{"n": 4}\n', [4]),
    ],
    ids=["torn", "unfinished", "zeros", "zeros between", "garbage", "one in two lines", "nonsense"],
)
def test_what_a_killed_writer_or_a_power_cut_left_half_written_spoils_nothing_else(
    root: Path, tail: bytes, sound: list[int]
) -> None:
    folder = abandoned(root, 1, 2, tail=tail)
    spool = FileSpool(root)
    spool.adopt()
    assert taken(spool) == [1, 2, *sound]
    assert not spool.backlog()
    assert not folder.exists()


def test_an_empty_abandoned_folder_is_removed(root: Path) -> None:
    folder = abandoned(root, 1)
    next(folder.glob("*.jsonl")).write_bytes(b"")
    FileSpool(root).adopt()
    assert not folder.exists()


def test_more_than_the_limit_allows_is_not_taken_over_before_there_is_room(root: Path) -> None:
    abandoned(root, *range(10))
    spool = FileSpool(root, limit=190)
    spool.append(record(99))
    spool.adopt()
    assert taken(spool) == [99]
    spool.adopt()
    assert taken(spool) == list(range(10))


@pytest.mark.parametrize("name", ["notes", "1-2", "123-0123456789abcdef.bak"])
def test_what_is_not_a_writers_folder_is_never_touched(root: Path, name: str) -> None:
    other = root / name
    other.mkdir(parents=True)
    (other / "00000001.jsonl").write_bytes(record(1) + b"\n")
    spool = FileSpool(root)
    spool.adopt()
    assert not spool.backlog()
    assert files(root) == ["00000001.jsonl"]


def test_a_link_in_place_of_a_folder_or_a_file_is_not_followed(root: Path) -> None:
    elsewhere = abandoned(root / "elsewhere", 1)
    (root / "77-0123456789abcdef").symlink_to(elsewhere)
    folder = abandoned(root, 2)
    (folder / "00000009.jsonl").symlink_to(next(elsewhere.glob("*.jsonl")))
    spool = FileSpool(root)
    spool.adopt()
    assert taken(spool) == [2]
    assert files(elsewhere) == ["00000001.jsonl", "lock"]


def test_a_folder_that_is_cleared_away_under_our_feet_loses_nothing_while_we_live(
    root: Path,
) -> None:
    spool = FileSpool(root)
    warned: list[str] = []
    spool.warn = lambda _kind, sentence: warned.append(sentence)
    spool.append(record(1))
    shutil.rmtree(root)
    spool.append(record(2))
    spool.adopt()
    spool.append(record(3))
    assert "cleared" in warned[0]
    assert len(list(root.glob("*/*.jsonl"))) == 1
    assert sorted(taken(spool)) == [1, 2, 3]
    spool.tidy()
    assert not root.exists()


def test_a_disk_that_cannot_be_written_makes_captures_wait_in_memory(tmp_path: Path) -> None:
    root = tmp_path / "file" / "spool"
    root.parent.write_text("not a folder")
    spool = FileSpool(root)
    warned: list[str] = []
    spool.warn = lambda kind, sentence: warned.append(f"{kind}: {sentence}")
    spool.append(record(1))
    spool.append(record(2))
    assert len(warned) == 1
    assert "TDSYS_SPOOL_DIR" in warned[0]
    root.parent.unlink()
    spool.adopt()
    spool.append(record(3))
    assert files(root) == ["00000001.jsonl", "lock"]
    assert sorted(taken(spool)) == [1, 2, 3]


def test_records_that_vanish_before_they_are_read_are_counted_as_lost(root: Path) -> None:
    folder = abandoned(root, 1, 2)
    spool = FileSpool(root)
    spool.adopt()
    shutil.rmtree(folder)
    with pytest.raises(Lost):
        spool.take()
    assert spool.take() is None
    assert not spool.backlog()


def test_a_forked_child_begins_with_nothing_and_lets_go_of_its_parents_folder(root: Path) -> None:
    spool = FileSpool(root)
    spool.append(record(1))
    if (child := os.fork()) == 0:
        fresh = spool.fresh()
        fresh.append(record(2))
        os._exit(0 if taken(fresh) == [2] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert taken(spool) == [1]


def test_a_lock_is_not_kept_alive_by_a_child_of_the_dead(root: Path) -> None:
    spool = FileSpool(root)
    spool.append(record(1))
    (name,) = writers_in(str(root))
    (ended, end), (forked, tell) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        spool.fresh()
        os.write(tell, b"x")
        os.read(ended, 1)
        os._exit(0)
    os.read(forked, 1)
    for folder in spool._folders:
        folder.close()  # as our death would
    alive = is_alive(str(root / name))
    os.write(end, b"x")
    os.waitpid(child, 0)
    assert not alive


def test_a_new_folder_is_never_one_that_somebody_is_clearing_away(root: Path) -> None:
    made = [WriterFolder.create(str(root)) for _ in range(3)]
    assert len({folder.name for folder in made}) == 3
    assert all(folder.is_in_place for folder in made)
    made[0].remove()
    assert sorted(writers_in(str(root))) == sorted(folder.name for folder in made[1:])


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://:sec/ret@host:6379/0", "host-6379-0"),
        ("redis://:secret@host:6379/0", "host-6379-0"),
        ("rediss://user:sec%2Fret@h.example:6380/1?ssl_cert_reqs=none", "h.example-6380-1"),
        ("unix://:secret@/run/valkey.sock?db=2", "run-valkey.sock-db-2"),
        ("sentinel://:secret@one:26379,two:26379/name/0", "one-26379-two-26379-name-0"),
        ("", "nowhere"),
        ("nonsense", "nowhere"),
    ],
)
def test_each_broker_has_a_folder_of_its_own_whose_name_holds_no_password(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TDSYS_SPOOL_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert root_for(url) == f"/state/tdsys/spool/{name}"


def test_a_user_without_a_home_has_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TDSYS_SPOOL_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert root_for("redis://h") == ""


def test_records_of_any_form_come_back_as_they_were(root: Path) -> None:
    values: list[Any] = ["line\nbreak", "\u2028", "é", '"', "\\n", {"a": [1, None, True]}]
    spool = FileSpool(root)
    for value in values:
        spool.append(json.dumps(value, ensure_ascii=False).encode())
    found = spool.take()
    assert found
    assert json.loads(bytes(found[1])) == values


STEPS = st.lists(st.sampled_from(["append", "take", "commit", "tidy", "adopt", "die"]), max_size=60)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_in_whatever_order_every_record_is_handed_out_until_committed(
    steps: list[str],
) -> None:
    root = _somewhere()
    living: Spool = FileSpool(root)
    out: list[tuple[Batch, set[int]]] = []
    written, committed = 0, set[int]()
    for step in [*steps, "die", "adopt"]:
        if step == "append":
            living.append(record(written))
            written += 1
        elif step == "take" and (found := living.take()):
            out.append((found[0], {one["n"] for one in json.loads(bytes(found[1]))}))
        elif step == "commit" and out:
            batch, numbers = out.pop(0)
            living.forget(batch)
            committed |= numbers
        elif step == "die":
            living, out = living.fresh(), []
        elif step in {"tidy", "adopt"}:
            getattr(living, step)()
    left = taken(living)
    assert len(left) == len(set(left))
    # a batch that was committed may be handed out again by who takes over; its id tells
    assert set(left) | committed == set(range(written))
    living.tidy()
    assert not writers_in(str(root))
