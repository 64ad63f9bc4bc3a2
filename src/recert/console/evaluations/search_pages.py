"""Pages of what was searched beside the policy's rules: unknown triggers of a tune, and what tuning costs a base."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from recert.console.accounts.rights import Right
from recert.console.kept_records import record_of, system_of
from recert.console.pages import Page
from recert.console.visiting import Visit
from recert.pages.hunt_page import hunt_values
from recert.pages.stress_page import stress_values
from recert.records.reports.hunting import HuntReport
from recert.records.reports.stress import StressReport


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
