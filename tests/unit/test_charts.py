"""Charts say their numbers in words, hold no style, and no text becomes markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from markupsafe import Markup

from tdsys.web.charts import Dot, Reach, columns, dots, reaches, share, spread, trend

HOSTILE = '"><script>x</script>\u202e'


def charts(text: str) -> list[Markup]:
    return [
        columns([(text, 3), (text, 0)], title=text),
        spread([1] * 10, [0] * 10, limits=[(text, 0.5)], title=text),
        dots([Dot(0.5, 0.5, "full", text)], title=text),
        reaches([Reach(text, 0.1, 0.2, 0.3)], title=text),
        share(1, 2, says=text),
        trend([Reach(text, 0.1, 0.2, 0.3), Reach(text, 0.2, 0.3, 0.4)], title=text),
    ]


@pytest.mark.parametrize("number", range(6))
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


def test_nothing_is_drawn_as_nothing() -> None:
    assert "at most 0, 0 in all" in columns([], title="Stored")
    assert 'width="0.00"' in share(0, 0, says="0")
    assert 'height="0.0"' in spread([0] * 10, [0] * 10, limits=[], title="a")
