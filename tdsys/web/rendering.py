"""Templates and JSON: how what a page's function returned is shown to people and machines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from starlette.responses import HTMLResponse, JSONResponse

from tdsys.core.people import Person, Right
from tdsys.core.printable import printable

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
MINUTE, HOUR, DAY = 60, 3600, 86400


class Destination(NamedTuple):
    """One entry of the navigation."""

    title: str
    path: str
    needs: Right


NAVIGATION = (
    Destination("Review", "/review", Right.REVIEW),
    Destination("Examples", "/examples", Right.LOOK),
    Destination("Imports", "/imports", Right.LOOK),
    Destination("Batches", "/batches", Right.LOOK),
    Destination("Datasets", "/datasets", Right.LOOK),
    Destination("Runs", "/runs", Right.LOOK),
    Destination("Effectiveness", "/effectiveness", Right.LOOK),
    Destination("Reports", "/reports", Right.LOOK),
    Destination("Alerts", "/alerts", Right.LOOK),
    Destination("People", "/people", Right.ADMINISTER),
)


class Here(NamedTuple):
    """What the frame of every page needs; templates call it `here`."""

    person: Person
    form_token: str
    path: str
    query: Mapping[str, str]
    now: datetime
    navigation: tuple[Destination, ...]
    notice: str = ""

    @property
    def as_json(self) -> str:
        """Where machines read this page."""
        words = f"?{urlencode(self.query)}" if self.query else ""
        return f"{'/index' if self.path == '/' else self.path}.json{words}"

    def static(self, name: str) -> str:
        """The address of a file of ours, another one whenever its content changes."""
        return f"/static/{name}?v={_mark(name)}"

    def is_at(self, place: Destination) -> bool:
        """Whether this page belongs to that entry of the navigation."""
        return self.path == place.path or self.path.startswith(place.path + "/")


def page(
    template: str, content: Mapping[str, Any], here: Here, *, status: int = 200
) -> HTMLResponse:
    """The page for people."""
    text = environment().get_template(template).render({**content, "here": here})
    return HTMLResponse(text, status)


def document(content: object, *, status: int = 200) -> JSONResponse:
    """The same for machines."""
    return JSONResponse(to_jsonable_python(plain(content)), status)


def fields(content: object) -> dict[str, Any]:
    """What a template calls by name: the fields of a model or the keys of a mapping."""
    if isinstance(content, BaseModel):
        return dict(content)
    if isinstance(content, Mapping):
        return dict(content)
    named = getattr(content, "_asdict", None)
    if named is None:
        raise TypeError(f"a page cannot show a {type(content).__name__}")
    found: dict[str, Any] = named()
    return found


def plain(value: object) -> object:
    """The value with its named tuples as mappings, or JSON would lose the names."""
    if isinstance(value, BaseModel):
        return plain(dict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    named = getattr(value, "_asdict", None)
    if named is not None:
        return plain(named())
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return value


@cache
def environment() -> Environment:
    """Jinja, escaping everything; the macros are `ui`."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "shown": shown,
        "line": printable,
        "percent": lambda share: "—" if share is None else f"{100 * share:.0f} %",
        "moment": lambda at: "—" if at is None else f"{at:%Y-%m-%d %H:%M}",
        "ago": ago,
        "segment": lambda text: quote(str(text), safe=""),
    }
    made.globals["ui"] = made.get_template("macros.html").module
    return made


def shown(text: object) -> str:
    """Text of several lines with what would hide or turn it written out."""
    return "\n".join(printable(line.replace("\t", "    ")) for line in str(text).split("\n"))


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago in one word."""
    if at is None:
        return "never"
    seconds = int((now - at).total_seconds())
    if seconds < MINUTE:
        return "just now"
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"


@cache
def _mark(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
