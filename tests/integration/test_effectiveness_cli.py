"""`tdsys effectiveness` as typed, on the offline model (simulated) through real DSPy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tdsys.core.example import Capture
from tdsys.core.lifecycle import Move
from tdsys.stages import advising
from tdsys.store import Store, datasets, examples
from tests.advised import WORSE, measured_worse
from tests.attributed import World
from tests.commanding import Shell, one_line
from tests.factories import NOW, make_captures, make_items
from tests.stored import admit, freeze

DOMAIN = "algebra"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPY_CACHEDIR", str(tmp_path_factory.mktemp("answers")))
        yield


def problems(count: int) -> list[Capture]:
    return [
        blank.model_copy(update={"inputs": item.inputs, "outputs": item.outputs})
        for blank, item in zip(
            make_captures(count, domain=DOMAIN), make_items(DOMAIN, count), strict=True
        )
    ]


@pytest.fixture
def domain(here: Store) -> str:
    with here.begin() as tx:
        admit(tx, problems(24))
        freeze(tx, domain=DOMAIN)
    return DOMAIN


@pytest.mark.criterion("9.1")
def test_contributions_are_measured_and_shown_by_command(tdsys: Shell, domain: str) -> None:
    words = ("effectiveness", "attribute", "--domain", domain)
    plan = tdsys(*words, "--budget", "400", "--dry-run", "--json").document
    assert (plan["candidates"], plan["items"], plan["calls"]) == (8, 8, 400)
    assert 0 < plan["expected_error"] < 0.1
    assert "at most 400 calls of offline/" in tdsys(*words, "--budget", "400", "--dry-run").out

    said = tdsys(*words, "--budget", "160", "--json")
    assert said.code == 0, said.err
    found = said.document
    assert found["state"] == "finished"
    assert found["simulated"] is True
    assert 156 <= found["calls"] <= 160
    assert len(found["contributions"]) == 8
    assert set(found["contributions"][0]) == {
        "example", "value", "ci_low", "ci_high", "verdict", "n",
    }  # fmt: skip
    for one in found["contributions"]:
        assert one["ci_low"] <= one["value"] <= one["ci_high"]

    shown = tdsys("effectiveness", "show", "--domain", domain)
    assert "(simulated)" in shown.out
    assert "●" in shown.out
    told = tdsys("effectiveness", "show", "--domain", domain, "--json").document
    assert told == {**found, "recommendations": []}

    assert tdsys(*words, "--budget", "9", "--detach").code == 0
    both = tdsys("effectiveness", "show", "--domain", domain)
    assert "is under way: 0 of " in both.out
    assert "0 of at most 9 calls" in both.out
    assert "●" in both.out
    told = tdsys("effectiveness", "show", "--domain", domain, "--json").document
    assert told["attribution"] == found["attribution"]
    assert told["under_way"]["probes"]["done"] == 0


def test_what_is_not_there_is_said_with_what_to_do(tdsys: Shell, domain: str) -> None:
    nothing = tdsys("effectiveness", "show", "--domain", domain)
    assert nothing.code == 3
    assert "--dry-run" in one_line(nothing)
    assert "buys nothing" in one_line(
        tdsys("effectiveness", "attribute", "--domain", domain, "--budget", "1")
    )
    begun = tdsys("effectiveness", "attribute", "--domain", domain, "--budget", "9", "--detach")
    assert "is queued" in begun.out
    again = tdsys("effectiveness", "attribute", "--domain", domain, "--budget", "9")
    assert again.code == 3
    assert "is open" in one_line(again)
    assert tdsys("effectiveness", "cancel", "--domain", domain).code == 0
    assert tdsys("effectiveness", "cancel", "--domain", domain).code == 3


def test_a_newer_version_is_said_to_come_by_itself_only_where_it_does(
    tdsys: Shell, here: Store, domain: str
) -> None:
    words = ("effectiveness", "attribute", "--domain", domain, "--budget", "9", "--detach")
    with here.begin() as tx:
        (one, *_) = datasets.members(tx, version_id=1)
        examples.move(
            tx, example_id=one.example.id, move=Move.RETIRE, reason="by_hand", detail="",
            actor="bob", policy_version=1, now=NOW,
        )  # fmt: skip
    assert "a newer one comes by itself" in one_line(tdsys(*words))
    assert tdsys("policy", "set", "--domain", domain, "optimization=hold").code == 0
    held = one_line(tdsys(*words))
    assert "comes by itself" not in held
    assert "optimization: hold, so none comes" in held
    assert "tdsys dataset build" in held


def test_a_domain_that_is_mistyped_is_said_to_be_none_and_the_others_are_named(
    tdsys: Shell, domain: str
) -> None:
    commands = [
        *(("effectiveness", one) for one in ("attribute", "show", "problems", "recommend")),
        *(("optimize", one) for one in ("status", "activate", "rollback", "cancel", "watch")),
    ]
    for words in commands:
        said = tdsys(*words, "--domain", "algebar")
        assert said.code == 2
        assert f"there is no domain 'algebar' — use one of: {domain}" in one_line(said)


@pytest.mark.criterion("9.3")
def test_recommendations_are_made_followed_and_taken_back_by_command(
    tdsys: Shell, here: Store
) -> None:
    world = World(here)
    world.begin(budget=400)
    world.work()
    where = ("--domain", world.version.domain)
    rows = tdsys("effectiveness", "problems", *where, "--json").document["problems"]
    (harmful,) = [row for row in rows if row["fault"] == "harmful"]
    assert harmful["example"] == world.train[0].fingerprint
    assert "harmful" in tdsys("effectiveness", "problems", *where).out

    made = tdsys("effectiveness", "recommend", *where, "--json").document["recommendations"]
    one = next(row for row in made if row["kind"] == "retire")
    assert one["predicted"]["low"] < one["predicted"]["value"] < one["predicted"]["high"]
    assert one["reason"]
    assert one["evidence"]
    id_ = str(one["id"])
    plan = tdsys("effectiveness", "impact", id_, "--seeds", "1", "--dry-run", "--json").document
    assert plan["calls"] > 0
    assert tdsys("effectiveness", "cancel", "--impact", id_).code == 3
    assert tdsys("effectiveness", "cancel").code == 2
    assert "queued" in tdsys("effectiveness", "impact", id_, "--seeds", "1", "--detach").out
    assert "already" in tdsys("effectiveness", "impact", id_, "--seeds", "1", "--detach").out
    assert "is cancelled" in tdsys("effectiveness", "cancel", "--impact", id_).out
    shown = tdsys("effectiveness", "apply", id_, "--dry-run")
    assert "1 of them are admitted now" in shown.out
    done = tdsys("effectiveness", "apply", id_, "--json").document
    assert done["state"] == "applied"
    assert done["version"]["number"] == world.version.number + 1
    assert tdsys("effectiveness", "apply", id_).code == 1
    assert "is reverted" in tdsys("effectiveness", "revert", id_).out
    everything = tdsys("effectiveness", "recommend", *where, "--all").out
    assert "reverted" in everything


@pytest.mark.criterion("9.4")
def test_a_measured_impact_is_shown_wherever_the_recommendation_is_and_heeded(
    tdsys: Shell, here: Store
) -> None:
    world = World(here)
    world.begin(budget=400)
    world.work()
    (one,) = (
        r
        for r in advising.recommend(here, domain=world.version.domain, clock=world.clock)
        if r.kind == "retire"
    )
    id_, where = str(one.id), ("--domain", world.version.domain)
    recommend = ("effectiveness", "recommend", *where)
    assert "measured: not yet" in tdsys(*recommend).out
    measured_worse(here, one, world.clock)
    said = f"{WORSE} (simulated, {world.clock():%Y-%m-%d %H:%M} UTC)"
    assert said in tdsys("effectiveness", "show", *where).out
    assert "gain -0.253" in tdsys(*recommend).out

    made = tdsys(*recommend, "--json").document["recommendations"]
    told = next(row["impact"] for row in made if row["id"] == one.id)
    assert (told["outcome"]["finding"], told["outcome"]["with"]) == ("worse", 0.9)
    assert told["finished_at"]
    (shown,) = tdsys("effectiveness", "show", *where, "--json").document["recommendations"]
    assert shown["impact"] == told
    plan = ("effectiveness", "impact", id_, "--dry-run")
    assert tdsys(*plan, "--json").document["calls"] == 0
    assert said in tdsys(*plan).out
    again = tdsys("effectiveness", "impact", id_, "--json").document
    assert again["impact"] == told["outcome"]

    apply = ("effectiveness", "apply", id_)
    dry = tdsys(*apply, "--dry-run")
    assert said in dry.out
    assert f"apply {id_} --despite-impact" in dry.out
    refused = tdsys(*apply)
    assert refused.code == 3
    assert said in one_line(refused)
    assert f"apply {id_} --despite-impact" in one_line(refused)
    done = tdsys(*apply, "--despite-impact")
    assert (done.code, said in done.out) == (0, True)
    # Now the evidence is of older data.
    assert "was measured before the data changed" in tdsys(*recommend).err
    assert tdsys(*recommend, "--json").document["unmeasured"]
