"""Statistics: mean, median, range."""

from __future__ import annotations

import statistics
from fractions import Fraction

from tdsys.reference.steps import Expression, Number, Redraw, total
from tdsys.reference.tale import Kind, Outcome, Tale
from tdsys.reference.topic import Topic

DOMAIN = "statistics"


def _listed(numbers: list[Number]) -> str:
    """The numbers as they stand in a sentence."""
    return ", ".join(number.text for number in numbers[:-1]) + f" and {numbers[-1]}"


def _values(t: Tale, low: int, high: int, size: int) -> list[Number]:
    return [t.whole(low, high) for _ in range(size)]


MEAN = Topic(
    DOMAIN,
    "mean",
    ("mean", "average"),
    (
        "The mean is the sum of the values divided by how many values there are.",
        "If every value were the same, the mean would be that value.",
        "From a mean and the number of values you can get back to their sum.",
        "The mean lies between the smallest and the largest value.",
    ),
)


def _with_whole_mean(t: Tale, size: int) -> list[Number]:
    values = _values(t, 12, 60, size - 1)
    rest = -sum(v.n for v in values) % size
    return [*values, t.given(rest + size * t.rng.randint(3, 12))]


def _per_day(value: Number, t: Tale, *asks: str) -> Outcome:
    return Outcome(Kind.RATE, value, asks, t.c.items, t.c.item, per="day", base=Kind.COUNT)


@MEAN.story(steps=2)
def _mean_of_list(t: Tale) -> Outcome:
    c, size = t.c, t.rng.randint(4, 6)
    values = _with_whole_mean(t, size)
    n, listed = t.given(size), _listed(values)
    t.tell(
        f"On {n} days, {listed} {c.items} are used {c.at}. {t.who} plans with the mean per day.",
        f"{t.friend} keeps a diary of {c.items} {c.at}: {listed} on {n} days. The mean per day "
        f"matters.",
        f"The daily numbers of {c.items} {c.at} were {listed}. For these {n} days the mean is "
        f"taken.",
        f"A chart {c.at} has {n} bars for {n} days with the heights {listed}, which stand for "
        f"{c.items}. {t.third} draws a line at the mean.",
    )
    every = t.step(f"The sum is # {c.items}.", total(*values))
    mean = t.step(f"The mean is # {c.items} per day.", every / n)
    t.prove(mean, Fraction(statistics.mean([v.n for v in values])))
    asks = (f"What is the mean number of {c.items} per day?", "How large is the mean?")
    return _per_day(mean, t, *asks)


@MEAN.story(steps=1)
def _mean_from_sum(t: Tale) -> Outcome:
    c, n = t.c, t.whole(5, 14)
    every = t.given(n.n * t.rng.randint(12, 45))
    t.tell(
        f"In {n} days, {every} {c.items} are needed {c.at}. {t.who} works out the mean per day.",
        f"The total of {n} daily counts {c.at} is {every} {c.items}, and {t.third} is interested "
        f"in the mean.",
        f"{every} {c.items} went through the hands of {t.friend} {c.at} within {n} days; the mean "
        f"per day is asked for.",
    )
    mean = t.step(f"The mean is # {c.items} per day.", every / n)
    t.prove(every, sum((mean.n,) * n.n))
    return _per_day(mean, t, f"What is the mean number of {c.items} per day?", "Find the mean.")


@MEAN.story(steps=1)
def _sum_from_mean(t: Tale) -> Outcome:
    c, n, mean = t.c, t.whole(5, 14), t.whole(15, 60)
    t.tell(
        f"For {n} days the mean {c.at} was {mean} {c.items} per day. {t.who} wants the sum.",
        f"{t.friend} only remembers that a mean of {mean} {c.items} arrived per delivery {c.at} "
        f"and that there were {n} deliveries.",
    )
    every = t.step(f"The sum is # {c.items}.", n * mean)
    t.prove(mean, Fraction(every.n, n.n))
    asks = (f"How many {c.items} is that altogether?", f"What is the sum of the {c.items}?")
    return Outcome(Kind.COUNT, every, asks, c.items, c.item)


@MEAN.story(steps=3)
def _missing_value(t: Tale) -> Outcome:
    c, size = t.c, t.rng.randint(4, 5)
    known = _values(t, 20, 50, size - 1)
    n, mean = t.given(size), t.whole(30, 52)
    t.tell(
        f"The mean of {n} daily counts of {c.items} {c.at} is {mean}. The known counts are "
        f"{_listed(known)}; the last count is smudged.",
        f"{t.who} noted {_listed(known)} {c.items} {c.at}. After a further day, day {n}, the mean "
        f"is {mean} {c.items}. {t.third} asks about that further day.",
    )
    every = t.step(f"All counts together are # {c.items}.", n * mean)
    some = t.step(f"The known counts make # {c.items}.", total(*known))
    last = t.step(f"The missing count is # {c.items}.", every - some)
    t.prove(mean, Fraction(sum(v.n for v in (*known, last)), size))
    asks = (f"How many {c.items} is the missing count?", "Find the missing count.")
    return Outcome(Kind.COUNT, last, asks, c.items, c.item)


