"""Text from outside, made safe to show to a person."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    r"""The text with what a terminal would obey or hide written out: ESC is `\x1b`.

    That is every control and format character, line ends too: an echoed text stays on its line.
    """
    return "".join(c if _shows(c) else c.encode("unicode_escape").decode() for c in text)


def _shows(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"
