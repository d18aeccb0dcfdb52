"""What stays of a problem when its numbers and names are exchanged: its template.

One rule: numbers and names never distinguish two problems here; whether they are equal to the
letter is the fingerprint's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from tdsys.core.example import level
from tdsys.core.remembering import Remembered

# A piece's tokens inside a sentence, at the start of one, and whether one starts after it.
Levelled = tuple[str, str, bool]
# What a word is in a template, and what it says: the same but for numbers and names.
Token = tuple[str, str]

_NUMBER, _NAME = "#", "@"
_TOKEN = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+|[^\W\d_]+|[-+*/=<>^]|[.?!:]")
_NUMBER_WORDS = frozenset(
    {
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
        "thirty",
        "forty",
        "fifty",
        "sixty",
        "seventy",
        "eighty",
        "ninety",
        "hundred",
        "thousand",
        "million",
    }
)
_STARTERS = frozenset(
    {
        "a",
        "after",
        "all",
        "also",
        "an",
        "and",
        "another",
        "any",
        "are",
        "as",
        "at",
        "before",
        "both",
        "but",
        "by",
        "calculate",
        "compute",
        "determine",
        "does",
        "during",
        "each",
        "every",
        "find",
        "first",
        "for",
        "from",
        "given",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "if",
        "in",
        "is",
        "it",
        "its",
        "later",
        "let",
        "many",
        "next",
        "no",
        "not",
        "now",
        "of",
        "on",
        "once",
        "one",
        "only",
        "or",
        "other",
        "our",
        "out",
        "over",
        "she",
        "since",
        "so",
        "some",
        "solve",
        "suppose",
        "than",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "together",
        "today",
        "two",
        "under",
        "until",
        "up",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "why",
        "will",
        "with",
        "write",
        "yesterday",
        "you",
        "your",
        "i",
    }
)


def template(text: str) -> str:
    """A text's words in lower case, numbers and names exchanged for signs, no punctuation."""
    known = _SHOUTED if text.isupper() else _SPOKEN
    return joined([known[piece] for piece in text.split()])


def joined(pieces: Iterable[Levelled]) -> str:
    """The template of a text out of its pieces."""
    written: list[str] = []
    starts = True
    for inside, at_start, ends in pieces:
        if inside:
            written.append(at_start if starts else inside)
            starts = ends
        elif ends:
            starts = True
    return " ".join(written)


def levelled(piece: str, *, named: bool = True) -> Levelled:
    """What a piece of text between blanks adds to a template; in capitals none is `named`."""
    inside, at_start, ends = tokens(piece, named=named)
    return " ".join([sign for sign, _ in inside]), " ".join([sign for sign, _ in at_start]), ends


def tokens(piece: str, *, named: bool = True) -> tuple[list[Token], list[Token], bool]:
    """A piece's tokens inside a sentence, at the start of one, and whether one starts after it."""
    inside: list[Token] = []
    at_start: list[Token] = []
    starts, may_start = False, True
    for word in _TOKEN.findall(piece):
        if word in ".?!:":
            starts = may_start = True
            continue
        inside.append(_token(word, named=named, starts=starts))
        at_start.append(_token(word, named=named, starts=may_start))
        starts = may_start = False
    return inside, at_start, starts


_SPOKEN = Remembered(levelled)
# In a text in capitals nothing shows what is a name.
_SHOUTED = Remembered(partial(levelled, named=False))


def _token(word: str, *, named: bool, starts: bool) -> Token:
    low = level(word)
    if word[0].isdigit() or word[0] == ".":
        return _NUMBER, word.replace(",", "")
    if low in _NUMBER_WORDS:
        return _NUMBER, low
    is_name = named and word[0].isupper() and len(word) > 1 and not (starts and low in _STARTERS)
    return _NAME if is_name else low, low
