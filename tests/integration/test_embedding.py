"""Embeddings: paraphrases share a cluster where a policy says so, and nothing ever waits for it."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tdsys import runtime
from tdsys.core import versions
from tdsys.core.dataset import Admitted
from tdsys.core.embedding import LONGEST_TEXT, Unembedded
from tdsys.core.example import Candidate
from tdsys.core.policy import Policy, Signature
from tdsys.core.sections import Embedding
from tdsys.core.versions import Pool
from tdsys.errors import ConfigurationError, InvalidInput, ModelUnavailable
from tdsys.limiter import LocalLimiter
from tdsys.llm import embedding as asking
from tdsys.llm.embedding import ModelEmbedder
from tdsys.llm.gateway import Gateway
from tdsys.llm.naming import gauge
from tdsys.stages import clustering, drafting, embedding, forgetting, policies, scoring
from tdsys.stages.scoring import Limits
from tdsys.store import Store, clusters, neighbours, vectors
from tests.commanding import Shell, one_line
from tests.factories import NOW, PROBLEM, make_capture
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier
from tests.stored import LEASE, admit, claim, count, ingest
from tests.stub_provider import StubProvider

SOLD = "Ann sells a dozen eggs each morning at the market. How many does she sell in a week?"
TOLD = "Every day, twelve of his hens' products find a buyer. What is the total after 7 days?"
TRAIN = "A train leaves the station at noon and drives for 3 hours at 60 miles per hour. How far?"
MEANING = {SOLD: [3.0, 0.1, 0.0], TOLD: [3.0, 0.0, 0.1], TRAIN: [0.0, 0.0, 2.0]}
RULES = Embedding(model="meaning", likeness=0.95)


class Meaning:
    """Embeds by a table, until it is told otherwise."""

    def __init__(self, rows: dict[str, list[float]] = MEANING) -> None:
        self.rows = dict(rows)
        self.asked: list[list[str]] = []
        self.is_away = False

    def __call__(self) -> Meaning:
        return self

    def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float] | Unembedded]:
        self.asked.append(list(texts))
        if self.is_away:
            raise ModelUnavailable("nobody there", remedy="wait")
        return [self.rows[text] for text in texts]


@pytest.fixture
def domain(store: Store) -> str:
    """A domain whose policy names an embedder."""
    with store.begin() as tx:
        has = tx.scalar(text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"))
    if not has:
        pytest.skip("this Postgres does not ship pgvector")
    policies.put(store, domain="d", policy=Policy(embedder=RULES), author="ann", now=NOW)
    return "d"


def captured(store: Store, problems: Sequence[str]) -> None:
    with store.begin() as tx:
        for n, problem in enumerate(problems):
            inputs = {"topic": "t", "difficulty": "easy", "n": str(n)}
            outputs = {**PROBLEM, "problem": problem}
            ingest(tx, [make_capture(domain="d", inputs=inputs, outputs=outputs)])


def placed(store: Store, problems: Sequence[str]) -> list[Candidate]:
    captured(store, problems)
    with store.begin() as tx:
        found = sorted(claim(tx), key=lambda one: one.id)
    clustering.place(store, domain="d", examples=found)
    return found


def named(store: Store, count_: int = 3) -> list[int]:
    with store.begin() as tx:
        found = clusters.clusters(tx, example_ids=range(1, count_ + 1))
    return [found[id_] for id_ in range(1, count_ + 1)]


def score(store: Store, embedder: Meaning) -> scoring.Scored:
    return scoring.score_due(
        store,
        judge=ScriptedJudge(),
        verifier=ScriptedVerifier(),
        clock=Clock(),
        limits=Limits(block=2, lease=LEASE, max_attempts=3),
        embedder=embedder,
    )


def test_scoring_puts_paraphrases_into_one_cluster(store: Store, domain: str) -> None:
    embedder = Meaning()
    captured(store, [SOLD, TRAIN, TOLD])
    assert score(store, embedder).decided == 3
    first, second, third = named(store)
    assert first == third != second
    assert embedder.asked == [[SOLD, TRAIN], [TOLD]]
    with store.begin() as tx:
        near, *others = neighbours.nearest(tx, example_id=1, limit=5)
        assert tx.scalar(text("SELECT vector IS NOT NULL FROM example_vectors LIMIT 1"))
    assert others == []
    assert (near.example_id, near.same_cluster, near.likeness < 0.4) == (3, True, True)
    assert near.embedded == pytest.approx(0.998, abs=0.002)
    assert embedding.catch_up(store, embedder, now=NOW) == [embedding.Embedded(domain)]


def test_a_domain_without_an_embedder_asks_nobody(store: Store) -> None:
    embedder = Meaning()
    captured(store, [SOLD, TRAIN, TOLD])
    assert score(store, embedder).decided == 3
    assert embedding.catch_up(store, embedder, now=NOW) == []
    assert (embedder.asked, len(set(named(store)))) == ([], 3)


def test_an_embedder_that_is_away_stops_nothing_and_is_caught_up_with(
    store: Store, domain: str
) -> None:
    embedder = Meaning()
    embedder.is_away = True
    captured(store, [SOLD, TRAIN, TOLD])
    assert score(store, embedder).decided == 3
    assert len(embedder.asked) == 1  # the second block of the bell waits for nobody
    (away,) = embedding.catch_up(store, embedder, now=NOW)
    assert (away.done, "nobody there" in away.away) == (0, True)
    assert len(set(named(store))) == 3
    embedder.is_away = False
    assert embedding.catch_up(store, embedder, now=NOW) == [
        embedding.Embedded(domain, done=3, joined=1)
    ]
    first, second, third = named(store)
    assert first == third != second


@pytest.mark.parametrize("row", [[1.0, math.nan, 0.0], [3.0, 0.0], [0.0, 0.0, 0.0], []])
def test_garbage_is_a_reason_and_never_a_number(
    store: Store, domain: str, row: list[float]
) -> None:
    embedder = Meaning({**MEANING, TOLD: row})
    placed(store, [SOLD, TRAIN, TOLD, "x" * (LONGEST_TEXT + 1)])
    (came,) = embedding.catch_up(store, embedder, now=NOW)
    assert (came.done, came.refused, came.joined) == (2, 2, 0)
    with store.begin() as tx:
        assert count(tx, "example_vectors WHERE vector IS NULL AND reason <> ''") == 2
    assert embedding.catch_up(store, embedder, now=NOW) == [embedding.Embedded(domain)]
    embedder.rows = MEANING
    (later,) = embedding.catch_up(store, embedder, now=NOW + timedelta(days=1))
    assert (later.done, later.refused, later.joined) == (1, 1, 1)


@pytest.mark.usefixtures("domain")
def test_workers_at_once_come_to_what_one_comes_to(store: Store) -> None:
    policies.put(store, domain="e", policy=Policy(embedder=RULES), author="ann", now=NOW)
    placed(store, [SOLD, TRAIN, TOLD])
    with store.begin() as tx:
        outputs = {**PROBLEM, "problem": SOLD}
        ingest(tx, [make_capture(domain="e", outputs=outputs)])
        other = claim(tx)
    clustering.place(store, domain="e", examples=other)
    by_one = [("d", [1]), ("d", [2]), ("e", [4]), ("d", [3])]

    def embed(work: tuple[str, list[int]]) -> embedding.Embedded:
        name, ids = work
        return embedding.embed(store, Meaning(), domain=name, now=NOW, among=ids)

    with ThreadPoolExecutor(4) as workers:
        came = list(workers.map(embed, by_one))
    assert [(one.done, one.away) for one in came] == [(1, "")] * 4
    first, second, third, elsewhere = named(store, 4)
    assert first == third != second
    assert elsewhere not in {first, second}


def test_another_model_is_never_compared_with_the_one_before(store: Store, domain: str) -> None:
    embedder = Meaning()
    placed(store, [SOLD, TRAIN])
    embedding.catch_up(store, embedder, now=NOW)
    other = Policy(embedder=Embedding(model="other"))
    policies.put(store, domain=domain, policy=other, author="ann", now=NOW)
    embedder.rows = {SOLD: [1.0, 0.0], TRAIN: [1.0, 0.1]}
    assert embedding.catch_up(store, embedder, now=NOW) == [
        embedding.Embedded(domain, done=2, joined=1)
    ]
    assert len(set(named(store, 2))) == 1


@pytest.mark.usefixtures("domain")
def test_what_was_edited_or_forgotten_while_it_was_embedded_gets_no_vector(store: Store) -> None:
    placed(store, [SOLD, TOLD])

    class Slow(Meaning):
        def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float] | Unembedded]:
            with store.begin() as tx:
                tx.execute(text("UPDATE examples SET fingerprint = 'edited' WHERE id = 1"))
            return super().embed(model, texts)

    (came,) = embedding.catch_up(store, Slow(), now=NOW)
    assert (came.done, came.joined) == (1, 0)
    embedding.catch_up(store, Meaning(), now=NOW)
    with store.begin() as tx:
        assert count(tx, "example_vectors") == 2
        tx.execute(text("DELETE FROM example_templates WHERE example_id = 1"))  # as an edit does
        assert count(tx, "example_vectors") == 1
    forgetting.forget(store, ids=[2], actor="ann", reason="asked to", now=NOW)
    with store.begin() as tx:
        assert count(tx, "example_vectors") == 0


@pytest.mark.criterion("10.2")
def test_a_version_keeps_paraphrases_in_one_split(store: Store, domain: str) -> None:
    problems = [f"{said} {n}" for n, said in enumerate((SOLD, TRAIN, TOLD))]
    with store.begin() as tx:
        for n, problem in enumerate(problems):
            inputs = {"topic": "t", "difficulty": "easy", "n": str(n)}
            outputs = {**PROBLEM, "problem": problem}
            admit(tx, [make_capture(domain="d", inputs=inputs, outputs=outputs)])
    drafting.read(store, domain=domain)
    rows = dict(zip(problems, (MEANING[said] for said in (SOLD, TRAIN, TOLD)), strict=True))
    embedding.catch_up(store, Meaning(rows), now=NOW)
    known = drafting.read(store, domain=domain)

    def members(links: drafting.Links) -> list[int]:
        def grouped(chosen: Sequence[Admitted]) -> list[int]:
            return drafting.groups(chosen, known.clusters, links)

        pool = Pool(known.admitted, [], known.clusters, grouped, {})
        drafted = versions.draft(pool, Policy(), Signature(), None)
        return [one.cluster for one in sorted(drafted.members, key=lambda one: one.example.id)]

    first, second, third = members(known.links)
    assert first == third != second
    assert len(set(members(lambda _: []))) == 3


MANY = """
    INSERT INTO example_vectors (example_id, domain, model, vector)
    SELECT n, 'd', :model, ARRAY[cos(n), sin(n), cos(2 * n)] FROM generate_series(1, 1000) AS n
    """


def test_the_nearest_are_found_by_an_index_whatever_the_model_is_called(
    store: Store, domain: str
) -> None:
    model = "it's 100% :new"
    with store.begin() as tx:
        tx.execute(text("SET LOCAL session_replication_role = replica"))  # without their examples
        for _ in range(2):
            vectors.index(tx, domain=domain, model=model, size=3)
        tx.execute(text(MANY), {"model": model})
        clusters.hold(tx, domain=domain)
        asked = {"domain": domain, "model": model, "ids": [1, 2], "most": 3}
        plan = "\n".join(tx.scalars(text(f"EXPLAIN {vectors._NEAREST.format(size=3)}"), asked))
        near = vectors.nearest(tx, domain=domain, model=model, size=3, example_ids=[7], limit=2)
        tx.execute(text("TRUNCATE example_vectors"))
    assert "Index Scan using ix_example_vectors_near" in plan
    assert [one.example_id for one in near] == [7, 7]
    assert near[0].cosine >= near[1].cosine > 0.99


@pytest.mark.usefixtures("domain")
def test_nearest_and_why_say_the_embedding(tdsys: Shell, store: Store) -> None:
    placed(store, [SOLD, TRAIN, TOLD])
    embedding.catch_up(store, Meaning(), now=NOW)
    (near,) = tdsys("examples", "near", "1", "--json").document
    assert (near["example_id"], near["embedded"] > 0.99) == (3, True)
    assert "1.00" in tdsys("examples", "near", "1").out
    assert "1.00 by embedding, in the same cluster" in tdsys("why", "1").out
    captured(store, ["What is 6 * 7?"])
    with store.begin() as tx:
        ids = [one.id for one in claim(tx)]
        assert vectors.waiting(tx, domain="d", model="meaning", example_ids=[1, *ids]) == 1


def test_without_pgvector_a_policy_is_refused_and_nothing_else_stops(
    store: Store, domain: str
) -> None:
    placed(store, [SOLD, TRAIN, TOLD])
    embedding.catch_up(store, Meaning(), now=NOW)
    with store.begin() as tx:
        tx.execute(text("DROP EXTENSION vector CASCADE"))
        is_18 = tx.scalar(text("SELECT current_setting('server_version_num')::int >= 180000"))
    try:
        (came,) = embedding.catch_up(store, Meaning(), now=NOW)
        assert came.away == embedding.NO_PGVECTOR
        with store.begin() as tx:
            assert neighbours.nearest(tx, example_id=1, limit=5) == []
        assert drafting.read(store, domain=domain).links({1: 1, 3: 1}) == []
        for hindrance, said in (
            ("SET LOCAL extension_control_path = '/nowhere'", "not available"),
            ("CREATE ROLE nobody_of_ours; SET LOCAL ROLE nobody_of_ours", "permission denied"),
        )[0 if is_18 else 1 :]:
            with pytest.raises(InvalidInput, match="embedder needs pgvector") as refused:
                _hindered(store, hindrance)
            assert said in str(refused.value)
            assert "leave `embedder` out" in str(refused.value.remedy)
    finally:
        with store.begin() as tx:
            vectors.provide(tx)


def _hindered(store: Store, hindrance: str) -> None:
    with store.begin() as tx:
        tx.exec_driver_sql(hindrance)
        vectors.provide(tx)


@pytest.mark.usefixtures("store")
def test_a_command_refuses_an_embedder_that_is_not_installed(tdsys: Shell) -> None:
    for model, said in (
        ("absent", "tdsys.embedders has no 'absent'"),
        ("nobody/small", "no provider is called 'nobody'"),
    ):
        given = f'embedder={{"model": "{model}"}}'
        refused = tdsys("policy", "set", "--domain", "d", given)
        assert (refused.code, said in one_line(refused)) == (2, True)


PACKAGE = """
def letters(texts):
    if any("boom" in text for text in texts):
        raise RuntimeError("cannot")
    if any("away" in text for text in texts):
        raise ConnectionError("down")
    return [[text.count(letter) for letter in "abc"] for text in texts]
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A customer's package, installed as pip would leave it."""
    info = tmp_path / "meaning-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: meaning\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tdsys.embedders]\nletters = their_letters:letters\n")
    (tmp_path / "their_letters.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed", "domain")
