"""What DSPy's adapters write into a prompt, read back: instruction, demos, inputs, wanted outputs.

Its rule: the prompt is all there is; nothing is known that the text does not say.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

HEADER = re.compile(r"\[\[ ## (\w+) ## \]\](.*)")
CHAT_FORM = "Respond with the corresponding output fields, starting with the field "
JSON_FORM = "Respond with a JSON object in the following order of fields: "
TYPED = r"(?: \(must be formatted as a valid Python (\S+)\))?"
CHAT_FIELD = re.compile(r"`\[\[ ## (\w+) ## \]\]`" + TYPED)
JSON_FIELD = re.compile(r"`(\w+)`" + TYPED)
OBJECTIVE = "your objective is:"
Choice = TypeVar("Choice")


class Demo(NamedTuple):
    """One worked example of the task, as the prompt shows it."""

    inputs: dict[str, str]
    outputs: dict[str, str]


class Asked(NamedTuple):
    """One request, read."""

    instruction: str
    demos: tuple[Demo, ...]
    inputs: dict[str, str]
    outputs: dict[str, str]
    as_json: bool


class Draw:
    """Chance that depends on nothing but its key: the same prompt draws the same numbers."""

    def __init__(self, *key: object) -> None:
        self._key = "\x1f".join(map(str, key)).encode()

    def unit(self, *label: object) -> float:
        """A number in [0, 1) for this label."""
        text = self._key + b"\x1e" + "\x1f".join(map(str, label)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / 2**56

    def integer(self, low: int, high: int, *label: object) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.unit(*label) * (high - low + 1))

    def pick(self, options: Sequence[Choice], *label: object) -> Choice:
        """One of the options."""
        return options[int(self.unit(*label) * len(options))]


def read(system: str, messages: Sequence[tuple[str, str]]) -> Asked:
    """Read a prompt of (role, text) messages; unknown forms give an Asked without outputs."""
    body, form, as_json = _split(messages[-1][1])
    pattern = JSON_FIELD if as_json else CHAT_FIELD
    wanted = {name: kind or "str" for name, kind in pattern.findall(form) if name != "completed"}
    return Asked(
        instruction=system.rpartition(OBJECTIVE)[2].strip(),
        demos=tuple(_demos(messages[:-1])),
        inputs=sections(body),
        outputs=wanted,
        as_json=as_json,
    )


def answer(asked: Asked, values: dict[str, Any]) -> str:
    """The values in the form the prompt asked for."""
    if asked.as_json:
        return json.dumps(values, ensure_ascii=False)
    parts = [f"[[ ## {name} ## ]]\n{_shown(value)}" for name, value in values.items()]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


def sections(text: str) -> dict[str, str]:
    """The text under each `[[ ## name ## ]]` header; the first of a name wins, as in DSPy."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if header := HEADER.match(line.strip()):
            current = [header[2].strip()] if header[2].strip() else []
            found.setdefault(header[1], current)
        else:
            current.append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def _split(text: str) -> tuple[str, str, bool]:
    body, marker, form = text.rpartition(CHAT_FORM)
    if marker:
        return body, form, False
    body, marker, form = text.rpartition(JSON_FORM)
    return (body, form, True) if marker else (text, "", False)


def _demos(messages: Sequence[tuple[str, str]]) -> Iterable[Demo]:
    for (asker, question), (teller, reply) in zip(messages[::2], messages[1::2], strict=False):
        if (asker, teller) == ("user", "assistant"):
            yield Demo(sections(question), _reply_fields(reply))


def _reply_fields(reply: str) -> dict[str, str]:
    try:
        fields = json.loads(reply)
    except ValueError:
        fields = sections(reply)
    return {str(k): _shown(v) for k, v in fields.items()} if isinstance(fields, dict) else {}


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
