"""What is amiss: what fires now and what fired before, and who looks after it."""

from __future__ import annotations

from typing import Any

from tdsys.core.people import Right
from tdsys.stages import alerting
from tdsys.store.alerts import Alert
from tdsys.web.browse.address import number
from tdsys.web.pages import Action, Done, Page
from tdsys.web.visit import Visit, missing


def listed(visit: Visit) -> dict[str, Any]:
    """What fires; with `all`, also what is over."""
    every = bool(visit.text("all"))
    found = [one for one in alerting.listed(visit.store, all_=every) if _is_seen(visit, one)]
    return {
        "alerts": [one.model_dump(mode="json") for one in found],
        "all": every,
        "may": visit.person.may(Right.OPERATE),
    }


def acknowledge(visit: Visit) -> Done:
    """Say that one looks after it."""
    alert_id = number(visit, "alert")
    every = alerting.listed(visit.store, all_=True)
    if not any(one.id == alert_id and _is_seen(visit, one) for one in every):
        raise missing("alert")
    alerting.acknowledge(visit.store, alert_id=alert_id, actor=visit.person.name, now=visit.now)
    return Done("/alerts", "It is yours now.")


def _is_seen(visit: Visit, one: Alert) -> bool:
    """Whether it is of a domain this person may see; those of none are for who may see all."""
    return visit.domains is None or one.domain in visit.domains


LIST = Page("/alerts", Right.LOOK, listed, "browse/alerts.html")
ROUTES = (LIST, Action("/alerts/{id:int}/acknowledge", Right.OPERATE, acknowledge, again=LIST))
