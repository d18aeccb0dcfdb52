"""The whole loop on one machine with one command, with a picture of what came out."""

from tdsys.demo.story import run

__all__ = ["run"]
