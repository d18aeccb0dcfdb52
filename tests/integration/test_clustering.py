"""Clusters of near-duplicates: what is stored is what comparing every two would come to."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import text

from tdsys import reference
from tdsys.core import versions
from tdsys.core.dataset import Split
from tdsys.core.example import Candidate
from tdsys.core.matching import MOST_PER_KEY
from tdsys.core.matching import clusters as compared
from tdsys.core.policy import Policy, Signature
from tdsys.core.sketching import sketch
from tdsys.core.versions import Pool
from tdsys.stages import clustering, scoring
from tdsys.stages.drafting import groups
from tdsys.stages.scoring import Limits
from tdsys.store import Store, burials, clusters, neighbours
from tdsys.store.neighbours import Neighbour
from tdsys.store.reviews import contents
from tdsys.store.reviews.contents import Edit
from tests.commanding import Shell
from tests.editing import EDITS
from tests.factories import NOW, PROBLEM, make_admitted, make_capture
from tests.processes import wait_for
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier
from tests.stored import LEASE, claim, ingest, waits

ANN = "Ann has 12 red apples. She gives five of them to Ben. How many apples does Ann keep?"
CARL = "Carl has 7 red apples. She gives 3 of them to Dora. How many apples does Carl keep?"
ASIDE = (
    "Eve has 9 red apples. The weather is fine today. She gives 4 of them to Finn. "
    "How many apples does Eve keep?"
)
TRAIN = "A train leaves the station at noon and drives for 3 hours at 60 miles per hour. How far?"


def stored(store: Store, problems: Sequence[str], *, domain: str = "d") -> list[Candidate]:
    """These problems as candidates, in their order."""
    with store.begin() as tx:
        for n, problem in enumerate(problems):
            inputs = {"topic": "t", "n": str(n)}
            outputs = {**PROBLEM, "problem": problem}
            ingest(tx, [make_capture(domain=domain, inputs=inputs, outputs=outputs)])
        return sorted(claim(tx), key=lambda one: one.id)


def place(store: Store, candidates: Sequence[Candidate]) -> None:
    for domain in sorted({one.domain for one in candidates}):
        clustering.place(
            store, domain=domain, examples=[one for one in candidates if one.domain == domain]
        )


def partition(store: Store, candidates: Sequence[Candidate]) -> set[frozenset[int]]:
    """Places in the list, by their cluster."""
    with store.begin() as tx:
        found = clusters.clusters(tx, example_ids=[one.id for one in candidates])
    return grouped([found[one.id] for one in candidates])


def grouped(names: Sequence[int]) -> set[frozenset[int]]:
    groups: dict[int, set[int]] = {}
    for place_, name in enumerate(names):
        groups.setdefault(name, set()).add(place_)
    return {frozenset(group) for group in groups.values()}


@pytest.fixture(scope="module")
def problems() -> list[str]:
    """A few hundred in which there are near-duplicates of every kind, and of no key a crowd."""
    rng = random.Random(3)
    path = Path(reference.__file__).parent / "gsm8k" / "problems.jsonl"
    told = [json.loads(line)["question"] for line in path.open()]
    edited = [change(one, rng, told) for one in told[:15] for change in EDITS.values()]
    return rng.sample([*told[:120], *edited], 240)


def test_problems_of_one_template_or_of_nearly_the_same_words_share_a_cluster(
    store: Store,
) -> None:
    candidates = stored(store, [ANN, TRAIN, CARL, ASIDE])
    place(store, candidates)
    assert partition(store, candidates) == {frozenset({0, 2, 3}), frozenset({1})}


def test_domains_share_no_cluster(store: Store) -> None:
    candidates = [*stored(store, [ANN], domain="a"), *stored(store, [ANN], domain="b")]
    place(store, candidates)
    assert len(partition(store, candidates)) == 2


@pytest.mark.parametrize("block", [1, 7, 500])
def test_block_by_block_comes_to_what_comparing_all_at_once_comes_to(
    store: Store, problems: list[str], block: int
) -> None:
    some = problems[: 60 if block == 1 else None]
    candidates = stored(store, some)
    order = list(candidates)
    random.Random(block).shuffle(order)
    for start in range(0, len(order), block):
        place(store, order[start : start + block])
    found = partition(store, candidates)
    assert found == grouped(compared(some))
    assert 1 < len(found) < len(some)


def test_of_a_key_no_more_examples_are_kept_than_stand_for_it(store: Store) -> None:
    """One sentence that all begin with, and another one each: too far to be near-duplicates."""
    told = [f"Every baker of our town sells sweet buns. {ends}" for ends in ENDS]
    candidates = stored(store, told)
    for block in (candidates[:10], candidates[10:]):
        place(store, block)
    assert len(partition(store, candidates)) == len(told)
    with store.begin() as tx:
        each = tx.scalars(text("SELECT count(*) FROM example_keys GROUP BY key")).all()
        held = tx.scalar(text("SELECT count(DISTINCT example_id) FROM example_keys"))
    assert (max(each), held) == (MOST_PER_KEY, len(told))


def test_two_workers_at_once_come_to_what_one_comes_to(store: Store, problems: list[str]) -> None:
    candidates = stored(store, problems)
    blocks = [candidates[start::8] for start in range(8)]
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda block: place(store, block), [*blocks, *blocks]))
    assert partition(store, candidates) == grouped(compared(problems))


def test_a_problem_that_is_like_two_clusters_makes_them_one(store: Store) -> None:
    told = (
        "A baker bakes 3 trays of buns.",
        "Every tray holds a dozen sweet buns.",
        "Two trays are sold before breakfast.",
        "Hungry children eat 7 buns at noon.",
        "The baker gives 4 buns to a beggar.",
        "How many buns stay on the shelf?",
    )
    halves, between = (" ".join(told[:3]), " ".join(told[3:])), " ".join(told[1:5])
    candidates = stored(store, [*halves, between])
    place(store, candidates[:2])
    before = partition(store, candidates[:2])
    place(store, candidates[2:])
    assert len(before) == 2
    assert partition(store, candidates) == {frozenset({0, 1, 2})}


def test_placing_again_changes_nothing(store: Store) -> None:
    candidates = stored(store, [ANN, CARL])
    place(store, candidates)
    with store.begin() as tx:
        rows = [set(tx.execute(text(f"SELECT * FROM {name}"))) for name in TABLES]  # noqa: S608
    place(store, candidates)
    with store.begin() as tx:
        assert rows == [set(tx.execute(text(f"SELECT * FROM {name}"))) for name in TABLES]  # noqa: S608


NOUNS = (
    "baker",
    "miller",
    "tailor",
    "smith",
    "fisher",
    "hunter",
    "weaver",
    "potter",
    "mason",
    "cook",
)
ENDS = [
    " ".join(f"{word}{letter}" for word in ("ping", "quar", "ront", "sule", "tarn", "uvel"))
    for letter in "abcdefghijklmnopqrstuvwxyzäöüéèàç"
]
TABLES = ("templates", "example_keys", "example_templates")


def test_neighbours_come_by_likeness_with_what_a_person_wants_to_see(store: Store) -> None:
    candidates = stored(store, [ANN, TRAIN, ASIDE, CARL])
    place(store, candidates)
    with store.begin() as tx:
        first, second = neighbours.nearest(tx, example_id=candidates[0].id, limit=5)
        (one,) = neighbours.nearest(tx, example_id=candidates[0].id, limit=1)
        assert neighbours.nearest(tx, example_id=candidates[1].id, limit=5) == []
        assert neighbours.nearest(tx, example_id=10**9, limit=5) == []
    assert (first.problem, first.likeness, first.same_cluster) == (CARL, 1.0, True)
    assert (second.problem, second.state, second.source) == (ASIDE, "candidate", "captured")
    assert 0.5 < second.likeness < 1
    assert one == first


def test_neighbours_of_many_new_problems_at_once_are_those_of_each_alone(
    store: Store, problems: list[str]
) -> None:
    rng = random.Random(5)
    there, new = problems[:60], [*problems[60:], ""]
    new += [change(problem, rng, problems) for problem in there[:8] for change in EDITS.values()]
    place(store, stored(store, there))
    place(store, stored(store, there[:5], domain="other"))

    def near(*asked: str) -> list[list[Neighbour]]:
        with store.begin() as tx:
            return neighbours.nearest_to(tx, domain="d", new=asked, limit=3)

    assert near() == []
    found = near(*new)
    assert found == [one for problem in new for one in near(problem)]
    assert sum(map(bool, found)) > len(new) // 3
    assert all(len(one) <= 3 for one in found)


@pytest.mark.parametrize("problem", ["", "?", "12", "解方程", "\U0001f600" * 50, "a " * 5000])
def test_a_strange_problem_is_placed_like_any_other(store: Store, problem: str) -> None:
    candidates = stored(store, [problem, ANN, f"{problem} "])
    place(store, candidates)
    assert partition(store, candidates) == {frozenset({0, 2}), frozenset({1})}


def test_what_is_purged_leaves_its_cluster(store: Store) -> None:
    candidates = stored(store, [ANN, CARL])
    place(store, candidates)
    with store.begin() as tx:
        tx.execute(text("DELETE FROM examples WHERE id = :id"), {"id": candidates[0].id})
        assert neighbours.nearest(tx, example_id=candidates[1].id, limit=5) == []
    place(store, candidates)
    with store.begin() as tx:
        assert len(clusters.clusters(tx, example_ids=[one.id for one in candidates])) == 1


def test_what_is_gone_leaves_no_template_either(store: Store) -> None:
    """It was claimed, and forgotten before it was placed."""
    gone, stays = stored(store, [ANN, TRAIN])
    with store.begin() as tx:
        tx.execute(text("DELETE FROM examples WHERE id = :id"), {"id": gone.id})
    with store.begin() as tx:
        both = {gone.id: sketch(ANN), stays.id: sketch(TRAIN)}
        clusters.place(tx, domain="d", sketches=both)
        marks = set(tx.scalars(text("SELECT mark FROM templates")))
        keyed = set(tx.scalars(text("SELECT example_id FROM example_keys")))
    assert (marks, keyed) == ({sketch(TRAIN).template}, {stays.id})


def keyed(store: Store) -> dict[int, int]:
    """How many keys each example has."""
    with store.begin() as tx:
        told = "SELECT example_id, count(*) FROM example_keys GROUP BY 1"
        return dict(tx.execute(text(told)).all())


def test_one_example_of_a_template_has_the_keys_of_its_wording(store: Store) -> None:
    first, second = stored(store, [ANN, CARL])
    place(store, [first, second])
    held = keyed(store)
    assert held[first.id] > held[second.id] > 0


def test_when_who_led_is_gone_the_next_of_its_template_leads(store: Store) -> None:
    gone, stays, comes, aside = stored(store, [ANN, CARL, ANN.replace("Ben", "Eve"), ASIDE])
    place(store, [gone, stays])
    with store.begin() as tx:
        decided = "UPDATE examples SET state = 'rejected', due_at = NULL WHERE id = :id"
        tx.execute(text(decided), {"id": gone.id})
        assert burials.purge(tx, ids=[gone.id], actor="ann", reason="old", now=NOW) == 1
    led = keyed(store)
    assert led.keys() == {stays.id}
    place(store, [comes])
    held = keyed(store)
    assert held.keys() == {stays.id, comes.id}
    assert held[stays.id] == led[stays.id] > held[comes.id]
    place(store, [aside])
    assert partition(store, [stays, comes, aside]) == {frozenset({0, 1, 2})}


def test_an_edited_example_is_placed_by_its_new_text_at_once_and_leads_no_more(
    store: Store,
) -> None:
    first, second, third = stored(store, [ANN, CARL, TRAIN])
    place(store, [first, second, third])
    edit = Edit(inputs={"topic": "t"}, outputs={**PROBLEM, "problem": TRAIN})
    with store.begin() as tx:
        contents.replace(tx, example_id=first.id, edit=edit, editor="ann", vouched=True, now=NOW)
    held = keyed(store)
    assert held[second.id] > held[first.id], "it leads now, beside TRAIN's first"
    assert partition(store, [first, second, third]) == {frozenset({0, 2}), frozenset({1})}


def test_what_was_placed_by_another_rule_keeps_its_cluster_and_is_placed_again(
    store: Store,
) -> None:
    candidates = stored(store, [ANN, CARL, TRAIN])
    place(store, candidates)
    before, held = partition(store, candidates), keyed(store)
    with store.begin() as tx:
        tx.execute(text("UPDATE example_templates SET features = NULL"))
        tx.execute(text("UPDATE templates SET led = false"))
        tx.execute(
            text("DELETE FROM example_keys WHERE example_id > :id"), {"id": candidates[0].id}
        )
        assert neighbours.nearest(tx, example_id=candidates[0].id, limit=5) == []
        ids = {one.id for one in candidates}
        assert clusters.unplaced(tx, example_ids=ids) == ids
    place(store, candidates)
    assert (partition(store, candidates), keyed(store)) == (before, held)
    with store.begin() as tx:
        (near,) = neighbours.nearest(tx, example_id=candidates[0].id, limit=5)
    assert near.example_id == candidates[1].id


def test_who_forgets_and_who_places_do_not_wait_for_each_other_in_a_circle(store: Store) -> None:
    """Forgetting holds an example and wants its domain; placing it waits before it has that."""
    (one,) = stored(store, [ANN])
    with ThreadPoolExecutor(1) as other, store.begin() as tx:
        tx.execute(text("SELECT FROM examples WHERE id = :id FOR UPDATE"), {"id": one.id})
        placing = other.submit(place, store, [one])
        wait_for(lambda: waits(store), "it waits for the example")
        clusters.hold(tx, domain="d")
        assert not placing.done()
    placing.result(timeout=10)
    assert partition(store, [one]) == {frozenset({0})}


def killed(_: Candidate) -> NoReturn:
    """The worker dies while it waits for the judge."""
    raise KeyboardInterrupt


@pytest.mark.criterion("10.2")
def test_whatever_is_decided_is_in_a_cluster_however_the_worker_died(store: Store) -> None:
    for n, problem in enumerate((ANN, TRAIN, CARL)):
        inputs = {"topic": "t", "n": str(n)}
        with store.begin() as tx:
            ingest(
                tx,
                [make_capture(domain="d", inputs=inputs, outputs={**PROBLEM, "problem": problem})],
            )
    clock, limits = Clock(), Limits(block=2, lease=LEASE, max_attempts=3)
    with pytest.raises(KeyboardInterrupt):
        scoring.score_due(
            store,
            judge=ScriptedJudge(killed),
            verifier=ScriptedVerifier(),
            clock=clock,
            limits=limits,
        )
    clock.forward(seconds=LEASE.total_seconds() + 1)
    done = scoring.score_due(
        store, judge=ScriptedJudge(), verifier=ScriptedVerifier(), clock=clock, limits=limits
    )
    assert done.decided == 3
    with store.begin() as tx:
        placed = clusters.clusters(tx, example_ids=[1, 2, 3])
    assert grouped([placed[id_] for id_ in (1, 2, 3)]) == {frozenset({0, 2}), frozenset({1})}


def test_a_version_keeps_near_duplicates_together_and_not_the_ends_of_a_chain() -> None:
    said = [f"The {noun} keeps silent about the {noun} guild." for noun in NOUNS]
    ends = [" ".join(said[:5]), " ".join(said[5:10])]
    alike = [" ".join(said[:5]), " ".join(said[:4])]
    chained = [
        make_admitted(n, outputs={**PROBLEM, "problem": text})
        for n, text in enumerate([*ends, *alike])
    ]
    one_cluster = dict.fromkeys(range(len(chained)), 7)
    pool = Pool(chained, [], one_cluster, lambda chosen: groups(chosen, one_cluster), {})
    drafted = versions.draft(pool, Policy(), Signature(), None)
    named = {member.example.id: (member.cluster, member.split) for member in drafted.members}
    assert named[0] == named[2] == named[3] != named[1]
    assert {split for _, split in named.values()} <= set(Split)


def test_the_examples_most_like_one_are_shown_and_told(tdsys: Shell, store: Store) -> None:
    candidates = stored(store, [ANN, TRAIN, f"{CARL}\x1b"])
    place(store, candidates)
    shown = tdsys("examples", "near", str(candidates[0].id))
    assert (shown.code, "1.00" in shown.out, "\x1b" in shown.out) == (0, True, False)
    (one,) = tdsys("examples", "near", str(candidates[0].id), "--json").document
    assert (one["example_id"], one["same_cluster"]) == (candidates[2].id, True)
    assert tdsys("examples", "near", "999", "--json").document == []
    story = tdsys("why", str(candidates[0].id)).out
    assert f"example {candidates[2].id}, candidate: likeness 1.00, in the same cluster" in story
