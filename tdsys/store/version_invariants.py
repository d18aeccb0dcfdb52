"""What must always be true of dataset versions within one major."""

from __future__ import annotations

from tdsys.store.invariant import Invariant

VERSIONS = (
    Invariant(
        "val and test stay",
        "within a major version val and test hold nothing that its first version did not",
        """SELECT version.id || ': ' || member.fingerprint
           FROM dataset_versions AS version
           JOIN dataset_versions AS first ON first.domain = version.domain
               AND first.major = version.major AND first.minor = 0
           JOIN dataset_members AS member ON member.version_id = version.id
           WHERE version.minor > 0 AND member.split <> 'train' AND NOT EXISTS (
               SELECT FROM dataset_members AS began WHERE began.version_id = first.id
               AND began.fingerprint = member.fingerprint AND began.split = member.split)""",
    ),
    Invariant(
        "what left is named",
        "a minor version holds each member of the one before it, or a tombstone says why not",
        """SELECT version.id || ': ' || was.fingerprint
           FROM dataset_versions AS version
           JOIN dataset_members AS was ON was.version_id = version.parent_id
           WHERE version.minor > 0 AND NOT EXISTS (
               SELECT FROM dataset_members AS member WHERE member.version_id = version.id
               AND member.fingerprint = was.fingerprint AND member.split = was.split
           ) AND NOT EXISTS (
               SELECT FROM dataset_tombstones AS left_it WHERE left_it.version_id = version.id
               AND left_it.fingerprint = was.fingerprint)""",
    ),
)
