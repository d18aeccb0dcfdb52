"""A problem's text, read once: what makes its template and what makes its labels.

One rule: what a piece of text between blanks says does not depend on its neighbours, so it is
remembered; the two modules that know what it says put the pieces together.
"""

from __future__ import annotations

from tdsys.core import labelling, similarity
from tdsys.core.remembering import Remembered


class Wording:
    """One problem's words."""

    __slots__ = ("_pieces", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces = [_PIECES[piece] for piece in text.split()]

    def template(self) -> str:
        """What `similarity.template` says."""
        if self._text.isupper():
            return similarity.template(self._text)
        return similarity.joined([levelled for levelled, _ in self._pieces])

    def labels(self, solution: str) -> dict[str, str]:
        """What `labelling.labels` says."""
        telling = [told for _, told in self._pieces if told]
        return labelling.labels_of(self._text, telling, solution)


def _piece(piece: str) -> tuple[similarity.Levelled, labelling.Told | None]:
    return similarity.levelled(piece), labelling.told(piece)


_PIECES = Remembered(_piece)
