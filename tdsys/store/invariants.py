"""What must always be true of a database, each as one query that finds whatever breaks it.

One rule: nothing here writes, and all of it sees one moment (`Store.snapshot`). Most of it is
held by constraints and triggers as well; a restored backup, a repair by hand or a bug may go round
those.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, TextClause, Uuid, bindparam, text

from tdsys.core.lifecycle import MOVES, State
from tdsys.store.demo_invariants import PROMPTS
from tdsys.store.engine import Tx
from tdsys.store.invariant import Invariant
from tdsys.store.lifecycle_invariants import LEAVING
from tdsys.store.program_invariants import PROGRAMS
from tdsys.store.version_invariants import VERSIONS

SAMPLES = 5
# An operator waits for this; the usual limit is made for claims, which take milliseconds.
LONGEST_QUERY = "10min"


class Finding(NamedTuple):
    """How many things break an invariant, and the ids of a few of them."""

    name: str
    says: str
    broken: int
    samples: tuple[str, ...]
    remedy: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing breaks it."""
        return not self.broken


class Fates(NamedTuple):
    """What became of accepted captures: the ids that need explaining, the rest is stored once."""

    refused: tuple[UUID, ...]
    lost: tuple[UUID, ...]
    doubled: tuple[UUID, ...]


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_LEGAL = ", ".join(f"('{start}', '{move}', '{end}')" for (start, move), end in MOVES.items())

LIFECYCLE = (
    Invariant(
        "states are known",
        "every example is in a state of the lifecycle",
        f"SELECT id FROM examples WHERE state NOT IN ({_listed(list(State))})",  # noqa: S608
    ),
    Invariant(
        "moves are legal",
        "every transition is one the lifecycle allows",
        f"""SELECT example_id FROM transitions
            WHERE (from_state, move, to_state) NOT IN ({_LEGAL})""",  # noqa: S608
    ),
    Invariant(
        "moves are a chain",
        "an example's first move starts as a candidate, each next one where the last ended",
        """SELECT example_id FROM (
               SELECT example_id, from_state, lag(to_state, 1, 'candidate')
                   OVER (PARTITION BY example_id ORDER BY id) AS before FROM transitions
           ) AS steps WHERE from_state <> before""",
    ),
    Invariant(
        "states are explained",
        "an example is where its last transition led; without one it is a candidate",
        """SELECT examples.id FROM examples LEFT JOIN (
               SELECT DISTINCT ON (example_id) example_id, to_state FROM transitions
               ORDER BY example_id, id DESC
           ) AS last ON last.example_id = examples.id
           WHERE state <> coalesce(last.to_state, 'candidate')""",
    ),
    Invariant(
        "only candidates are due",
        "a candidate has a time at which it is looked at, nothing else has",
        "SELECT id FROM examples WHERE (state = 'candidate') <> (due_at IS NOT NULL)",
    ),
    Invariant(
        "admitted has quality",
        "an admitted example has a quality between 0 and 1",
        """SELECT id FROM examples
           WHERE state = 'admitted' AND coalesce(quality NOT BETWEEN 0 AND 1, true)""",
    ),
    Invariant(
        "scores are somebody's",
        "numbers stand exactly where a judge gave them, each between 0 and 1",
        """SELECT id FROM scores
           WHERE num_nonnulls(accuracy, coherence, relevance, educational_value)
               <> CASE WHEN kind = 'judge' AND outcome = 'scored' THEN 4 ELSE 0 END
              OR least(accuracy, coherence, relevance, educational_value) < 0
              OR greatest(accuracy, coherence, relevance, educational_value) > 1""",
    ),
    Invariant(
        "decisions name their score",
        "the score a transition refers to is of the same example",
        """SELECT transitions.example_id FROM transitions JOIN scores ON scores.id = score_id
           WHERE scores.example_id <> transitions.example_id""",
    ),
)

