"""What a reviewer does with what waits, up to the judge's answer to an edit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from tdsys.core.people import Role
from tdsys.core.reviewing import Act
from tdsys.errors import InvalidInput, NotFound
from tdsys.stages import reviewing, scoring
from tdsys.stages.reviewing import Refused
from tdsys.store import Store
from tdsys.store.reviews import Edit, Form, Held
from tests.factories import make_assessment, make_verdict
from tests.reviewing import SOON, make_waiting, person, taken
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier

BETTER = Edit({"topic": "sums"}, {"problem": "p", "solution": "s", "answer": "7"})
LIMITS = scoring.Limits(block=10, lease=timedelta(seconds=60), max_attempts=3)


def form(held: Held, act: Act, edit: Edit | None = None, reason: str = "") -> Form:
    return Form(held.example_id, held.token, held.version, act, reason, "", edit)


def states(store: Store) -> list[str]:
    with store.begin() as tx:
        return list(tx.scalars(text("SELECT state FROM examples")))


@pytest.mark.criterion("4.4")
def test_an_edit_is_admitted_on_the_editors_word_against_the_judges_opinion(store: Store) -> None:
    make_waiting(store)
    said = form(taken(store), Act.EDIT, BETTER)
    reviewing.decide(store, form=said, by=person(), verifier=ScriptedVerifier(), now=SOON)
    clock = Clock()
    clock.forward(minutes=1)
    judge = ScriptedJudge(lambda _: make_assessment(0.4))
    scoring.score_due(store, judge=judge, verifier=ScriptedVerifier(), clock=clock, limits=LIMITS)
    assert states(store) == ["admitted"]
    with store.begin() as tx:
        last = tx.execute(text("SELECT actor, reason, detail FROM transitions ORDER BY id DESC"))
        actor, reason, detail = last.first() or ("", "", "")
    assert (actor, reason) == ("ann", "trusted")
    assert "ann vouches for it" in detail


def test_evidence_against_an_edit_refuses_it_and_changes_nothing(store: Store) -> None:
    make_waiting(store)
    said = form(taken(store), Act.EDIT, BETTER)
    against = ScriptedVerifier(make_verdict(steps="failed"))
    with pytest.raises(Refused, match="steps: steps failed"):
        reviewing.decide(store, form=said, by=person(), verifier=against, now=SOON)
    assert states(store) == ["in_review"]


def test_a_rejection_needs_a_reason_of_the_list(store: Store) -> None:
    make_waiting(store)
    said = form(taken(store), Act.REJECT, reason="because")
    with pytest.raises(InvalidInput, match="a rejection needs its reason"):
        reviewing.decide(store, form=said, by=person(), verifier=ScriptedVerifier(), now=SOON)


def test_what_is_in_anothers_domain_is_not_there(store: Store) -> None:
    make_waiting(store)
    stranger = person("ann", Role.REVIEWER, "algebra")
    said = form(taken(store), Act.APPROVE)
    with pytest.raises(NotFound):
        reviewing.decide(store, form=said, by=stranger, verifier=ScriptedVerifier(), now=SOON)
    with pytest.raises(NotFound):
        reviewing.similar(store, example_id=said.example_id, by=stranger)
    assert states(store) == ["in_review"]
