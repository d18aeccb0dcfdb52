"""A domain's policy as a YAML document that people edit: written with its meaning, read with care.

One rule: whatever is wrong is told at once, each with its line and column, and how to mend it.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tdsys.core.compatibility import conflicts
from tdsys.core.example import check_domain
from tdsys.core.mistakes import Unfit, in_words
from tdsys.core.policy import Policy
from tdsys.core.printable import printable
from tdsys.errors import InvalidInput
from tdsys.parsing.document import Document, Path, Unreadable, read
from tdsys.parsing.yamlvalue import may_be_number

WIDTH = 96
DOMAIN = "domain"
BOUNDS = {
    "ge": "use {} or more",
    "gt": "use more than {}",
    "le": "use {} or less",
    "lt": "use less than {}",
}
# The last step to a value that pydantic adds where one of several kinds may stand, or for a name.
NO_STEPS = frozenset({"[key]", "str", "list[str]"})
KINDS = {
    "int": "use a whole number",
    "float": "use a number",
    "bool": "use true or false",
    "string": "use a text",
    "tuple": 'use a list such as ["easy", "hard"]',
    "list": 'use a list such as ["easy", "hard"]',
    "dict": "use lines of `name: value`",
    "too": "name at least one",
}
ANYTHING = "`tdsys policy init` shows a document with every field, what it means and its default"


class Mistake(NamedTuple):
    """What is wrong at one place of a document; line and column count from 1."""

    line: int
    column: int
    field: str
    message: str
    remedy: str


class Refused(Exception):
    """A document that cannot be put in force, with all its mistakes."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(f"{len(mistakes)} mistakes")
        self.mistakes = mistakes


class Written(NamedTuple):
    """A policy and the domain it is for."""

    domain: str
    policy: Policy


def policy_from(text: str) -> Written:
    """What a document says; Refused with every mistake in it, conflicts with DSPy among them."""
    try:
        document = read(text)
    except Unreadable as broken:
        raise Refused([Mistake(*broken.spot, "", broken.message, broken.remedy)]) from None
    given = document.value
    if not isinstance(given, dict):
        raise Refused([_mistake(document, (), "not a list of `field: value`", "see policy init")])
    rules = {name: value for name, value in given.items() if name != DOMAIN}
    mistakes = [*_in_domain(document, given), *_in_rules(document, rules)]
    found, unknown = _readable(rules, mistakes)
    clashes = conflicts(found, unknown=unknown) if found else []
    mistakes += [_mistake(document, _path(one.field), one.message, one.remedy) for one in clashes]
    if mistakes or not found:
        raise Refused(sorted(mistakes))
    return Written(str(given[DOMAIN]), found)


def text_of(domain: str, policy: Policy, *, heading: str) -> str:
    """The document of a policy: each field under a comment that says what it means."""
    parts = [_comment(heading), _dumped({DOMAIN: domain})]
    return "\n".join([*parts, *_explained_fields(Policy, policy.model_dump(mode="json"))])


def _explained_fields(model: type[BaseModel], document: Mapping[str, Any]) -> Iterator[str]:
    """One text a field, a section's fields each with their meaning, too."""
    for name, field in model.model_fields.items():
        meaning = _comment(f"{field.description}{_choices(field.annotation)}")
        section, value = field.annotation, document[name]
        if value is None and field.default is None:
            yield meaning + _shut(_dumped({name: _example(field)}))
        elif isinstance(section, type) and _is_explained(section):
            yield meaning + _section(name, section, value)
        else:
            yield meaning + _dumped({name: value})


def _section(name: str, section: type[BaseModel], document: Mapping[str, Any]) -> str:
    """A section with its meanings; one that says nothing is a comment, to be opened."""
    says = {inner: value for inner, value in document.items() if value is not None}
    told = document if says else {n: _example(f) for n, f in section.model_fields.items()}
    inside = textwrap.indent("".join(_explained_fields(section, told)), "  ")
    return f"{name}:\n{inside}" if says else _shut(f"{name}:\n{inside}")


def _example(field: FieldInfo) -> JsonValue:
    """What could stand where nothing does."""
    example = (field.examples or [None])[0]
    plain: JsonValue = (
        example.model_dump(mode="json") if isinstance(example, BaseModel) else example
    )
    return plain


def _is_explained(section: type) -> bool:
    return any(f.description for f in getattr(section, "model_fields", {}).values())


def _in_domain(document: Document, given: Mapping[str, JsonValue]) -> Iterator[Mistake]:
    name = given.get(DOMAIN)
    if not isinstance(name, str):
        what = "the domain's name is missing" if name is None else "not a text"
        yield _mistake(document, (DOMAIN,), what, "write for example `domain: algebra`")
        return
    try:
        check_domain(name)
    except InvalidInput as bad:
        yield _mistake(document, (DOMAIN,), bad.message, bad.remedy)