# A judge's score says in `judgements` what each juror answered; the ledger has it by content.
_SAID = """
    SELECT scores.id, example_id, attempt, said->'answers' AS answers, said->'values' AS numbers,
           said->'juror' AS juror
    FROM scores, jsonb_array_elements(judgements) AS said
    WHERE kind = 'judge' AND outcome = 'scored'
"""
_CONTENTS = """
    SELECT id AS example_id, fingerprint FROM examples
    UNION ALL SELECT example_id, fingerprint FROM example_revisions
"""
JUDGING = (
    Invariant(
        "nothing is skipped",
        "every example is decided with the verifier's and the judge's word, or is due",
        """SELECT id FROM examples WHERE state = 'candidate' AND due_at IS NULL
           UNION ALL SELECT id FROM examples WHERE state <> 'candidate'
               AND (SELECT count(DISTINCT kind) FROM scores WHERE example_id = examples.id) < 2""",
    ),
    Invariant(
        "no answer is silent",
        "where a judge gave no score its reason is kept, and a parked example has such a score",
        """SELECT example_id FROM scores
           WHERE kind = 'judge' AND outcome = 'unscored' AND coalesce(reason, '') = ''
           UNION ALL SELECT id FROM examples WHERE state = 'parked' AND NOT EXISTS (
               SELECT FROM scores
               WHERE example_id = examples.id AND kind = 'judge' AND outcome = 'unscored')""",
    ),
    Invariant(
        "scores are what jurors said",
        "a judge's number is the mean of what its jurors said, or 0 where a proof failed",
        f"""SELECT scores.id FROM scores JOIN (
               SELECT id, dimension, avg(value::numeric) AS mean
               FROM ({_SAID}) AS said, jsonb_each_text(numbers) AS each (dimension, value)
               GROUP BY id, dimension
           ) AS told USING (id)
           WHERE abs(mean - (to_jsonb(scores)->>dimension)::numeric) > 0.001
             AND NOT (dimension = 'accuracy' AND accuracy = 0 AND EXISTS (
                 SELECT FROM scores AS proof WHERE proof.example_id = scores.example_id
                     AND attempt = scores.attempt AND verdict @@ '$.checks[*].outcome == "failed"'
             ))""",  # noqa: S608
    ),
    Invariant(
        "jurors are in the ledger",
        "what a juror said of an example stands in the ledger with the same answers",
        f"""SELECT example_id FROM ({_SAID}) AS said WHERE NOT EXISTS (
               SELECT FROM ({_CONTENTS}) AS held
               JOIN judgements USING (fingerprint) JOIN jurors ON key = judgements.juror
               WHERE held.example_id = said.example_id AND judgements.answers = said.answers
                 AND to_jsonb(jurors) @> (said.juror - 'simulated'))""",  # noqa: S608
    ),
)

REVIEWS = (
    Invariant(
        "what waits is queued",
        "every example in review is in the reviewers' queue, and nothing else is",
        """SELECT coalesce(id, example_id) FROM
               (SELECT id FROM examples WHERE state = 'in_review') AS waiting
               FULL JOIN reviews ON example_id = id
           WHERE id IS NULL OR example_id IS NULL""",
    ),
    Invariant(
        "reviews are decided once",
        "no stay in the queue was ended twice without being taken back in between",
        """SELECT example_id FROM review_events AS said
           WHERE transition_id IS NOT NULL AND act <> 'undo'
             AND NOT EXISTS (SELECT FROM review_events WHERE undoes = said.id)
           GROUP BY example_id, entry HAVING count(*) > 1""",
    ),
    Invariant(
        "two people are two",
        "nobody gave a word twice in one stay without taking the first back",
        """SELECT example_id FROM review_events AS said
           WHERE act IN ('approve', 'reject', 'edit')
             AND NOT EXISTS (SELECT FROM review_events WHERE undoes = said.id)
             AND transition_id IS NULL
           GROUP BY example_id, entry, person HAVING count(*) > 1""",
    ),
)

