"""Charts say their numbers in words, hold no style, and no text becomes markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from markupsafe import Markup

from tdsys.web.charts import (
    Dot,
    Reach,
    Square,
    columns,
    dots,
    reaches,
    share,
    spread,
    squares,
    stacked,
    trend,
)

HOSTILE = '"><script>x</script>\u202e'


def charts(text: str) -> list[Markup]:
    return [
        columns([(text, 3), (text, 0)], title=text),
        spread([1] * 10, [0] * 10, limits=[(text, 0.5)], title=text),
        dots([Dot(0.5, 0.5, "full", text)], title=text),
        reaches([Reach(text, 0.1, 0.2, 0.3)], title=text),
        share(1, 2, says=text),
        trend([Reach(text, 0.1, 0.2, 0.3), Reach(text, 0.2, 0.3, 0.4)], title=text),
        stacked([(0, text, (0.5, 0.5))], slots=1, ends=[text], title=text),
        squares([(text, [Square(0.5, text, text), None])], names=[text, text], title=text),
    ]


@pytest.mark.parametrize("number", range(8))
def test_text_in_a_chart_stays_text(number: int) -> None:
    chart = charts(HOSTILE)[number]
    tree = ET.fromstring(chart)  # noqa: S314  # our own
    assert tree.get("role") == "img"
    assert "<script>x</script>" in (tree.get("aria-label") or "")
    assert not [node for node in tree.iter() if node.tag == "script" or node.get("style")]
    assert "\u202e" not in chart


def test_a_chart_says_its_numbers() -> None:
    assert "at most 3, 4 in all" in columns([("a", 3), ("b", 1)], title="Stored")
    assert "1, 2, 3" in spread([1, 2, 3], [0, 1, 1], limits=[], title="accuracy")
    assert "0.7 to 0.8: 5, admitted 2" in spread(
        [0] * 7 + [5, 0, 0], [0] * 7 + [2, 0, 0], limits=[], title="accuracy"
    )


def test_shares_stand_on_each_other_at_their_place_and_fill_the_height() -> None:
    chart = stacked([(0, "a", (1.0, 0.0)), (3, "b", (0.25, 0.75))], slots=4, ends=[], title="t")
    bars = [n.attrib for n in ET.fromstring(chart).iter("rect")]  # noqa: S314  # our own
    assert [one["class"] for one in bars] == ["part f0", "part f1"] * 2
    assert [float(one["x"]) for one in bars] == [1, 1, 481, 481]
    low, high = bars[2:]
    assert float(high["y"]) == 0
    assert float(high["y"]) + float(high["height"]) == pytest.approx(float(low["y"]))


def test_a_square_is_the_stronger_the_fuller_and_a_long_name_is_whole_in_its_title() -> None:
    name = "n" * 60
    chart = squares([(name, [Square(1.0, "9 of 9", "a"), Square(None, "2", "b")])],
                    names=["easy", "hard"], title="t")  # fmt: skip
    found = [n.get("fill-opacity") for n in ET.fromstring(chart).iter("rect")]  # noqa: S314
    assert found == ["0.40", "0.00"]
    assert f"<title>{name}</title>" in chart
    assert "9 of 9" in chart


def test_nothing_is_drawn_as_nothing() -> None:
    assert "at most 0, 0 in all" in columns([], title="Stored")
    assert 'width="0.00"' in share(0, 0, says="0")
    assert 'height="0.0"' in spread([0] * 10, [0] * 10, limits=[], title="a")
