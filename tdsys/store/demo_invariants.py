"""What must always be true of the demos a program shows and of what is told of them."""

from __future__ import annotations

from tdsys.store.invariant import Invariant

# By predictor and place; a program that is one predictor has its demos on the top level. A whole
# example says in the state which it is, a bootstrapped one only in the envelope.
PROMPTS = (
    Invariant(
        "demos are named",
        "a program's state and its envelope name the same demos, predictor by predictor",
        """WITH part AS (
               SELECT id, 'self' AS name, state -> 'demos' AS demos FROM programs
               WHERE json_typeof(state -> 'demos') = 'array'
               UNION ALL SELECT id, key, value -> 'demos' FROM programs, json_each(state)
               WHERE json_typeof(state -> 'demos') IS DISTINCT FROM 'array'
                   AND json_typeof(value) = 'object'
                   AND json_typeof(value -> 'demos') = 'array'
           ), shown AS (
               SELECT id, name, place, demo ->> 'dspy_uid' AS uid
               FROM part, json_array_elements(demos) WITH ORDINALITY AS one (demo, place)
           ), named AS (
               SELECT id, coalesce(origin ->> 'predictor', 'self') AS name,
                   row_number() OVER (
                       PARTITION BY id, coalesce(origin ->> 'predictor', 'self')
                       ORDER BY ordinality) AS place,
                   CASE origin ->> 'role' WHEN 'labeled' THEN origin ->> 'uid' END AS uid
               FROM programs, json_array_elements(CASE json_typeof(envelope -> 'demos')
                   WHEN 'array' THEN envelope -> 'demos' ELSE '[]' END)
                   WITH ORDINALITY AS one (origin, ordinality)
           )
           SELECT DISTINCT 'program ' || id FROM shown FULL JOIN named USING (id, name, place)
           WHERE shown.place IS NULL OR named.place IS NULL
               OR shown.uid IS DISTINCT FROM named.uid""",
    ),
)
