"""A program that reads one file in one way, and prints the records, CPU seconds and peak MiB."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tdsys.parsing import Asked, Flaw, Format, records
from tests.reading import CSV, JSON, JSONL, YAML, peak


def ours(path: Path) -> int:
    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(2**20):
                yield piece

    return sum(not isinstance(one, Flaw) for one in records(pieces(), Asked()))


def json_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(bool(json.loads(line)) for line in file)


def json_whole(path: Path) -> int:
    with path.open("rb") as file:
        return len(json.load(file))


def csv_rows(path: Path) -> int:
    with path.open(newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def yaml_part(path: Path) -> int:
    """The first records only: this loader is slow, and holds all that it has read."""
    with path.open() as file:
        part = file.read(3 * 2**20)
    loader = yaml.CSafeLoader(part[: part.rindex("\n- id")])
    return len(loader.get_single_data())


BASELINES: dict[Format, tuple[str, Callable[[Path], int]]] = {
    JSONL: ("json.loads of each line", json_lines),
    JSON: ("json.load of the whole", json_whole),
    CSV: ("csv.reader", csv_rows),
    YAML: ("yaml.CSafeLoader of 3 MB", yaml_part),
}


def main(way: str, path: str) -> None:
    """Print what reading the file cost."""
    read = ours if way == "ours" else BASELINES[Format(way)][1]
    began = time.process_time()
    good = read(Path(path))
    print(json.dumps([good, time.process_time() - began, peak()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
