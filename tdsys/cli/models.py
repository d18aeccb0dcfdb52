"""`tdsys models`: how often each model may be asked, and whether it answers."""

from __future__ import annotations

import json
from typing import Any

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json
from tdsys.cli.printing import note, say, show_table
from tdsys.llm.naming import AT, OFFLINE

TITLES = (
    "model",
    "is",
    "asked",
    "calls a minute",
    "in flight",
    "breaker",
    "pauses",
    "$ per million in, out",
)
UNKNOWN = "unknown"


@click.command()
@as_json
def models(*, as_json: bool) -> None:
    """Show the limiter and the breaker of every model that is configured or was asked today."""
    found = [_told(name, roles) for name, roles in runtime.current().models().items()]
    if as_json:
        say(json.dumps(found))
        return
    show_table(TITLES, map(_row, found))
    if not all(one["shared"] for one in found if not one["simulated"]):
        note("Redis does not answer: each worker keeps to the settings by itself")


def _told(gauge: str, roles: list[str]) -> dict[str, Any]:
    here = runtime.current()
    standing = here.limiter.standing(gauge)
    return {
        "model": gauge,
        "roles": roles,
        "simulated": gauge == OFFLINE,
        "rate_per_minute": None if standing.rate is None else round(standing.rate * 60, 1),
        "calls": standing.calls,
        "in_flight": standing.in_flight,
        "breaker": standing.state,
        "broken_for": standing.broken_for,
        "rests": standing.rests,
        "pauses": standing.pauses,
        "shared": standing.is_shared,
        "terms": here.terms(gauge.partition(AT)[0]).model_dump(),
    }


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    roles, terms = ", ".join(one["roles"]) or "-", one["terms"]
    if one["simulated"]:
        return one["model"], roles, "-", "no limit", "-", "-", "-", "0, 0 (simulated)"
    return (
        one["model"],
        roles,
        str(one["calls"]),
        _of(one["rate_per_minute"], terms["calls_per_minute"], "no limit is known"),
        _of(one["in_flight"], terms["in_flight"], "0"),
        one["breaker"] if one["breaker"] == "closed" else _broken(one),
        f"{one['pauses']:.0f} s" if one["pauses"] else "-",
        f"{_price(terms['price_in'])}, {_price(terms['price_out'])}",
    )


def _of(now: float | None, most: float | None, none: str) -> str:
    told = none if now is None else f"{now:g}"
    return told if most is None else f"{most:g}" if now is None else f"{told} of {most:g}"


def _broken(one: dict[str, Any]) -> str:
    return f"{one['breaker']} for {one['broken_for']:.0f} s, asked again in {one['rests']:.0f} s"


def _price(dollars: float | None) -> str:
    return UNKNOWN if dollars is None else f"{dollars:g}"
