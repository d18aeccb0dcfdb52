"""What must always be true of what is kept and what is gone."""

from __future__ import annotations

from tdsys.store.invariant import Invariant

LEAVING = (
    Invariant(
        "sizes are what is held",
        "an example knows how many bytes its payload has",
        """SELECT id FROM examples JOIN example_bodies ON example_id = id
           WHERE size <> octet_length(payload::text)""",
    ),
    Invariant(
        "what is forgotten is gone",
        "no example, judgement or dataset version holds what was forgotten",
        """SELECT 'example ' || id FROM examples JOIN tombstones USING (fingerprint)
           WHERE forgotten
           UNION ALL SELECT 'revision of example ' || example_id
           FROM example_revisions JOIN tombstones USING (fingerprint) WHERE forgotten
           UNION ALL SELECT 'judgement ' || id
           FROM judgements JOIN tombstones USING (fingerprint) WHERE forgotten
           UNION ALL SELECT 'version ' || version_id || ', example ' || example_id
           FROM dataset_members AS member JOIN tombstones AS stone
               ON encode(stone.fingerprint, 'hex') = member.fingerprint
           WHERE forgotten AND content IS NOT NULL""",
    ),
    Invariant(
        "what is gone is explained",
        "a member of a dataset version without content has a tombstone that says who forgot it",
        """SELECT 'version ' || version_id || ', example ' || example_id FROM dataset_members
           WHERE content IS NULL AND NOT EXISTS (
               SELECT FROM tombstones WHERE forgotten
                   AND encode(tombstones.fingerprint, 'hex') = dataset_members.fingerprint)""",
    ),
    Invariant(
        "templates are not lost",
        "an example that was placed among near-duplicates has its template",
        """SELECT 'example ' || example_id FROM example_templates
           WHERE NOT EXISTS (SELECT FROM templates WHERE id = template_id)""",
    ),
)
