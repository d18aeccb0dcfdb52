"""Licences are named as SPDX names them."""

from __future__ import annotations

import pytest

from tdsys.core.conversion import ImportOptions
from tdsys.core.licences import known
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


def test_a_file_without_a_licence_says_so() -> None:
    assert ImportOptions().license == "NOASSERTION"
