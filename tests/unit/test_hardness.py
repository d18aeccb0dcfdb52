"""Which difficulty is harder than which."""

from __future__ import annotations

import pytest

from tdsys.core.hardness import beside, easier_first


@pytest.mark.parametrize(
    ("names", "listed", "order"),
    [
        (("hard", "easy", "very easy"), ("hard", "easy"), ["very easy", "easy", "hard"]),
        (("grade 10", "grade 9"), (), ["grade 9", "grade 10"]),
        (("novice", "expert"), ("novice", "adept", "expert"), ["novice", "expert"]),
        (("novice", "expert"), (), []),
        (("easy", "unrated"), (), []),
        (("grade 9", "level 3"), ("level 3", "grade 9"), ["level 3", "grade 9"]),
    ],
)
def test_difficulties_are_ordered_by_what_is_known_of_them_or_not_at_all(
    names: tuple[str, ...], listed: tuple[str, ...], order: list[str]
) -> None:
    assert easier_first(names, listed) == order


def test_the_nearest_comes_first_on_either_side() -> None:
    names = ("easy", "hard", "very easy", "very hard")
    assert beside("medium", names, (), harder=True) == ["hard", "very hard"]
    assert beside("medium", names, (), harder=False) == ["easy", "very easy"]
    assert beside("odd", names, (), harder=True) == []
