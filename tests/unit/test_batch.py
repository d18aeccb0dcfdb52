"""What the attempts of a batch have come to, and what it lacks after them."""

from __future__ import annotations

import pytest

from tdsys.core.batch import Tally, is_lost, standing
from tdsys.core.lifecycle import State


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("is_manual", [False, True])
def test_a_portion_is_woken_for_just_what_it_lacks_after_a_decision(
    state: State, *, is_manual: bool
) -> None:
    one = standing([Tally(1, "s", state, None, 1)])
    assert one.lacking(1, is_manual=is_manual) == int(is_lost(state, is_manual=is_manual))
