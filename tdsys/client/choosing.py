"""Which captures are kept, and what of them, before anything reaches the disk or the network.

One rule: what cannot be masked is not kept.
"""

from __future__ import annotations

import importlib
import json

from tdsys.client.record import Serialiser, Unfit

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Document = dict[str, Any]

PARTS = ("inputs", "outputs", "metadata")


class Choice:
    """A sample, an allow-list and a mask; ValueError for a list that cannot be meant.

    `fields` are names such as `inputs.topic`, or `outputs` for all of a part; None allows all.
    `mask` gets a copy of domain, inputs, outputs and metadata, and returns what is kept.
    """

    def __init__(
        self,
        *,
        sample_rate: float = 1.0,
        fields: Iterable[str] | None = None,
        mask: Callable[[Document], Document] | None = None,
        failures: bool = False,
    ) -> None:
        self._sample_rate = sample_rate
        self._drawn = importlib.import_module("random").random if sample_rate < 1 else None
        self._allowed = None if fields is None else _allowed(fields)
        self._mask = mask
        self._failures = failures
        self.is_picky = fields is not None or mask is not None or sample_rate < 1

    def unwanted(self, *, ok: bool) -> str | None:
        """Why a capture is passed over, which is no loss; None when it is wanted."""
        if not (ok or self._failures):
            return "failed"
        if self._drawn and self._drawn() >= self._sample_rate:
            return "not_sampled"
        return None

    def of(self, document: Document, serialise: Serialiser, *, ok: bool) -> Document:
        """What is kept of a document; Unfit when that cannot be told."""
        if not ok:
            document["metadata"] = {**document["metadata"], "ok": False}
        if self._allowed is not None:
            document = {**document, **_only(self._allowed, document)}
        return self._masked(document, serialise) if self._mask else document

    def _masked(self, document: Document, serialise: Serialiser) -> Document:
        copy = json.loads(serialise(document))
        try:
            masked = self._mask(copy) if self._mask else copy
        except Exception:  # noqa: BLE001  # whatever it is, the document is unmasked
            raise Unfit("mask_failed") from None
        if not (isinstance(masked, dict) and set(masked) == set(document)):
            raise Unfit("mask_failed")
        return masked


def _allowed(fields: Iterable[str]) -> dict[str, set[str] | None]:
    """Part -> the names allowed in it, or None for all."""
    is_list = hasattr(fields, "__iter__") and not isinstance(fields, str)
    listed = [*fields] if is_list else []
    if not (is_list and all(isinstance(field, str) for field in listed)):
        raise ValueError(f"fields is {fields!r}; use a list of names")
    allowed: dict[str, set[str] | None] = {part: set() for part in PARTS}
    for field in listed:
        part, dot, name = field.partition(".")
        if part not in allowed or (dot and not name):
            raise ValueError(f"{field!r} is no field; use for example inputs.topic or outputs")
        names = allowed[part]
        if not dot:
            allowed[part] = None
        elif names is not None:
            names.add(name)
    return allowed


def _only(allowed: dict[str, set[str] | None], document: Document) -> Document:
    return {
        part: {k: v for k, v in document[part].items() if names is None or k in names}
        for part, names in allowed.items()
    }
