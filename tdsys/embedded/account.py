"""Whom the servers run as: the caller, or `nobody` when the caller is root (Postgres refuses root).

The one rule: permissions of folders that are not ours stay as they are.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import NamedTuple

from tdsys.errors import ConfigurationError

OTHERS_MAY_ENTER = 0o001


class Account(NamedTuple):
    """An unprivileged user to drop to."""

    uid: int
    gid: int


def service_account() -> Account | None:
    """`nobody` for root; None where there is nothing to drop."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigurationError(
            "Postgres refuses to run as root, and there is no user nobody to run it as",
            remedy="run tdsys as an ordinary user, or set TDSYS_DATABASE_URL and TDSYS_REDIS_URL",
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def closed_folder(path: Path) -> Path | None:
    """The first folder on the way to `path` that other users may not enter."""
    way = [*reversed(path.parents), path]
    closed = (at for at in way if at.is_dir() and not at.stat().st_mode & OTHERS_MAY_ENTER)
    return next(closed, None)


def own_folder(path: Path, account: Account | None) -> None:
    """Make `path` a 0700 folder of `account`; its parents keep owner and mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account:
        os.chown(path, *account)
    path.chmod(0o700)


def stand_in(folder: Path, account: Account | None) -> str:
    """The name under which a process started with cwd=`folder` reaches that folder.

    Root opens the cwd before it drops its rights, so `nobody` works in a folder it could not
    walk to (anything below a 0700 /root) and no parent has to be opened up for it.
    """
    return "/proc/self/cwd" if account else str(folder)
