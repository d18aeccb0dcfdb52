"""Licences are named as SPDX names them."""

from __future__ import annotations

import pytest

from tdsys.core.conversion import ImportOptions
from tdsys.core.licences import KNOWN, known, of_the_hub
from tdsys.errors import InvalidInput


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("mit", "MIT"),
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("apache-2.0 OR mit", "Apache-2.0 OR MIT"),
        ("LicenseRef-our-own.2", "LicenseRef-our-own.2"),
    ],
)
def test_a_known_licence_is_written_as_spdx_writes_it(given: str, written: str) -> None:
    assert known(given) == written


@pytest.mark.parametrize(
    ("given", "remedy"),
    [("Apache 2", "Apache-2.0"), ("cc-by", "CC-BY"), ("", "SPDX"), ("LicenseRef-", "LicenseRef-N")],
)
def test_an_unknown_licence_is_refused_with_the_nearest(given: str, remedy: str) -> None:
    with pytest.raises(InvalidInput, match="not a licence we know") as refused:
        known(given)
    assert remedy in refused.value.remedy


# https://huggingface.co/docs/hub/repositories-licenses: any other is refused at the upload.
HUB = {
    "apache-2.0", "mit", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "c-uda", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0", "cdla-permissive-1.0",
    "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "eupl-1.1", "agpl-3.0",
    "gfdl", "gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "isc", "lppl-1.3c", "ms-pl",
    "mpl-2.0", "odc-by", "odbl", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl",
}  # fmt: skip


def test_hugging_face_is_told_one_of_its_own_identifiers_or_none() -> None:
    told = {name: of_the_hub(name) for name in KNOWN}
    assert set(told.values()) == HUB | {None}
    assert (told["GPL-3.0-or-later"], told["ODbL-1.0"], told["MIT-0"]) == ("gpl-3.0", "odbl", None)
    assert of_the_hub("LicenseRef-ours") is None
    assert of_the_hub("MIT OR ISC") is None


def test_a_file_without_a_licence_says_so() -> None:
    assert ImportOptions().license == "NOASSERTION"
