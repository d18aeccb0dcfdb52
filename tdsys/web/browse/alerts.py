"""What is amiss: what fires now and what fired before, and who looks after it."""

from __future__ import annotations

from typing import Any

from tdsys.core.alerting import FOUND, RULES
from tdsys.core.people import Right
from tdsys.errors import InvalidInput, NotFound
from tdsys.stages import alerting, notifying
from tdsys.store.alerts import Alert
from tdsys.web.browse.address import number
from tdsys.web.pages import Action, Done, Page
from tdsys.web.visit import Visit, missing


def listed(visit: Visit) -> dict[str, Any]:
    """What fires; with `all`, also what is over."""
    every = bool(visit.text("all"))
    found = alerting.listed(visit.store, all_=every, domains=visit.domains)
    return {
        "alerts": [one.model_dump(mode="json") for one in found],
        "all": every,
        "may": visit.person.may(Right.OPERATE),
        "rules": sorted((*RULES, *FOUND)),
        "silences": [
            one.model_dump(mode="json")
            for one in notifying.silences(visit.store, now=visit.now)
            if visit.domains is None or one.domain in visit.domains
        ],
        "untold": _untold(visit, found),
    }


def _untold(visit: Visit, seen: list[Alert]) -> list[dict[str, Any]]:
    """What waits to be sent or was given up, of the alerts that are shown."""
    shown = {one.id for one in seen}
    waiting = notifying.deliveries(visit.store, all_=False, alerts=shown)
    return [one.model_dump(mode="json") for one in waiting]


def _asked(visit: Visit) -> int:
    """The alert in the address; missing when this person may not see it."""
    alert_id = number(visit, "alert")
    found = alerting.one(visit.store, alert_id=alert_id)
    if found is None or not _is_seen(visit, found):
        raise missing("alert")
    return alert_id


def resolve(visit: Visit) -> Done:
    """Say that it is over."""
    notifying.resolve(visit.store, alert_id=_asked(visit), now=visit.now)
    return Done("/alerts", "It is over. If it is still so, another one fires.")


def silence(visit: Visit) -> Done:
    """Tell nobody for some hours."""
    hours = visit.field("hours")
    try:
        last = float(hours)
    except ValueError:
        raise InvalidInput(f"{hours!r} is no number of hours", remedy="use 8, say") from None
    domain = visit.field("domain") or None
    if visit.domains is not None and domain not in visit.domains:
        raise NotFound("there is no such domain", remedy="name one of yours")
    notifying.silence(
        visit.store,
        rule=visit.field("rule") or None,
        domain=domain,
        reason=visit.field("reason"),
        actor=visit.person.name,
        hours=last,
        now=visit.now,
    )
    return Done("/alerts", "Nobody is told for that time.")


def speak(visit: Visit) -> Done:
    """End a silence."""
    silence_id = number(visit, "silence")
    lasting = notifying.silences(visit.store, now=visit.now)
    mine = visit.domains is None or any(
        one.id == silence_id and one.domain in visit.domains for one in lasting
    )
    if not mine:
        raise missing("silence")
    notifying.speak(visit.store, silence_id=silence_id, now=visit.now)
    return Done("/alerts", "Who should be told is told again.")


def acknowledge(visit: Visit) -> Done:
    """Say that one looks after it."""
    alert_id = _asked(visit)
    alerting.acknowledge(visit.store, alert_id=alert_id, actor=visit.person.name, now=visit.now)
    return Done("/alerts", "It is yours now.")


def _is_seen(visit: Visit, one: Alert) -> bool:
    """Whether it is of a domain this person may see; those of none are for who may see all."""
    return visit.domains is None or one.domain in visit.domains


LIST = Page("/alerts", Right.LOOK, listed, "browse/alerts.html")
ROUTES = (
    LIST,
    Action("/alerts/{id:int}/acknowledge", Right.OPERATE, acknowledge, again=LIST),
    Action("/alerts/{id:int}/resolve", Right.OPERATE, resolve, again=LIST),
    Action("/silences", Right.OPERATE, silence, again=LIST),
    Action("/silences/{id:int}/end", Right.OPERATE, speak, again=LIST),
)