ARRIVALS = (
    Invariant(
        "examples have bodies",
        "every example has its payload",
        """SELECT id FROM examples
           WHERE NOT EXISTS (SELECT FROM example_bodies WHERE example_id = id)""",
    ),
    Invariant(
        "captures are stored once",
        "no two examples come from one capture",
        """SELECT capture_id FROM examples WHERE capture_id IS NOT NULL
           GROUP BY capture_id HAVING count(*) > 1""",
    ),
    Invariant(
        "contents are stored once",
        "no two examples hold the same content",
        "SELECT min(id) FROM examples GROUP BY fingerprint HAVING count(*) > 1",
    ),
    Invariant(
        "duplicates are duplicates",
        "a capture that made no example has its content, or its id, stored elsewhere",
        """SELECT capture_id FROM capture_duplicates AS kept
           WHERE EXISTS (SELECT FROM examples WHERE capture_id = kept.capture_id
                         AND fingerprint = kept.fingerprint)
              OR NOT conflicting
                 AND NOT EXISTS (SELECT FROM examples WHERE fingerprint = kept.fingerprint)
                 AND NOT EXISTS (SELECT FROM example_revisions
                                 WHERE fingerprint = kept.fingerprint)
                 AND NOT EXISTS (SELECT FROM tombstones WHERE fingerprint = kept.fingerprint)
              OR conflicting
                 AND NOT EXISTS (SELECT FROM examples WHERE capture_id = kept.capture_id)
                 AND NOT EXISTS (SELECT FROM capture_duplicates AS other
                                 WHERE other.capture_id = kept.capture_id
                                   AND other.fingerprint <> kept.fingerprint)""",
    ),
    Invariant(
        "batches add up",
        "received = new + duplicate + conflicting + refused + resent",
        """SELECT batch_id FROM capture_batches
           WHERE received <> new + duplicate + conflicting + refused + resent""",
    ),
    Invariant(
        "batches explain refusals",
        "a batch counts as many refused captures as are kept with a reason",
        """SELECT batch_id FROM capture_batches LEFT JOIN (
               SELECT batch_id, count(*) AS kept FROM capture_refusals GROUP BY batch_id
           ) AS explained USING (batch_id) WHERE refused <> coalesce(kept, 0)""",
    ),
    Invariant(
        "batches count every capture",
        "no captured example is there that no batch counted as new",
        """SELECT 'captured: ' || stored FROM
               (SELECT count(*) AS stored FROM examples WHERE source = 'captured') AS examples,
               (SELECT coalesce(sum(new), 0) AS counted FROM capture_batches) AS batches
           WHERE stored > counted""",
    ),
)

IMPORTS = (
    Invariant(
        "imports add up",
        "read = new + duplicate + rejected",
        "SELECT id FROM imports WHERE read <> new + duplicate + rejected",
    ),
    Invariant(
        "imports explain rejects",
        "an import counts as many wrong records as are kept, and rejects those or all",
        """SELECT id FROM imports LEFT JOIN (
               SELECT import_id, count(*) AS kept FROM import_rejects GROUP BY import_id
           ) AS explained ON import_id = id
           WHERE faulty <> coalesce(kept, 0) OR (read > 0 AND rejected NOT IN (faulty, read))""",
    ),
    Invariant(
        "imports end once",
        "an open import is due and has not ended; one that ended is due no more",
        """SELECT id FROM imports
           WHERE (state IN ('due', 'running')) <> (due_at IS NOT NULL)
              OR (state IN ('finished', 'failed')) <> (finished_at IS NOT NULL)""",
    ),
    Invariant(
        "imports count every record",
        "no imported example is there that no import counted as new",
        """SELECT 'imported: ' || stored FROM
               (SELECT count(*) AS stored FROM examples WHERE source = 'imported') AS examples,
               (SELECT coalesce(sum(new), 0) AS counted FROM imports) AS files
           WHERE stored > counted""",
    ),
)

