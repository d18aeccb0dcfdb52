"""What must always be true of the demos a program shows and of what is told of them."""

from __future__ import annotations

from tdsys.store.invariant import Invariant

# Nothing is asked of programs before the active one of their domain: an older `forget` left some
# that nobody can repair, and what was replaced should not be found wrong for ever.
# By predictor and place; a program that is one predictor has its demos on the top level. A whole
# example says in the state which it is, a bootstrapped one only in the envelope.
PROMPTS = (
    Invariant(
        "demos are named",
        "the state and the envelope of an active program, or of one made after it, name the same "
        "demos, predictor by predictor",
        """WITH held AS (
               SELECT * FROM programs AS one WHERE id >= coalesce(
                   (SELECT min(id) FROM programs WHERE domain = one.domain AND active), 0)
           ), part AS (
               SELECT id, 'self' AS name, state -> 'demos' AS demos FROM held
               WHERE json_typeof(state -> 'demos') = 'array'
               UNION ALL SELECT id, key, value -> 'demos' FROM held, json_each(state)
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
               FROM held, json_array_elements(CASE json_typeof(envelope -> 'demos')
                   WHEN 'array' THEN envelope -> 'demos' ELSE '[]' END)
                   WITH ORDINALITY AS one (origin, ordinality)
           )
           SELECT DISTINCT 'program ' || id || ' of ' || domain
           FROM shown FULL JOIN named USING (id, name, place) JOIN held USING (id)
           WHERE shown.place IS NULL OR named.place IS NULL
               OR shown.uid IS DISTINCT FROM named.uid""",
        "`forget` of an older tdsys did this, and it cannot be undone. For the domain of each: "
        "`tdsys optimize retry --domain DOMAIN` makes another program; if that one is not made "
        "active by itself, `tdsys optimize activate --domain DOMAIN --reason TEXT` does it. "
        "Nothing is asked any more of what it replaces",
    ),
)
