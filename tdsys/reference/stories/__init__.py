"""All topics, by domain.

The one rule: a module here holds the stories of one domain and ends in its `TOPICS`.
"""

from __future__ import annotations

from tdsys.reference.stories.chances import TOPICS as PROBABILITY
from tdsys.reference.stories.data import TOPICS as STATISTICS
from tdsys.reference.stories.divisibility import TOPICS as NUMBER_THEORY
from tdsys.reference.stories.parts import TOPICS as FRACTIONS
from tdsys.reference.stories.rates import TOPICS as RATES
from tdsys.reference.stories.shapes import TOPICS as GEOMETRY
from tdsys.reference.stories.unknowns import TOPICS as ALGEBRA
from tdsys.reference.stories.whole_numbers import TOPICS as ARITHMETIC
from tdsys.reference.topic import Topic

TOPICS: dict[str, tuple[Topic, ...]] = {
    topics[0].domain: topics
    for topics in (
        ARITHMETIC,
        FRACTIONS,
        ALGEBRA,
        GEOMETRY,
        STATISTICS,
        PROBABILITY,
        NUMBER_THEORY,
        RATES,
    )
}