DATASETS = (
    Invariant(
        "policies have no gap",
        "a domain's policies are numbered 1, 2, 3, ...",
        """SELECT name FROM domains LEFT JOIN policies ON domain = name GROUP BY name
           HAVING count(version) = 0 OR min(version) <> 1 OR max(version) <> count(version)""",
    ),
    Invariant(
        "versions are whole",
        "a dataset version has as many members in each split as it says",
        """SELECT id FROM dataset_versions, LATERAL (
               SELECT count(*) FILTER (WHERE split = 'train') AS train,
                      count(*) FILTER (WHERE split = 'val') AS val,
                      count(*) FILTER (WHERE split = 'test') AS test
               FROM dataset_members WHERE version_id = id
           ) AS held
           WHERE ((counts->>'train')::int, (counts->>'val')::int, (counts->>'test')::int)
               IS DISTINCT FROM (train::int, val::int, test::int)""",
    ),
    Invariant(
        "clusters are not divided",
        "near-duplicates of a version are all in one split",
        """SELECT 'version ' || version_id || ', cluster ' || cluster FROM dataset_members
           GROUP BY version_id, cluster HAVING count(DISTINCT split) > 1""",
    ),
    Invariant(
        "members are distinct",
        "no content is in a version twice",
        """SELECT 'version ' || version_id || ': ' || fingerprint FROM dataset_members
           GROUP BY version_id, fingerprint HAVING count(*) > 1""",
    ),
    Invariant(
        "one run is open",
        "a domain has at most one open run",
        """SELECT domain FROM runs WHERE state IN ('due', 'running')
           GROUP BY domain HAVING count(*) > 1""",
    ),
    Invariant(
        "runs end once",
        "an open run is due and has not ended; one that ended is due no more",
        """SELECT id FROM runs
           WHERE (state IN ('due', 'running')) <> (due_at IS NOT NULL)
              OR (state IN ('finished', 'failed', 'cancelled')) <> (finished_at IS NOT NULL)""",
    ),
    Invariant(
        "one program is active",
        "a domain has at most one active program",
        "SELECT domain FROM programs WHERE active GROUP BY domain HAVING count(*) > 1",
    ),
    Invariant(
        "programs come from their run",
        "a program is of a finished run, with that run's domain and version",
        """SELECT programs.id FROM programs JOIN runs ON runs.id = run_id
           WHERE runs.state <> 'finished' OR runs.domain <> programs.domain
              OR runs.version_id <> programs.version_id""",
    ),
    Invariant(
        "old programs are stale",
        "a program of another than the newest version, or of data that left, is marked stale",
        """SELECT programs.id FROM programs WHERE NOT stale AND (
               version_id <> (SELECT id FROM dataset_versions AS newest
                              WHERE newest.domain = programs.domain
                              ORDER BY frozen_at DESC, number DESC LIMIT 1)
               OR EXISTS (SELECT FROM dataset_members AS member
                          WHERE member.version_id = programs.version_id AND NOT EXISTS (
                              SELECT FROM examples
                              WHERE id = member.example_id AND state = 'admitted'
                                AND encode(fingerprint, 'hex') = member.fingerprint)))""",
    ),
)

# A backlog is not stuck: those who wait longest are taken first, so whatever is decided shows
# that work goes on. Times ahead of every lease and backoff come from a clock that was wrong.
MOTION = (
    Invariant(
        "no candidate is stuck",
        "candidates that are overdue are on their way: something was decided meanwhile",
        """SELECT id FROM examples WHERE state = 'candidate' AND due_at < :overdue
           AND coalesce((SELECT at FROM transitions ORDER BY id DESC LIMIT 1) < :overdue, true)
           ORDER BY due_at""",
    ),
    Invariant(
        "no import is stuck",
        "no open import waits longer than a lease, unless a worker has another in hand",
        """SELECT id FROM imports WHERE state IN ('due', 'running') AND due_at < :overdue
           AND NOT EXISTS (SELECT FROM imports AS other WHERE other.state = 'running'
                           AND other.due_at >= :overdue)""",
    ),
    Invariant(
        "no run is stuck",
        "no open run waits longer than a lease, unless a worker has another in hand",
        """SELECT id FROM runs WHERE state IN ('due', 'running') AND due_at < :overdue
           AND NOT EXISTS (SELECT FROM runs AS other WHERE other.state = 'running'
                           AND other.due_at >= :overdue)""",
    ),
    Invariant(
        "nothing waits for a wrong clock",
        "nothing is due later than the longest lease or backoff from now",
        """SELECT 'example ' || id FROM examples WHERE state = 'candidate' AND due_at > :farthest
           UNION ALL SELECT 'import ' || id FROM imports
           WHERE state IN ('due', 'running') AND due_at > :farthest
           UNION ALL SELECT 'run ' || id FROM runs
           WHERE state IN ('due', 'running') AND due_at > :farthest
           UNION ALL SELECT 'portion ' || id FROM batch_cells
           WHERE state IN ('due', 'judging') AND due_at > :farthest""",
    ),
)

