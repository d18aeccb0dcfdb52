"""How much a word tells about which problem it stands in: the rarer, the more.

One rule: the weights are fixed, so what is like what depends on two texts alone, never on what
else is stored or on the order in which it came. They are logarithms of how many of GSM8K's
training problems (MIT, OpenAI) a word is in; a word that is in less than one of a hundred weighs
`RARE`, whatever it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RARE = 55
SIGN = 10

# In tenths of the natural logarithm of 1 / share, by the least share of problems they are in.
_COMMON = {
    0: (
        "a and are did does each for has have he his how if in is many much of on she that the to "
    ),
    20: (
        "all as at can day half her it money more number per s than there they times total "
        "twice was what will with "
    ),
    26: (
        "after amount an be bought but buy by cost costs days every first from get had hour "
        "hours left long make minutes need needs out second spend take takes their them then "
        "third this time up wants week were "
    ),
    34: (
        "also another average away back before both box brother buys calculate car class "
        "combined decided decides do dollars during earn eat end feet fewer friend friends "
        "gave gets go got him home house into last less made makes miles month new next not "
        "now off old only other over paid pay people pieces pounds price remaining rest same "
        "school sell sells so sold some spends spent store students together took use used "
        "uses water weeks went when which while who work would year years "
    ),
    43: (
        "able about additional age already altogether animals apples ate bag bags been "
        "between bill birthday blue book books boxes buying candy cars cents change charges "
        "children collection company contains cookies could cups currently different dinner "
        "discount distance dog dogs double down dozen eats eggs enough entire equal equally "
        "family far farm fill finish fish food fourth full gallons game games give gives goes "
        "going green hold inches its large local lunch making minute months morning mother "
        "must night older or oranges order ounces owns pack packs pages pair pairs party pays "
        "percent percentage person points pound profit put quarter rate read receive received "
        "red run runs sale save selling set shirts shop should sister slices small speed "
        "square start started still t tall team these those through tickets today tree trip "
        "weighs weight where whole working works worth you "
    ),
}
# Of one character, of two, of more.
_NUMBERS = (35, 45, RARE)
WEIGHTS: Mapping[str, int] = MappingProxyType(
    {word: weight for weight, words in _COMMON.items() for word in words.split()}
)


def weight(token: str) -> int:
    """The weight of a template's token; numbers, names and operators are signs."""
    if not token[0].isalpha():
        return SIGN
    return WEIGHTS.get(token, RARE)


def number_weight(digits: str) -> int:
    """The weight of a number: the more is written of it, the rarer it is."""
    return _NUMBERS[min(len(digits), len(_NUMBERS)) - 1]
