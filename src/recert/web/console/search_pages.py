"""Pages of what was searched beside the policy's rules: unknown triggers of a tune, and what tuning costs a base."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from recert.records import HuntReport, StressReport
from recert.web.console.kept_records import record_of, system_of
from recert.web.console.pages import Page
from recert.web.console.rights import Right
from recert.web.console.visiting import Visit
from recert.web.hunt_page import hunt_values
from recert.web.stress_page import stress_values


def triggers(visit: Visit) -> Response:
    """Return the page of a search for triggers."""
    system = system_of(visit)
    report = record_of(visit, system, "hunt", HuntReport)
    return visit.page(
        "triggers.html.j2", title=f"Triggers of {system.name}", system=system, **hunt_values(report)
    )


def stress(visit: Visit) -> Response:
    """Return the page of a stress test."""
    system = system_of(visit)
    report = record_of(visit, system, "stress", StressReport)
    return visit.page(
        "stress.html.j2", title=f"Stress of {system.name}", system=system, **stress_values(report)
    )


PAGES: Final = (
    Page("GET", "/systems/{id}/triggers", Right.READ, triggers, sharable=True),
    Page("GET", "/systems/{id}/stress", Right.READ, stress, sharable=True),
)
