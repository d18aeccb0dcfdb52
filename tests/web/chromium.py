"""Debian's Chromium: found, installed where that is allowed, or a reason why there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
INSTALL_SECONDS = 240


def path() -> str | None:
    """Where it is, if it is here."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def must_be_here() -> bool:
    """Whether tests in the browser may not be passed over."""
    return may_install() or bool(os.environ.get("CI"))


def install() -> str:
    """Install it by apt and say so; what went wrong, if anything did."""
    sys.stderr.write("\nChromium is missing: apt-get install chromium (about a minute)\n")
    sys.stderr.flush()
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (
        ["update", "-qq"],
        ["install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        try:
            done = subprocess.run(
                ["apt-get", *words], env=env, capture_output=True, text=True, check=False,
                timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"apt-get {words[0]} took more than {INSTALL_SECONDS} s"
        if done.returncode:
            return f"apt-get {words[0]}: {done.stderr.strip()[-300:]}"
    return ""