MEDIAN = Topic(
    DOMAIN,
    "median",
    ("median",),
    (
        "Put the values in order before you look for the median.",
        "For an even number of values, the median is the mean of the middle ones.",
        "As many values lie below the median as above it.",
        "Very large or very small values hardly change the median.",
    ),
)


def _spread(t: Tale, size: int) -> list[Number]:
    """An even number of values whose middle ones have a whole mean, in no order."""
    values = sorted(_values(t, 11, 70, size), key=lambda v: v.n)
    low, high = values[size // 2 - 1], values[size // 2]
    if (low.n + high.n) % 2 or high.n - low.n < 4:
        raise Redraw
    t.rng.shuffle(values)
    return values


def _middle(values: list[Number]) -> tuple[Number, Number]:
    ordered = sorted(values, key=lambda v: v.n)
    return ordered[len(values) // 2 - 1], ordered[len(values) // 2]


@MEDIAN.story(steps=1)
def _median_of_even(t: Tale) -> Outcome:
    c, values = t.c, _spread(t, t.rng.choice((4, 6)))
    listed = _listed(values)
    t.tell(
        f"{t.who} counts {c.items} {c.at} on several days: {listed}. The median per day counts.",
        f"The numbers {listed} stand on a board {c.at}; they are daily {c.items}. {t.friend} "
        f"marks the median.",
        f"A survey {c.at} asks how many {c.items} are used per day. The replies are {listed}, and "
        f"{t.third} reports the median.",
        f"Sorted or not, the daily counts of {c.items} {c.at} ({listed}) have a median.",
    )
    low, high = _middle(values)
    median = t.step(f"The median is # {c.items}.", (low + high) / 2)
    t.prove(median, Fraction(statistics.median([v.n for v in values])))
    asks = (f"What is the median number of {c.items} per day?", "Find the median.")
    return _per_day(median, t, *asks)


@MEDIAN.story(steps=2)
def _above_median(t: Tale) -> Outcome:
    c, values = t.c, _spread(t, t.rng.choice((4, 6)))
    listed = _listed(values)
    t.tell(
        f"Daily counts of {c.items} {c.at} are {listed}. {t.who} compares the largest count with "
        f"the median.",
        f"{t.friend} sees the counts {listed} of {c.items} {c.at} and asks how far the best day "
        f"lies above the median.",
    )
    low, high = _middle(values)
    top = max(values, key=lambda v: v.n)
    median = t.step(f"The median is # {c.items}.", (low + high) / 2)
    above = t.step(f"The largest count is # {c.items} above it.", top - median)
    t.prove(above, top.n - Fraction(statistics.median([v.n for v in values])))
    asks = (
        f"By how many {c.items} is the largest count above the median?",
        f"How many {c.items} lie between the median and the largest count?",
    )
    return Outcome(Kind.COUNT, above, asks, c.items, c.item)


@MEDIAN.story(steps=2)
def _median_twice(t: Tale) -> Outcome:
    c, values = t.c, _spread(t, 4)
    more = t.whole(5, 30)
    t.tell(
        f"The {c.workers} {c.at} handle {_listed(values)} {c.items} per day. With a new machine "
        f"each of them handles {more} more, which moves the median.",
        f"The shelves {c.at} hold {_listed(values)} {c.items}. {t.who} adds {more} {c.items} to "
        f"every shelf and looks at the new median.",
    )
    low, high = _middle(values)
    median = t.step(f"The old median is # {c.items}.", (low + high) / 2)
    moved = t.step(f"The new median is # {c.items}.", median + more)
    t.prove(moved, Fraction(statistics.median([v.n + more.n for v in values])))
    asks = (f"What is the new median, in {c.items}?", "Find the new median.")
    return _per_day(moved, t, *asks)


@MEDIAN.story(steps=3)
def _two_medians(t: Tale) -> Outcome:
    c, first, second = t.c, _spread(t, 4), _spread(t, 4)
    t.tell(
        f"{t.who}'s daily {c.items} {c.at} are {_listed(first)}; {t.friend}'s are "
        f"{_listed(second)}. They compare each median.",
        f"Week A {c.at} brought {_listed(first)} {c.items}, week B brought {_listed(second)}. The "
        f"gap between the medians is of interest to {t.third}.",
    )
    a, b = _middle(first), _middle(second)
    left = t.step("The first median is #.", (a[0] + a[1]) / 2)
    right = t.step("The second median is #.", (b[0] + b[1]) / 2)
    large, small = (left, right) if left.value > right.value else (right, left)
    gap = t.step(f"They differ by # {c.items}.", large - small)
    truth = statistics.median([v.n for v in first]) - statistics.median([v.n for v in second])
    t.prove(gap, abs(Fraction(truth)))
    asks = (f"By how many {c.items} do the medians differ?", f"How many {c.items} is the gap?")
    return Outcome(Kind.COUNT, gap, asks, c.items, c.item)


RANGE = Topic(
    DOMAIN,
    "range",
    ("range",),
    (
        "The range is the largest value minus the smallest value.",
        "Only the extreme values matter for the range.",
        "From the range and the smallest value you get the largest.",
        "The order of the values does not change the range.",
    ),
)


@RANGE.story(steps=1)
def _range_of_list(t: Tale) -> Outcome:
    c, values = t.c, _values(t, 12, 95, t.rng.randint(4, 7))
    listed = _listed(values)
    t.tell(
        f"{t.who} counts {c.items} {c.at} every day and gets {listed}. The range shows how much "
        f"the counts vary.",
        f"{listed}: these are the {c.items} per shift {c.at}. {t.friend} states the range.",
        f"A table {c.at} lists {c.items} by day, namely {listed}; somebody asks for the range.",
    )
    high, low = max(values, key=lambda v: v.n), min(values, key=lambda v: v.n)
    width = t.step(f"The range is # {c.items}.", high - low)
    t.prove(width, max(a.n - b.n for a in values for b in values))
    asks = ("What is the range of these counts?", f"How many {c.items} is the range?")
    return Outcome(Kind.COUNT, width, asks, c.items, c.item)


@RANGE.story(steps=1)
def _largest_from_range(t: Tale) -> Outcome:
    c, low, width = t.c, t.whole(8, 40), t.whole(12, 70)
    t.tell(
        f"The smallest daily count of {c.items} {c.at} is {low}, and the range of the counts is "
        f"{width}. {t.third} wants the largest count.",
        f"With a range of {width} and a lowest value of {low} {c.items}, {t.who} can tell the "
        f"highest value noted {c.at}.",
    )
    high = t.step(f"The largest count is # {c.items}.", low + width)
    t.prove(width, high.n - low.n)
    asks = (f"How many {c.items} is the largest count?", "Find the largest count.")
    return Outcome(Kind.COUNT, high, asks, c.items, c.item)


@RANGE.story(steps=2)
def _midrange(t: Tale) -> Outcome:
    c, low, width = t.c, t.whole(8, 40), t.whole(12, 70, by=2)
    t.tell(
        f"The counts of {c.items} {c.at} start at {low} and have a range of {width}. {t.who} "
        f"looks at the point in the middle of this range.",
        f"{t.friend} places a mark {c.at} in the middle of the range of the counts: the lowest is "
        f"{low} {c.items}, the range is {width}.",
    )
    part = t.step("From the lowest value to the middle it is #.", width / 2)
    middle = t.step(f"The middle is # {c.items}.", low + part)
    t.prove(middle, Fraction(low.n + low.n + width.n, 2))
    asks = (f"How many {c.items} is the middle of the range?", "Find the middle of the range.")
    return Outcome(Kind.COUNT, middle, asks, c.items, c.item)


@RANGE.story(steps=2)
def _range_grows(t: Tale) -> Outcome:
    c, values, more = t.c, _values(t, 12, 80, t.rng.randint(4, 6)), t.whole(5, 40)
    t.tell(
        f"So far the daily {c.items} {c.at} are {_listed(values)}. Then comes a record day with "
        f"{more} {c.items} more than the best day so far; {t.who} updates the range.",
        f"{_listed(values)} are the {c.items} by team {c.at}. The leading team improves by {more}, "
        f"so the range gets wider.",
    )
    high, low = max(values, key=lambda v: v.n), min(values, key=lambda v: v.n)
    best = t.step(f"The new largest value is # {c.items}.", high + more)
    width = t.step(f"The new range is # {c.items}.", best - low)
    t.prove(width, max(v.n for v in values) - min(v.n for v in values) + more.n)
    asks = ("What is the new range?", f"How many {c.items} is the new range?")
    return Outcome(Kind.COUNT, width, asks, c.items, c.item)


@RANGE.story(steps=3)
def _two_ranges(t: Tale) -> Outcome:
    c, first, second = t.c, _values(t, 12, 50, 4), _values(t, 12, 95, 4)
    t.tell(
        f"{t.who} notes {_listed(first)} {c.items} {c.at}, {t.friend} notes {_listed(second)}. "
        f"Whose range is wider, and by how much?",
        f"Before lunch the counts of {c.items} {c.at} are {_listed(first)}, after lunch "
        f"{_listed(second)}. {t.third} compares the range of either part.",
    )
    left = t.step("The first range is #.", _extreme(first))
    right = t.step("The second range is #.", _extreme(second))
    large, small = (left, right) if left.value > right.value else (right, left)
    gap = t.step(f"They differ by # {c.items}.", large - small)
    t.prove(gap, abs(_width(first) - _width(second)))
    asks = (f"By how many {c.items} do the ranges differ?", f"How many {c.items} is that?")
    return Outcome(Kind.COUNT, gap, asks, c.items, c.item)


def _extreme(values: list[Number]) -> Expression:
    return max(values, key=lambda v: v.n) - min(values, key=lambda v: v.n)


def _width(values: list[Number]) -> int:
    ordered = sorted(v.n for v in values)
    return ordered[-1] - ordered[0]


TOPICS = (MEAN, MEDIAN, RANGE)
