"""The command `tdsys`, also `python -m tdsys`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tdsys.core.printable import printable
from tdsys.errors import TdsysError

NOT_INSTALLED = (
    "this installation is the capture client only — for the service: "
    "pip install 'tdsys[server,embedded]'"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every expected error is one line and an exit code."""
    try:
        from tdsys.cli import cli  # noqa: PLC0415  # the client's installation has no click
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("tdsys"):
            raise
        sys.stderr.write(f"tdsys: {missing.name} is missing: {NOT_INSTALLED}\n")
        raise SystemExit(78) from None
    try:
        cli(args=arguments, prog_name="tdsys")
    except TdsysError as expected:
        sys.stderr.write(f"tdsys: {printable(str(expected))}\n")
        raise SystemExit(expected.exit_code) from None


if __name__ == "__main__":
    main()
