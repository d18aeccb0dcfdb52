"""Many examples at once, written by the database itself: a realistic spread, no real content."""

from __future__ import annotations

import importlib

from sqlalchemy import text

from tdsys.store import Store, policies
from tests.factories import NOW

MIGRATION = importlib.import_module("tdsys.store.migrations.versions.0008_browsing")
# Later domains hold fewer: the first half of everything, the last next to nothing.
EXAMPLES = """
INSERT INTO examples (fingerprint, domain, topic, difficulty, source, state, quality, reason,
                      simulated, due_at, size, captured_at, created_at, moved_at)
SELECT decode(lpad(to_hex(:first + n), 64, '0'), 'hex'),
       'domain ' || least(floor(-ln(1 - random()) * 3), :domains - 1)::int,
       'topic ' || (n % 24), (ARRAY['easy', 'medium', 'hard'])[1 + n / 7 % 3],
       CASE WHEN n % 100 < 85 THEN 'captured' WHEN n % 100 < 99 THEN 'imported' ELSE 'manual' END,
       s.state, s.quality, s.reason, false,
       CASE WHEN s.state = 'candidate' THEN :now END, 340 + :padding,
       :now - ((:many - n) * interval '31 seconds'), :now - ((:many - n) * interval '31 seconds'),
       :now - ((:many - n) * interval '31 seconds')
FROM generate_series(1, :many) AS n CROSS JOIN LATERAL (
    SELECT (ARRAY['candidate', 'in_review', 'rejected', 'parked', 'retired', 'admitted'])
               [CASE WHEN d < 10 THEN 1 WHEN d < 20 THEN 2 WHEN d < 35 THEN 3 WHEN d < 36 THEN 4
                     WHEN d < 40 THEN 5 ELSE 6 END] AS state,
           CASE WHEN d >= 10 AND d <> 35 THEN (n % 10007 * 79 % 10007) / 10007.0 END AS quality,
           CASE WHEN d < 10 THEN NULL WHEN d < 20 THEN 'unsure_quality'
                WHEN d < 35 THEN 'low_' || (n % 4) WHEN d < 36 THEN 'no_usable_answer'
                WHEN n = 777 THEN 'a rare one' ELSE 'meets_policy' END AS reason
    FROM (SELECT n % 100 * 61 % 100 AS d) AS dealt
) AS s
"""
BODIES = """
INSERT INTO example_bodies (example_id, payload)
SELECT id, json_build_object(
    'inputs', json_build_object('topic', topic, 'difficulty', difficulty, 'context', 'a shop'),
    'outputs', json_build_object(
        'problem', 'Problem ' || id || ': ' || repeat((ARRAY['A bakery sells ', 'A farm grows ',
            'The harbour lends ', 'A school buys '])[1 + id % 4], 1) || id % 97
            || ' trays of ' || id % 89 || ' buns for the '
            || (ARRAY['market', 'fair', 'feast', 'journey', 'regatta'])[1 + id / 5 % 5]
            || CASE WHEN id % 5003 = 0 THEN ' with marmalade' ELSE '' END || '. How many is that?',
        'solution', 'They are <<' || id % 97 || '*' || id % 89 || '=' || (id % 97) * (id % 89)
            || '>>' || (id % 97) * (id % 89) || '.',
        'answer', ((id % 97) * (id % 89))::text, 'story',
        (SELECT string_agg(md5((id * n)::text), '') FROM generate_series(1, :padding / 32) AS n)),
    'metadata', json_build_object('generator', 'v7'))
FROM examples WHERE id > :last
"""
TRANSITIONS = """
INSERT INTO transitions (example_id, from_state, to_state, move, reason, detail, actor,
                         policy_version, at)
SELECT id, 'candidate', state,
       CASE state WHEN 'in_review' THEN 'review' WHEN 'rejected' THEN 'reject'
                  WHEN 'parked' THEN 'park' ELSE 'admit' END,
       reason, '', 'pipeline', 1, moved_at
FROM examples WHERE id > :last AND state <> 'candidate'
"""
SCORES = """
INSERT INTO scores (example_id, kind, outcome, accuracy, coherence, relevance, educational_value,
                    rationales, judge_model, rubric_version, prompt_version, policy_version,
                    attempt, created_at)
SELECT id, 'judge', 'scored', quality, quality, 1 - quality, quality, '{}', 'm', 'r', 'p', 1, 1,
       moved_at
FROM examples WHERE id > :last AND quality IS NOT NULL AND id % :scored_each = 0
"""
QUEUE = """
INSERT INTO reviews (example_id, domain, topic, rank, entered_at)
SELECT id, domain, topic, rank_of_nothing(moved_at) + id * 7919 % 1000 / 1000.0, moved_at
FROM examples WHERE id > :last AND state = 'in_review'
"""
WORDS = """
INSERT INTO example_words (example_id, words, template)
SELECT b.example_id, array_to_tsvector(ARRAY(SELECT DISTINCT lower(m[1]) FROM regexp_matches(
           b.payload -> 'outputs' ->> 'problem', '\\w+', 'g') AS m)), b.example_id / 3
FROM example_bodies b WHERE b.example_id > :last
"""


def fill(
    store: Store, many: int, *, domains: int = 20, scored_each: int = 1, padding: int = 0
) -> None:
    """That many examples in domains of falling size, all with their words.

    `padding`: so many bytes more in each payload.
    """
    with store.begin() as tx:
        tx.execute(text("SET LOCAL statement_timeout = 0"))
        names = [f"domain {n}" for n in range(domains)]
        policies.ensure_domains(tx, names=names, now=NOW)
        last = tx.scalar(text("SELECT coalesce(max(id), 0) FROM examples"))
        given = {"many": many, "first": last, "domains": domains, "now": NOW, "last": last,
                 "padding": padding}  # fmt: skip
        tx.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in (EXAMPLES, BODIES, TRANSITIONS, QUEUE, WORDS):
            tx.execute(text(statement), given)
        tx.execute(text(SCORES), {**given, "scored_each": scored_each})
        tx.execute(text("TRUNCATE example_counts, age_counts, score_counts"))
        for statement in MIGRATION.FIRST_COUNT.split(";\n"):
            if statement.strip():
                tx.execute(text(statement))
    with store.single() as tx:
        tx.execute(text("SET statement_timeout = 0"))
        tx.execute(text("VACUUM ANALYZE"))
