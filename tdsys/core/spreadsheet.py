"""Text in a CSV file that a spreadsheet opens: shown as text, never calculated.

One rule: what begins as a formula may begin gets an apostrophe before it, and so does what begins
with an apostrophe. So the way back needs no knowledge: whatever begins with an apostrophe loses it.
The list of beginnings is OWASP's ("CSV Injection").
"""

from __future__ import annotations

MARK = "'"
# Full-width forms are formulas to some spreadsheets; the last are dropped before they look.
BEGINNINGS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n", MARK)


def harmless(text: str) -> str:
    """The text as a spreadsheet may see it."""
    return MARK + text if text.startswith(BEGINNINGS) or text[:1].isspace() else text


def original(text: str) -> str:
    """What `harmless` was given."""
    return text.removeprefix(MARK)
