"""Reviews: whose turn an example is, what people say of it, and what they change."""

from __future__ import annotations

from tdsys.store.reviews.claims import (
    Held,
    Wish,
    claim,
    draft,
    extend,
    holding,
    let_go,
    save_draft,
    waiting_count,
)
from tdsys.store.reviews.contents import Edit, Revision, revisions
from tdsys.store.reviews.decisions import Form, Said, decide, waits_on_a_word
from tdsys.store.reviews.reading import (
    Event,
    Pace,
    Rating,
    Score,
    Seen,
    domain_of,
    events,
    pace,
    ratings,
    score,
    seen,
    steps,
    verdict,
)
from tdsys.store.reviews.undoing import resume_stays, undo

__all__ = [
    "Edit",
    "Event",
    "Form",
    "Held",
    "Pace",
    "Rating",
    "Revision",
    "Said",
    "Score",
    "Seen",
    "Wish",
    "claim",
    "decide",
    "domain_of",
    "draft",
    "events",
    "extend",
    "holding",
    "let_go",
    "pace",
    "ratings",
    "resume_stays",
    "revisions",
    "save_draft",
    "score",
    "seen",
    "steps",
    "undo",
    "verdict",
    "waiting_count",
    "waits_on_a_word",
]
