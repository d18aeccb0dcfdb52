"""What must always be true of programs: which one is active, and why."""

from __future__ import annotations

from tdsys.store.invariant import Invariant

PROGRAMS = (
    Invariant(
        "active programs are better",
        "the interval of an active program's gain lies above zero, or a person made it active",
        """SELECT id FROM programs WHERE active AND NOT gain_low > 0 AND NOT EXISTS (
               SELECT FROM activations WHERE program_id = programs.id AND how = 'person')""",
    ),
    Invariant(
        "activations are written down",
        "the active program is the one that was activated last",
        """SELECT programs.id FROM programs WHERE active AND id IS DISTINCT FROM (
               SELECT program_id FROM activations WHERE activations.domain = programs.domain
               ORDER BY activations.id DESC LIMIT 1)""",
    ),
    Invariant(
        "a run is followed by one",
        "no two runs of a domain were decided on after the same run",
        "SELECT domain FROM run_causes GROUP BY domain, follows HAVING count(*) > 1",
    ),
)
