"""The review page: one example after another, by keyboard; a script asks and shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from tdsys.core.people import Right
from tdsys.core.reviewing import Act, Why
from tdsys.core.rubric import Answer, Dimension, Judgement
from tdsys.errors import InvalidInput
from tdsys.llm.rubrics import RUBRIC, criteria
from tdsys.stages import reviewing
from tdsys.stages.reviewing import Changed, Item
from tdsys.store import policies
from tdsys.store.reviews import Edit, Form, Score, Wish
from tdsys.web.pages import Action, Done, Page
from tdsys.web.rendering import shown
from tdsys.web.visit import Visit

HERE = "/review"
MOST = 2**31 - 1


def desk(visit: Visit) -> dict[str, Any]:
    """Where somebody reviews: what they may choose from, and how much waits."""
    wish = _wish(visit, visit.query)
    with visit.store.begin() as tx:
        names = policies.domains(tx)
    return {
        "domains": [name for name in names if visit.person.sees(name)],
        "may_curate": visit.person.may(Right.CURATE),
        "chosen": {"domain": wish.domain or "", "topic": wish.topic or "",
                   "desk": "curator" if wish.for_curator else ""},
        "reasons": list(Why),
        "progress": reviewing.progress(visit.store, wish=wish, now=visit.now),
    }  # fmt: skip


def following(visit: Visit) -> Done:
    """Hand over the next example."""
    return Done(HERE, content=_next(visit))


def decide(visit: Visit) -> Done:
    """Do what somebody says, and hand over the next."""
    edit = _edit(visit.document.get("edit"))
    form = Form(
        example_id=visit.field_number("id", most=2**62),
        token=_token(visit),
        version=visit.field_number("version", most=MOST),
        act=visit.field_choice("act", Act),
        reason=visit.field("reason"),
        detail=visit.field("detail"),
        edit=edit,
    )
    said = reviewing.decide(
        visit.store, form=form, by=visit.person, verifier=visit.runtime.verifier, now=visit.now
    )
    return Done(HERE, content={"said": said, **_next(visit)})


def undo(visit: Visit) -> Done:
    """Take back the last act, and hand over its example again."""
    said = reviewing.undo(visit.store, by=visit.person, token=_token(visit), now=visit.now)
    item = reviewing.held(visit.store, by=visit.person, now=visit.now)
    progress = reviewing.progress(visit.store, wish=_wish(visit, _form(visit)), now=visit.now)
    return Done(HERE, content={"said": said, "item": _item(item, visit), "progress": progress})


def extend(visit: Visit) -> Done:
    """Hold the example longer."""
    kept = reviewing.extend(visit.store, token=_token(visit), by=visit.person, now=visit.now)
    return Done(HERE, content={"kept": kept, "left": reviewing.LEASE.total_seconds()})


def draft(visit: Visit) -> Done:
    """Keep what is being typed."""
    content = visit.document.get("content")
    if not isinstance(content, dict):
        raise InvalidInput("that is no draft", remedy="reload the page")
    kept = reviewing.keep_draft(
        visit.store, token=_token(visit), by=visit.person, content=content, now=visit.now
    )
    return Done(HERE, content={"kept": kept})


def similar(visit: Visit) -> Done:
    """What is admitted and most like an example."""
    found = reviewing.similar(visit.store, example_id=visit.path["id"], by=visit.person)
    near = [{**one._asdict(), "problem": shown(one.problem)} for one in found]
    return Done(HERE, content={"similar": near})


def _next(visit: Visit) -> dict[str, Any]:
    wish = _wish(visit, _form(visit))
    item, progress = reviewing.take(visit.store, wish=wish, now=visit.now)
    return {"item": _item(item, visit), "progress": progress}


def _form(visit: Visit) -> dict[str, str]:
    return {name: visit.field(name) for name in ("domain", "topic", "desk")}


def _wish(visit: Visit, given: Any) -> Wish:
    domain, topic = given.get("domain") or None, given.get("topic") or None
    if domain is not None:
        visit.require(Right.REVIEW, domain=domain)
    curator = given.get("desk") == "curator"
    if curator:
        visit.person.require(Right.CURATE)
    return Wish(visit.person.name, visit.domains, domain, topic, curator)


def _token(visit: Visit) -> UUID:
    try:
        return UUID(visit.field("token"))
    except ValueError:
        raise InvalidInput("the form names no hold", remedy="reload the page") from None


def _edit(given: object) -> Edit | None:
    if given is None:
        return None
    if isinstance(given, dict):
        inputs, outputs = given.get("inputs"), given.get("outputs")
        if isinstance(inputs, dict) and isinstance(outputs, dict):
            return Edit(inputs, outputs)
    raise InvalidInput("that is no edit", remedy="reload the page")


def _item(item: Item | None, visit: Visit) -> dict[str, Any] | None:
    if item is None:
        return None
    held, example = item.held, item.example
    checks = item.verdict.checks if item.verdict else ()
    return {
        "id": held.example_id,
        "token": held.token,
        "version": held.version,
        "left": max(0.0, (held.leased_until - visit.now).total_seconds()),
        "needs": held.needs,
        "for_curator": held.for_curator,
        "why": [shown(part["says"]) for part in held.why],
        "place": [shown(x) for x in (example.domain, example.topic, example.difficulty)],
        "simulated": example.simulated,
        "fields": _fields(example.payload),
        "checks": [{"name": shown(c.name), "outcome": c.outcome, "evidence": shown(c.evidence)}
                   for c in checks],
        "score": _score(item.score),
        "hidden": item.hidden,
        "provenance": _provenance(item),
        "history": [{"at": f"{e.at:%Y-%m-%d %H:%M}", "what": shown(e.what.replace("_", " ")),
                     "told": shown(" · ".join(w for w in (e.who, e.reason, e.detail) if w))}
                    for e in item.history],
        "diffs": [[_changed(one) for one in edit] for edit in item.diffs],
        "draft": item.draft,
    }  # fmt: skip


def _fields(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Each field as text to look at, and as it is to be edited."""
    return [
        {"side": side, "name": name, "title": shown(name.replace("_", " ")),
         "text": shown(_text(value)), "raw": value}
        for side in ("outputs", "inputs")
        for name, value in payload[side].items()
    ]  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(f"• {_text(one)}" for one in value)
    return "" if value is None else str(value)