def test_a_command_puts_an_installed_embedder_in_force_that_workers_use(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    with store.begin() as tx:
        tx.execute(text("DROP EXTENSION vector CASCADE"))
    path = tmp_path / "policy.yaml"
    path.write_text("domain: sums\nembedder: {model: letters, likeness: 0.9}\n")
    assert tdsys("policy", "apply", path, "--dry-run").code == 0
    with store.begin() as tx:
        assert not vectors.is_ready(tx)
    assert tdsys("policy", "apply", path).code == 0
    with store.begin() as tx:
        admit(tx, [make_capture(domain="sums", outputs={**PROBLEM, "problem": "abc"})])
    drafting.read(store, domain="sums")
    told = tdsys("report", "diversity", "--domain", "sums").out
    assert "admitted: 1 have no embedding" in told
    came = embedding.catch_up(store, runtime.current().embedder, now=NOW)
    assert embedding.Embedded("sums", done=1) in came
    assert "no embedding" not in tdsys("report", "diversity", "--domain", "sums").out


@pytest.mark.usefixtures("installed")
def test_an_installed_embedder_is_called_and_one_bad_text_spoils_no_other() -> None:
    embedder = ModelEmbedder(None, api_base=None)
    embedder.check("letters")
    first, second, third = embedder.embed("letters", ["aab", "boom", "c"])
    assert (first, third) == ([2, 1, 0], [0, 0, 1])
    assert second == Unembedded("ValueError: RuntimeError: cannot")
    with pytest.raises(ModelUnavailable, match="down"):
        embedder.embed("letters", ["aab", "away"])
    with pytest.raises(InvalidInput, match="use one of: letters"):
        embedder.check("numbers")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubProvider]:
    monkeypatch.setenv("OPENAI_API_KEY", "any text")
    with StubProvider() as running:
        yield running


