"""What is read of a problem's pieces is what is read of the whole."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tdsys.core import labelling, similarity
from tdsys.core.remembering import LONGEST_PIECE, MOST_PIECES, Remembered
from tdsys.core.wording import Wording

PIECES = st.sampled_from(
    ["Half", "HALF", "twice", "3/4", "$5", "hours.", "ſeconds", "times", "as", "Ann", "ann", "The",
     "TWO", "two", ".5", "3rd", "x_y", "İ", "ß", "apples", "apples,", "(apples)", "?", "!", "="]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map(" ".join))
PERCENT = r"%|\d/\d|\b(percent|half|twice|third|quarter|ratio|double|triple)|\btimes as"
CUES = (
    ("percent and ratio", PERCENT),
    ("money", r"\$|€|£|\b(dollars?|cents?|costs?|prices?|paid|earns?)\b"),
    ("time and speed", r"\b(hours?|minutes?|seconds?|days?|weeks?|months?|years?|miles?)\b"),
)


@given(TEXTS)
def test_a_topic_is_the_first_whose_words_the_text_holds(text: str) -> None:
    spoken = (name for name, cue in CUES if re.search(cue, text, re.IGNORECASE))
    assert labelling.topic(text) == next(spoken, "quantities")


@given(TEXTS)
def test_a_context_is_the_commonest_longer_words(text: str) -> None:
    found = [w for w in re.findall(r"\b[a-z]{4,}\b", text) if w not in labelling.PLAIN]
    expected = " and ".join(word for word, _ in Counter(found).most_common(2))
    assert labelling.context(text) == (expected or "everyday life")


@given(TEXTS)
def test_read_once_or_twice_a_problem_says_the_same(text: str) -> None:
    wording = Wording(text)
    assert wording.template() == similarity.template(text)
    assert wording.labels("<<1+1=2>>") == labelling.labels(text, "<<1+1=2>>")


def test_what_is_remembered_stays_small() -> None:
    asked: list[str] = []
    memory = Remembered(lambda piece: asked.append(piece))  # noqa: PLW0108  # it is a function
    for piece in ("a", "a", "b" * (LONGEST_PIECE + 1), "b" * (LONGEST_PIECE + 1)):
        memory[piece]
    assert [len(piece) for piece in asked] == [1, LONGEST_PIECE + 1, LONGEST_PIECE + 1]
    for number in range(2 * MOST_PIECES):
        memory[str(number)]
        assert len(memory) <= MOST_PIECES
