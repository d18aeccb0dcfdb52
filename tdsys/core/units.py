"""Units of measure that answers are stated in, and what they are worth.

One rule: only a unit in this table is ever converted; any other word is compared as a word.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """A canonical unit: what it measures and how many base units it holds; 0 if unknown."""

    measures: str
    size: Fraction


BARE = Unit("", Fraction(1))
PERCENT = Unit("percent", Fraction(1, 100))

# International yard and pound agreement (1959): 1 in = 25.4 mm, 1 lb = 453.59237 g;
# US customary volume: 1 gallon = 231 cubic inches = 3785.411784 ml.
_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "mm millimeter millimetre": "1/1000",
        "cm centimeter centimetre": "1/100",
        "dm decimeter decimetre": "1/10",
        "m meter metre": "1",
        "km kilometer kilometre": "1000",
        "in inch inche": "0.0254",
        "ft foot feet": "0.3048",
        "yd yard": "0.9144",
        "mi mile": "1609.344",
    },
    "mass": {
        "mg milligram": "1/1000",
        "g gram gramme": "1",
        "kg kilogram kilo": "1000",
        "t ton tonne": "1000000",
        "oz ounce": "28.349523125",
        "lb pound": "453.59237",
    },
    "time": {
        "ms millisecond": "1/1000",
        "s sec second": "1",
        "min minute": "60",
        "h hr hour": "3600",
        "day": "86400",
        "week": "604800",
    },
    "volume": {
        "ml milliliter millilitre": "1/1000",
        "cl centiliter centilitre": "1/100",
        "l liter litre": "1",
        "gal gallon": "3.785411784",
        "qt quart": "0.946352946",
        "pt pint": "0.473176473",
        "cup": "0.2365882365",
    },
    "dollar": {"$ usd dollar": "1", "¢ cent": "1/100"},
    "euro": {"€ eur euro": "1"},
    "pound": {"£ gbp": "1", "pence penny": "1/100"},
    "yen": {"¥ jpy yen": "1"},
    "rupee": {"₹ inr rupee": "1"},
    "angle": {"° deg degree": "1"},
    "percent": {"% percent": "1/100"},
}
_UNITS = {
    name: Unit(measures, Fraction(size))
    for measures, row in _TABLE.items()
    for names, size in row.items()
    for name in names.split()
}
_SHAPE = re.compile(
    r"(?P<power>square|sq\.?|cubic|cu\.?)?\s*(?P<name>[^\W\d²³]+|[%$€£¥₹¢°])\s*"
    r"(?:(?:\^|\*\*)?\{?(?P<exponent>[23²³])\}?)?"
)
_POWERS = {"2": 2, "²": 2, "sq": 2, "square": 2, "3": 3, "³": 3, "cu": 3, "cubic": 3}


def unit(text: str) -> Unit:
    """The unit a casefolded word or sign names; an unknown one measures only itself."""
    word = " ".join(text.replace("per cent", "percent").split())
    if not word:
        return BARE
    shape = _SHAPE.fullmatch(word)
    known = shape and _named(shape["name"])
    if not shape or not known:
        return Unit(word.removesuffix("s"), Fraction(0))
    power = _POWERS.get((shape["power"] or shape["exponent"] or "").rstrip("."), 1)
    if power == 1:
        return known
    return Unit(f"{known.measures}^{power}", known.size**power)


def sizes(measures: str) -> set[Fraction]:
    """How large the known units of one kind are; squares and cubes included."""
    kind, _, power = measures.partition("^")
    return {u.size ** int(power or 1) for u in _UNITS.values() if u.measures == kind}


def _named(name: str) -> Unit | None:
    return _UNITS.get(name) or _UNITS.get(name.removesuffix("s"))
