"""Options that many commands share are told the same way by each: a domain, a path."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tdsys.cli import cli
from tdsys.core.policy import Policy
from tdsys.stages import policies
from tdsys.store import Store
from tests.commanding import Shell, one_line
from tests.factories import NOW, make_capture, make_captures
from tests.stored import admit, freeze, ingest, keep

# They make a domain, or name one that may come later.
MAY_BE_NEW = {"bootstrap", "import", "policy init", "policy set", "synthesize", "user create",
              "user set"}  # fmt: skip
NEEDED = {
    "--hours": "1",
    "--reason": "because",
    "--state": "parked",
    "--move": "approve",
    "--because": "because",
    "--to": "1",
    "--out": "/tmp/never",  # never written
}


def commands(one: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command by its words."""
    if not isinstance(one, click.Group):
        yield path, one
        return
    context = click.Context(one)
    for name in one.list_commands(context):
        found = one.get_command(context, name)
        assert found
        yield from commands(found, *path, name)


def asked(one: click.Command) -> list[str]:
    """What must be said beside the domain."""
    names = [p.opts[0] for p in one.params if p.required and "--domain" not in p.opts]
    return [word for name in names for word in (name, NEEDED[name])]


def test_every_command_says_the_same_of_a_domain_that_is_not_there(
    store: Store, tdsys: Shell
) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture(domain="sums")])
    found = {
        " ".join(words): one
        for words, one in commands(cli)
        if any("--domain" in p.opts for p in one.params)
    }
    assert set(found) >= MAY_BE_NEW
    for words in set(found) - MAY_BE_NEW:
        said = tdsys(*words.split(), "--domain", "summs", *asked(found[words]))
        assert (words, said.code) == (words, 2)
        assert one_line(said) == "tdsys: there is no domain 'summs' — use one of: sums"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("effectiveness show", "seed=1"),
        ("effectiveness recommend", "seed=1"),
        ("synthesize --count 5 --topics x", "collection=off"),
    ],
)
def test_a_command_that_is_suggested_names_a_domain_as_a_shell_takes_it(
    tdsys: Shell, store: Store, words: str, field: str
) -> None:
    domain = """it's "$HOME" sums"""
    tdsys("policy", "set", "--domain", domain, field)
    if "recommend" in words:
        with store.begin() as tx:
            admit(tx, make_captures(9, domain=domain))
            freeze(tx, domain=domain)
    said = tdsys(*words.split(), "--domain", domain)
    command = (said.out + said.err).partition("--domain ")[2].rstrip(" `\n")
    assert shlex.split(command.partition("`")[0])[0] == domain


def test_a_domain_of_which_only_a_policy_is_there_is_known(store: Store, tdsys: Shell) -> None:
    policies.put(store, domain="sums", policy=Policy(), author="ann", now=NOW)
    for words in ("dataset list", "report freshness", "alerts list"):
        assert tdsys(*words.split(), "--domain", "sums").code == 0
    assert tdsys("dataset", "show", "--domain", "sums").code == 3


@pytest.mark.parametrize("kind", ["quality", "coverage", "freshness", "mix", "diversity"])
def test_a_page_that_cannot_be_written_is_told_with_the_option_that_named_it(
    store: Store, tdsys: Shell, tmp_path: Path, kind: str
) -> None:
    policies.put(store, domain="sums", policy=Policy(), author="ann", now=NOW)
    path = tmp_path / "nowhere" / "x.html"
    said = tdsys("report", kind, "--domain", "sums", "--html", path)
    assert said.code == 2
    assert one_line(said).endswith("No such file or directory — choose another --html")


def test_a_file_that_cannot_be_written_is_told_with_its_own_option(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(4, domain="sums"))
        keep(tx, freeze(tx, domain="sums"))
    records, nowhere = tmp_path / "records.jsonl", tmp_path / "nowhere" / "file"
    records.write_text('{"problem": "1 + 1?", "solution": "2", "answer": "2"}')
    commands = {
        "--out": ("program", "export", "--domain", "sums"),
        "--save-mapping": ("import", records, "--domain", "sums", "--dry-run"),
        "--errors": ("import", records, "--domain", "sums", "--dry-run"),
    }
    for option, words in commands.items():
        said = tdsys(*words, option, nowhere)
        assert said.code == 2
        assert said.err.splitlines()[-1].endswith(f"cannot be written: No such file or directory "
                                                  f"— choose another {option}")  # fmt: skip
