"""Names of licences as SPDX writes them.

One rule: a name that is not known is refused with the nearest ones, because a licence nobody can
look up protects nobody; `LicenseRef-...` names what SPDX does not list.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from tdsys.errors import InvalidInput

# SPDX's own word for "the file does not say".
UNSTATED = "NOASSERTION"
KNOWN = (
    UNSTATED, "NONE",
    "0BSD", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-1.1", "Apache-2.0",
    "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0",
    "C-UDA-1.0", "CC-BY-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0",
    "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0",
    "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-3.0", "CC-BY-ND-4.0",
    "CC-BY-SA-1.0", "CC-BY-SA-2.0", "CC-BY-SA-2.5", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-PDDC",
    "CC0-1.0", "CDDL-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0",
    "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "GFDL-1.3-only",
    "GFDL-1.3-or-later", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later",
    "ISC", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later",
    "LPPL-1.3c", "MIT", "MIT-0", "MPL-1.1", "MPL-2.0", "MS-PL", "NCSA", "O-UDA-1.0", "ODbL-1.0",
    "ODC-By-1.0", "OFL-1.1", "OGL-UK-3.0", "PDDL-1.0", "PostgreSQL", "PSF-2.0", "Unlicense",
    "UPL-1.0", "W3C", "WTFPL", "Zlib",
)  # fmt: skip
# The Hub takes identifiers of its own: some are a family's, and these have none there.
_OF_THE_HUB = {
    "gfdl-1.3": "gfdl", "c-uda-1.0": "c-uda", "odbl-1.0": "odbl", "odc-by-1.0": "odc-by",
    "pddl-1.0": "pddl",
}  # fmt: skip
_UNKNOWN_TO_THE_HUB = {
    UNSTATED, "NONE", "0BSD", "Apache-1.1", "CC-BY-1.0", "CC-BY-ND-3.0", "CC-BY-SA-1.0",
    "CC-BY-SA-2.0", "CC-BY-SA-2.5", "CC-PDDC", "CDDL-1.0", "EUPL-1.2", "MIT-0", "MPL-1.1",
    "O-UDA-1.0", "OGL-UK-3.0", "PSF-2.0", "UPL-1.0", "W3C",
}  # fmt: skip
NEAREST = 3

_BY_LOWER = {name.lower(): name for name in KNOWN}
_OWN = re.compile(r"LicenseRef-[A-Za-z0-9.-]{1,100}")
_JOINED = re.compile(r" (AND|OR) ")


def known(expression: str) -> str:
    """An SPDX id, or ids joined by AND or OR, as SPDX writes it; InvalidInput for any other."""
    words = _JOINED.split(expression.strip())
    return " ".join(word if place % 2 else _known(word.strip()) for place, word in enumerate(words))


def of_the_hub(name: str) -> str | None:
    """Hugging Face's identifier of a licence; None where it has none, as for several joined."""
    if name not in KNOWN or name in _UNKNOWN_TO_THE_HUB:
        return None
    plain = name.lower().removesuffix("-only").removesuffix("-or-later")
    return _OF_THE_HUB.get(plain, plain)


def _known(name: str) -> str:
    if _OWN.fullmatch(name):
        return name
    if found := _BY_LOWER.get(name.lower()):
        return found
    near = get_close_matches(name.lower(), _BY_LOWER, n=NEAREST, cutoff=0.4)
    meant = ", ".join(_BY_LOWER[one] for one in near)
    raise InvalidInput(
        f"{name[:100]!r} is not a licence we know",
        remedy=(f"did you mean {meant}? " if meant else "")
        + "Write an SPDX id such as MIT or CC-BY-4.0, or LicenseRef-NAME for one of your own",
    )
