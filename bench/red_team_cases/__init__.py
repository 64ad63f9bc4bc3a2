"""
Attacks on Recert, each a set-up that gives yes, one thing that an attacker does, and the question asked again.

`attacks.py` says what an attack is and runs it, `desks.py` what an attacker works on, `ways.py` what is asked. The
other modules hold the attacks, a kind each; `every_attack` registers all of them.
"""

from __future__ import annotations

from red_team_cases.attacks import ATTACKS, Attack


def every_attack() -> dict[str, Attack]:
    """Return every attack by its id, cheap kinds first."""
    from red_team_cases import (  # noqa: F401 - importing registers
        certificates,
        envelopes,
        files,
        links,
        loading,
        logs,
        people,
        policies,
        provenance,
        renewals,
        reports,
        roots,
        sign_off,
        statuses,
    )

    return ATTACKS