BATCHES = (
    Invariant(
        "reserved calls are somebody's",
        "a batch has as many calls set aside as its portions have",
        """SELECT id FROM batches WHERE (reserved, reserved_tokens, reserved_cost) <>
               (SELECT coalesce(sum(reserved), 0), coalesce(sum(reserved_tokens), 0),
                coalesce(sum(reserved_cost), 0) FROM batch_cells WHERE batch_id = batches.id)""",
    ),
    Invariant(
        "batches end with their portions",
        "a batch is open as long as one of its portions is",
        """SELECT id FROM batches WHERE (state = 'open') <> EXISTS (
               SELECT FROM batch_cells WHERE batch_id = batches.id
               AND batch_cells.state IN ('due', 'judging'))""",
    ),
    Invariant(
        "budgets hold",
        "no batch has made or set aside more calls than it may make",
        "SELECT id FROM batches WHERE reserved + spent > max_calls",
    ),
    Invariant(
        "no portion is stuck",
        "no portion of a batch waits longer than a lease, unless a worker has another in hand",
        """SELECT id FROM batch_cells WHERE state = 'due' AND due_at < :overdue
           AND NOT EXISTS (SELECT FROM batch_cells AS other WHERE other.state = 'due'
                           AND other.attempts > 0 AND other.due_at >= :overdue)""",
    ),
)


_COUNTED = """SELECT domain, topic, difficulty, source, state, left(coalesce(reason, ''), 100)
                  AS reason, count(*) AS n FROM examples GROUP BY 1, 2, 3, 4, 5, 6"""
COUNTS = (
    Invariant(
        "counts are what is there",
        "what is counted while writing is what counting anew would come to",
        f"""SELECT DISTINCT coalesce(kept.domain, told.domain) FROM ({_COUNTED}) AS kept
            FULL JOIN (SELECT domain, topic, difficulty, source, state, reason, sum(n) AS n
                       FROM example_counts GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(n) <> 0) AS told
            USING (domain, topic, difficulty, source, state, reason)
            WHERE kept.n IS DISTINCT FROM told.n""",  # noqa: S608
    ),
)

INVARIANTS = (*ARRIVALS, *LIFECYCLE, *JUDGING, *REVIEWS, *IMPORTS, *DATASETS, *MOTION, *BATCHES,
              *COUNTS, *PROGRAMS, *PROMPTS, *VERSIONS, *LEAVING)  # fmt: skip


def patiently(tx: Tx) -> None:
    """Let a query of this transaction take as long as the longest of them may."""
    tx.execute(text(f"SET LOCAL statement_timeout = '{LONGEST_QUERY}'"))


def check(tx: Tx, invariant: Invariant, *, overdue: datetime, farthest: datetime) -> Finding:
    """Look for what breaks one invariant.

    `overdue`: what was due before it is late; `farthest`: nothing may be due after it.
    """
    query = (
        f"WITH broken (id) AS MATERIALIZED ({invariant.query}) "  # noqa: S608  # ours, from above
        f"SELECT count(*), array(SELECT id::text FROM broken LIMIT {SAMPLES}) FROM broken"
    )
    times = {"overdue": overdue, "farthest": farthest}
    given = {name: time for name, time in times.items() if f":{name}" in query}
    broken, samples = tx.execute(text(query), given).one()
    return Finding(invariant.name, invariant.says, broken, tuple(samples), invariant.remedy)


# A refusal keeps its record as text: the client's own, which starts with the id, or our sentence.
_MISSING = """
    SELECT id, times FROM (SELECT DISTINCT unnest(:ids) AS id) AS accepted, LATERAL (
        SELECT (SELECT count(*) FROM examples WHERE capture_id = accepted.id)
             + (SELECT count(*) FROM capture_duplicates WHERE capture_id = accepted.id) AS times
    ) AS stored WHERE times <> 1
"""
_REFUSED = """
    SELECT DISTINCT named::uuid FROM (
        SELECT regexp_substr(raw, 'capture(_id": ?"| )([0-9a-f-]{36})', 1, 1, '', 2) AS named
        FROM capture_refusals
    ) AS refusals WHERE named ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        AND named::uuid = ANY(:ids)
"""


def fates(tx: Tx, *, accepted: Sequence[UUID]) -> Fates:
    """Which of these captures are not stored exactly once; hand in some thousands at a time."""
    odd = {row.id: row.times for row in tx.execute(_with_ids(_MISSING), {"ids": list(accepted)})}
    missing = sorted(id_ for id_, times in odd.items() if not times)
    refused = set(tx.scalars(_with_ids(_REFUSED), {"ids": missing})) if missing else set()
    return Fates(
        refused=tuple(sorted(refused)),
        lost=tuple(id_ for id_ in missing if id_ not in refused),
        doubled=tuple(sorted(id_ for id_, times in odd.items() if times)),
    )


def _with_ids(query: str) -> TextClause:
    return text(query).bindparams(bindparam("ids", type_=ARRAY(Uuid)))
