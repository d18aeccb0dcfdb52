"""Debian's Chromium: found, installed where that is allowed, or a reason why there is none."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
INSTALL_SECONDS = 130  # each of two steps, before pytest ends the test that waits


def path() -> str | None:
    """Where it is, if it is here."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def must_be_here() -> bool:
    """Whether tests in the browser may not be passed over."""
    return may_install() or bool(os.environ.get("CI"))


def install() -> str:
    """Install it by apt and say so; what went wrong, if anything did.

    Test processes wait for each other: apt serves one at a time.
    """
    with (Path(tempfile.gettempdir()) / "tdsys-tests-apt").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path():
            return ""
        sys.stderr.write("\nChromium is missing: apt-get install chromium (about a minute)\n")
        sys.stderr.flush()
        packages = ["-y", "-qq", "--no-install-recommends", "chromium"]
        return _apt("update", "-qq") or _apt("install", *packages)


def _apt(*words: str) -> str:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", *words]
    try:
        done = subprocess.run(
            command,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"apt-get {words[0]} took more than {INSTALL_SECONDS} s"
    return f"apt-get {words[0]}: {done.stderr.strip()[-300:]}" if done.returncode else ""
