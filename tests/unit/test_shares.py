"""What a block of calls took is told of those who were answered, and of none besides."""

from __future__ import annotations

import dspy
from hypothesis import given
from hypothesis import strategies as st

from tdsys.llm.session import Outcome
from tdsys.llm.synthesis import _shared

ANSWERED = Outcome(object(), None)
AWAY = Outcome(None, dspy.LMRateLimitError("429"))


@given(st.lists(st.booleans()), st.integers(0, 10**6))
def test_nothing_is_lost_and_who_was_not_answered_paid_nothing(
    came: list[bool], tokens: int
) -> None:
    answers = [ANSWERED if one else AWAY for one in came]
    shares = [paid for _, paid in _shared(answers, tokens, tokens / 2)]
    assert sum(one.tokens for one in shares) == (tokens if answers else 0)
    unanswered = [one.tokens for one, is_there in zip(shares, came, strict=True) if not is_there]
    assert not any(came) or not any(unanswered)