def _score(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    return {
        "dimensions": [
            {"name": name.replace("_", " "), "value": value,
             "rationale": shown(_text(score.rationales.get(name, ""))),
             "doubts": _doubts(score, Dimension(name))}
            for name, value in score.values.items()
        ],
        "told": shown(f"{score.judge_model}, rubric {score.rubric_version}"),
        "simulated": score.simulated,
    }  # fmt: skip


def _doubts(score: Score, dimension: Dimension) -> list[str]:
    """The criteria that do not hold or were not sure, and of a panel who said so."""
    alone = len(score.judgements) == 1
    return [
        f"{answer}: {asked}" if alone else f"{said.juror.prompt}, {answer}: {asked}"
        for said in score.judgements
        for answer, asked in zip(said.answers[dimension], _criteria(said, dimension), strict=False)
        if answer is not Answer.YES
    ]


def _criteria(said: Judgement, dimension: Dimension) -> tuple[str, ...]:
    """What was asked; numbers where the rubric is not here any more."""
    known = said.juror.rubric == RUBRIC
    numbered = tuple(f"criterion {n}" for n, _ in enumerate(said.answers[dimension], 1))
    return criteria()[dimension] if known else numbered


def _provenance(item: Item) -> list[list[str]]:
    example = item.example
    metadata = example.payload.get("metadata") or {}
    told = {
        "source": example.source,
        "captured": f"{example.captured_at:%Y-%m-%d %H:%M} UTC",
        "capture": str(example.capture_id or "—"),
        "reason": example.reason or "—",
        **dict(_flat(metadata)),
    }
    return [[shown(name), shown(value)] for name, value in told.items()]


def _flat(metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each value by its own name, one level deep; what says nothing is left out."""
    for name, value in metadata.items():
        parts = value.items() if isinstance(value, dict) else [(name, value)]
        for inner, told in parts:
            if told not in (None, "", [], {}):
                yield str(inner), _text(told)[:300]


def _changed(one: Changed) -> dict[str, Any]:
    return {"field": shown(one.field), "pieces": [[kind, shown(text)] for kind, text in one.pieces]}


ROUTES = (
    Page(HERE, Right.REVIEW, desk, "review.html"),
    Action("/review/next", Right.REVIEW, following),
    Action("/review/decide", Right.REVIEW, decide),
    Action("/review/undo", Right.REVIEW, undo),
    Action("/review/extend", Right.REVIEW, extend),
    Action("/review/draft", Right.REVIEW, draft),
    Action("/review/{id:int}/similar", Right.REVIEW, similar),
)