def _in_rules(document: Document, rules: Mapping[str, JsonValue]) -> Iterator[Mistake]:
    try:
        # As JSON, so that a text is no number and a number no text.
        Policy.model_validate_json(json.dumps(rules), strict=True)
    except ValidationError as bad:
        for error in bad.errors():
            yield _explained(document, error)


def _readable(
    rules: Mapping[str, JsonValue], mistakes: Sequence[Mistake]
) -> tuple[Policy | None, frozenset[str]]:
    """The policy with defaults where fields are wrong, and which those are; None: wrong together.

    What is right is looked at for conflicts at once, so that nobody mends a document twice.
    """
    wrong = frozenset(one.field.partition(".")[0] for one in mistakes)
    right = {name: value for name, value in rules.items() if name not in wrong}
    try:
        return Policy.model_validate_json(json.dumps(right), strict=True), wrong
    except ValidationError:
        return None, wrong


def _explained(document: Document, error: ErrorDetails) -> Mistake:
    of_name = error["type"] in {"extra_forbidden", "missing"}
    path = error["loc"][:-1] if error["loc"][-1:] and error["loc"][-1] in NO_STEPS else error["loc"]
    return _mistake(document, path, in_words(error), remedy_of(error), of_name=of_name)


def remedy_of(error: ErrorDetails) -> str:
    """How to mend what is wrong with a policy: which field is meant, or what its value may be."""
    path, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        known = [name for name in _fields(path[:-1]) if name != path[-1]]
        close = get_close_matches(str(path[-1]), known, n=1)
        return f"did you mean {close[0]}?" if close else f"the fields are {', '.join(known)}"
    if kind == "missing":
        return "add it"
    field = Policy.model_fields.get(str(path[0])) if len(path) == 1 else None
    means = f" ({field.description})" if field and field.description else ""
    return f"{_allowed(error)}{means}"


def _allowed(error: ErrorDetails) -> str:
    """What a value may be."""
    limits = error.get("ctx", {})
    if isinstance(wrong := limits.get("error"), Unfit):
        return wrong.remedy
    for name, words in BOUNDS.items():
        if name in limits:
            return words.format(f"{limits[name]:g}")
    what = error["type"].partition("_")[0]
    if what in {"literal", "enum"}:
        return f"use {limits['expected']}"
    if what == "model":
        return f"use an object of {', '.join(_fields(error['loc']))}"
    return KINDS.get(what, ANYTHING)


def _mistake(
    document: Document, path: Path, message: str, remedy: str, *, of_name: bool = False
) -> Mistake:
    spot = document.spot(path, of_name=of_name)
    return Mistake(*spot, ".".join(map(str, path)), message, remedy)


def _path(field: str) -> Path:
    return tuple(int(step) if step.isdecimal() else step for step in field.split("."))


def _fields(path: Path) -> list[str]:
    """The names that may stand inside a field of the policy."""
    model: type[BaseModel] = Policy
    for step in path:
        if isinstance(step, str):
            model = next(_models(model.model_fields[step].annotation))
    return [DOMAIN, *model.model_fields] if model is Policy else [*model.model_fields]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _choices(annotation: Any) -> str:
    words = get_args(annotation) if get_origin(annotation) is Literal else ()
    return f" ({' | '.join(words)})" if words else ""


def _comment(text: str) -> str:
    return "".join(f"# {printable(line)}\n" for line in textwrap.wrap(text, WIDTH))


class _Writer(yaml.SafeDumper):
    """Writes YAML 1.1, in which 1e3 is a text; whoever reads it here takes it for a number."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """A text in quotes where it could be read as something else."""
        style = "'" if data and may_be_number(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Writer.add_representer(str, _Writer.represent_str)


def _dumped(part: Mapping[str, JsonValue]) -> str:
    """YAML that does nothing to a terminal: what people could not see is escaped."""
    dumped = _yaml(part, as_it_is=True)
    harmless = all(printable(line) == line for line in dumped.splitlines())
    return dumped if harmless else _yaml(part, as_it_is=False)


def _yaml(part: Mapping[str, JsonValue], *, as_it_is: bool) -> str:
    dumped: str = yaml.dump(part, Dumper=_Writer, sort_keys=False, allow_unicode=as_it_is,
                            width=WIDTH, default_flow_style=False)  # fmt: skip
    return dumped


def _shut(text: str) -> str:
    """The same as a comment, to be opened by whoever wants it."""
    return "".join(f"# {line}\n" for line in text.splitlines())
