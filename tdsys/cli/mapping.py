"""How a file's fields become ours: from options, a saved mapping, or a guess with a preview.

One rule: what was used can be written down with --save-mapping and used again with --mapping.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

import click
from pydantic import JsonValue, ValidationError

from tdsys import runtime
from tdsys.cli.arguments import pairs
from tdsys.cli.printing import note, write_text
from tdsys.cli.source import Source
from tdsys.core.conversion import (
    FIELDS,
    MISSING,
    OUTPUT_FIELDS,
    ImportOptions,
    at_path,
    convert,
    names_of,
)
from tdsys.core.guessing import Guess, guess
from tdsys.core.intake import ReaderDied
from tdsys.core.mistakes import first_mistake
from tdsys.errors import InvalidInput
from tdsys.stages import rehearsing

PREVIEWED = 3
SHOWN = 70
# Megabytes: more is looked at only while no record is among them, for the first may be long.
SAMPLED = (1, 4, 16)
FORMATS = ("json", "jsonl", "csv", "yaml")
SAVED = ("mapping", "constants", "license", "attribution", "reading")
NOTHING_SAMPLED = (
    f"no mapping is guessed, for no record of the first {SAMPLED[-1]} MB could be read; "
    "name the fields with --map THEIRS=OURS"
)
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}

Command = TypeVar("Command", bound=Callable[..., Any])


def _all_of(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    return lambda command: reduce(lambda done, option: option(done), reversed(options), command)


mapping_option = click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="THEIRS=OURS",
    help=f"Their field (data.question for a nested one) = ours: {', '.join(FIELDS)}.",
)
reading_options = _all_of(
    click.option("--format", "format", type=click.Choice(FORMATS), help="Instead of detecting it."),
    click.option("--delimiter", help="Of CSV: one character, or tab."),
    click.option("--quote", help='Of CSV: one character; "" if nothing is quoted.'),
    click.option("--header/--no-header", default=None, help="Whether CSV begins with names."),
    click.option("--encoding", help="Such as cp1252; UTF-8 and UTF-16 are detected."),
    click.option("--at", help="Path of the list inside a JSON or YAML document: data.items."),
)
field_options = _all_of(
    mapping_option,
    click.option(
        "--set",
        "constants",
        multiple=True,
        metavar="OURS=VALUE",
        help="The same value for every record.",
    ),
    click.option("--mapping", "saved", metavar="FILE", help="A mapping saved before."),
    click.option("--save-mapping", metavar="FILE", help="Write down the mapping that is used."),
    click.option("--license", "license", help="Of the file, as SPDX id: MIT, CC-BY-4.0, ..."),
    click.option("--attribution", help="Whom to name as the source."),
    click.option("--yes", is_flag=True, help="Take a guessed mapping without asking."),
)


def options(given: dict[str, Any]) -> ImportOptions:
    """What the command line says, above what a saved mapping says; InvalidInput for nonsense."""
    saved = _saved(given["saved"]) if given.get("saved") else {}
    reading = {name: given.get(name) for name in ("format", "quote", "header", "encoding", "at")}
    reading["delimiter"] = _delimiter(given.get("delimiter"))
    said = {
        "mapping": pairs(given["mapping"], where="--map", example="--map question=problem"),
        "constants": pairs(
            given.get("constants", ()), where="--set", example="--set topic=fractions"
        ),
        "license": given.get("license"),
        "attribution": given.get("attribution"),
        "reading": {
            **saved.get("reading", {}),
            **{name: value for name, value in reading.items() if value is not None},
        },
        "strict": given.get("strict", False),
        "trust": given.get("trust", False),
    }
    return _checked({**saved, **{name: value for name, value in said.items() if value}})


def _checked(document: dict[str, Any]) -> ImportOptions:
    try:
        return ImportOptions.model_validate(document)
    except ValidationError as bad:
        where, what = first_mistake(bad)
        raise InvalidInput(
            f"the mapping's {where}: {what}", remedy=f"it may hold {', '.join(SAVED)}"
        ) from None


def _delimiter(given: str | None) -> str | None:
    if given is None:
        return None
    character = _NAMED_DELIMITERS.get(given.lower(), given)
    if len(character) != 1:
        raise InvalidInput(f"--delimiter {given!r} is not one character", remedy="or write tab")
    return character


def _saved(path: str) -> dict[str, Any]:
    """A saved mapping, JSON or YAML, read as any other file is."""
    source = Source(path)
    found, _ = rehearsing.sample(
        runtime.current().intake,
        pieces=source.pieces(),
        filename=source.name,
        options=ImportOptions(),
    )
    if len(found) != 1 or not isinstance(found[0], dict):
        raise InvalidInput(f"{path} is not one mapping", remedy="write it with --save-mapping")
    return dict(found[0])


def settled(source: Source, wanted: ImportOptions, given: dict[str, Any]) -> ImportOptions:
    """The options with a mapping: what was said, or a guess that was shown; written down if asked.

    InvalidInput when the file cannot be read at all; a person who says no ends the command.
    """
    sample, how = _sampled(source, wanted)
    if wanted.mapping:
        _missing(sample, wanted.mapping)
    else:
        found = guess(sample, given=tuple(wanted.constants))
        wanted = wanted.model_copy(update={"mapping": found.mapping})
        if not sample:
            note(NOTHING_SAMPLED)
        elif found.mapping or found.missing:
            _preview(sample, wanted, found, how=how)
            if not given["yes"] and not source.is_stream and _is_asked():
                click.confirm("Import it like this?", default=True, abort=True, err=True)
    if given["save_mapping"]:
        document = wanted.model_dump(mode="json", include=set(SAVED), exclude_defaults=True)
        write_text(
            Path(given["save_mapping"]),
            json.dumps(document, indent=2) + "\n",
            option="--save-mapping",
        )
    return wanted


def _missing(sample: list[JsonValue], mapping: Mapping[str, str]) -> None:
    """Say which of the fields that were named no record has."""
    known = [one for one in sample if isinstance(one, dict)]
    there = names_of(name for one in known for name in one)
    for theirs, ours in mapping.items():
        if known and all(at_path(one, theirs) is MISSING for one in known):
            note(
                f"--map {quote(f'{theirs}={ours}')}: none of the first {len(known)} records has "
                f"a field {theirs!r} (there are {there})"
            )


def problem_field(source: Source, wanted: ImportOptions) -> ImportOptions:
    """The options with the field of the problem alone, guessed where it was not said."""
    if wanted.mapping:
        return wanted
    sample, _ = _sampled(source, wanted)
    found = {t: o for t, o in guess(sample).mapping.items() if o == "problem"}
    if found:
        note(f"no mapping was given, so it is guessed: {_as_options(found)}")
    return wanted.model_copy(update={"mapping": found})


def _sampled(source: Source, wanted: ImportOptions) -> tuple[list[JsonValue], str]:
    """The first records and how they are read; none where the file itself is to say why."""
    intake = runtime.current().intake
    for megabytes in SAMPLED:
        pieces = source.head(megabytes)
        try:
            found, how = rehearsing.sample(
                intake,
                pieces=pieces,
                filename=source.name,
                options=wanted,
                in_part=not source.is_read,
            )
        except ReaderDied:
            break  # the import itself meets it again, and says where
        if found or source.is_read:
            return found, how
    return [], ""


def _is_asked() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _preview(sample: list[JsonValue], chosen: ImportOptions, found: Guess, *, how: str) -> None:
    """The first records as they will become examples."""
    note(f"read as: {how}")
    if found.mapping:
        note(f"no mapping was given, so it is guessed: {_as_options(found.mapping)}")
    if found.missing:
        note(
            f"no field looks like {', '.join(found.missing)} (there are {', '.join(found.seen)}); "
            "records without one are rejected, name it with --map THEIRS=OURS"
        )
    for number, record in enumerate(sample[:PREVIEWED], 1):
        note(f"  {number}. {_as_example(record, chosen)}")


def _as_options(mapping: Mapping[str, str]) -> str:
    """The mapping as somebody would type it."""
    return " ".join(f"--map {quote(f'{theirs}={ours}')}" for theirs, ours in mapping.items())


def _as_example(record: JsonValue, chosen: ImportOptions) -> str:
    try:
        became = convert(record, chosen)
    except InvalidInput as bad:
        return f"would be rejected: {bad}"
    fields = {**became.inputs, **became.outputs}
    shown = (*OUTPUT_FIELDS[:3], "topic", "difficulty")
    return " | ".join(f"{name}: {_short(str(fields[name]))}" for name in shown if name in fields)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
