"""A page of the console: how many systems there are, by state."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from recert.console.accounts.rights import Right
from recert.console.pages import Page
from recert.console.visiting import Visit
from recert.records.record import now


def counts(visit: Visit) -> Response:
    """Answer with a sentence and a table; the console writes the page around them."""
    found = visit.console.systems.counts(before=now())
    return visit.written(
        title="Counts",
        sentences=[f"{found.systems} systems are listed."],
        table=[("state", "systems"), *((state, str(n)) for state, n in sorted(found.by_state.items()))],
    )


PAGES: Final = (Page("GET", "/counts", Right.READ, counts, tab="Counts"),)