def test_a_provider_is_asked_over_http_in_one_request(provider: StubProvider) -> None:
    embedder = ModelEmbedder(None, api_base=provider.api_base)
    rows = embedder.embed(provider.model, ["ab", "zz"])
    assert [(sum(row), len(row)) for row in rows if not isinstance(row, Unembedded)] == [
        (2, 26), (2, 26)
    ]  # fmt: skip
    assert rows[1] == [0] * 25 + [2]
    (asked,) = provider.requests
    assert asked == {"model": provider.model.partition("/")[2], "input": ["ab", "zz"]}
    provider.behaviour.status = 400
    one, other = embedder.embed(provider.model, ["ab", "zz"])
    assert isinstance(one, Unembedded)
    assert "HTTP 400" in one.reason
    assert isinstance(other, Unembedded)
    provider.behaviour.status = 401
    with pytest.raises(ConfigurationError, match="refused us"):
        embedder.embed(provider.model, ["ab"])
    provider.behaviour.status = 503
    with pytest.raises(ModelUnavailable, match="HTTP 503"):
        embedder.embed(provider.model, ["ab"])


def test_what_an_embedder_is_asked_is_counted_with_its_model(provider: StubProvider) -> None:
    limiter = LocalLimiter()
    embedder = ModelEmbedder(Gateway(limiter), api_base=provider.api_base)
    for _ in range(3):
        embedder.embed(provider.model, ["ab", "zz"])
    told = limiter.standing(gauge(provider.model, provider.api_base))
    assert told.calls == len(provider.requests) == 3


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a provider that goes on for ever, a byte at a time."""
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        calling, _ = server.accept()
        with calling, suppress(OSError):
            calling.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not over.wait(0.02):
                calling.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        over.set()
        thread.join()


def test_a_provider_that_never_comes_to_its_end_is_away(
    dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any text")
    monkeypatch.setattr(asking, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(asking, "RETRIES", 0)
    with pytest.raises(ModelUnavailable, match="no answer in time"):
        ModelEmbedder(None, api_base=dripping).embed("openai/any", ["ab"])
