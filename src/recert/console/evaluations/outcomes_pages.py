"""Outcomes of every evaluation, or of one system's: how each reply was judged, without its text."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from recert.console import list_words as words
from recert.console.accounts.rights import Right
from recert.console.pages import Page
from recert.console.systems_pages import system_of
from recert.console.visiting import Visit
from recert.store.systems.outcomes_index import GROUPED
from recert.store.systems.systems_index import IndexedSystem

_A_PAGE: Final = 100
_LONGEST: Final = 255
_CHOICES: Final = 200


def shown_outcomes(visit: Visit) -> Response:
    """Outcomes of all systems."""
    return _page(visit, None)


def shown_system_outcomes(visit: Visit) -> Response:
    """Outcomes of one system."""
    return _page(visit, system_of(visit))


def _page(visit: Visit, system: IndexedSystem | None) -> Response:
    asked = {name: visit.query.get(name, "")[:_LONGEST] for name in GROUPED}
    found = visit.console.systems.outcomes(
        system=system.id if system is not None else "",
        suite=asked["suite"],
        category=asked["category"],
        condition=asked["condition"],
        arm=asked["arm"],
        label=asked["label"],
        after=visit.query.get("after", ""),
        limit=_A_PAGE,
    )
    names = visit.console.systems.names({one.system for one in found.outcomes})
    choices = {
        name: [(value, number) for value, number in list(values.items())[:_CHOICES] if value]
        for name, values in found.values.items()
    }
    return visit.page(
        "outcomes.html.j2",
        title=f"Outcomes of {system.name}" if system is not None else "Outcomes",
        system=system,
        found=found,
        names=names,
        asked=asked,
        filtered=any(asked.values()),
        choices=choices,
        link=urlencode({name: value for name, value in asked.items() if value}),
        words=words,
    )


PAGES: Final = (
    Page("GET", "/outcomes", Right.READ, shown_outcomes, tab="Outcomes"),
    Page("GET", "/systems/{id}/outcomes", Right.READ, shown_system_outcomes),
)
