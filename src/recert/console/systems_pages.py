"""The list of systems, and the overview of one: what was done, what it was made of, what to do next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from recert.console import list_words as words
from recert.console.accounts.rights import OWN_ROLES, Right
from recert.console.pages import Page
from recert.console.visiting import Visit
from recert.store.systems.systems_index import KINDS, STATES, IndexedSystem

_A_PAGE: Final = 50
_LONGEST: Final = 200
_CHOICES: Final = 100
_FAMILY: Final = 50
_FILTERS: Final = ("q", "base", "kind", "verdict", "state", "mine", "ends", "sort")
VERDICTS: Final = ("pass", "fail", "undecided", "no-baseline-signal", "unscored")


def shown_systems(visit: Visit) -> Response:
    """Every system that fits the filters, base by base, with the counts of what somebody has to look at."""
    asked = {name: visit.query.get(name, "")[:_LONGEST] for name in _FILTERS}
    now, roles = datetime.now(UTC), signing_roles(visit)
    soon = now + words.SOON
    sort = asked["sort"] if asked["sort"] in words.SORTS else "made-of"
    found = visit.console.systems.page(
        query=asked["q"],
        state=asked["state"] if asked["state"] in STATES else "",
        verdict=asked["verdict"] if asked["verdict"] in VERDICTS else "",
        base=asked["base"],
        kind=asked["kind"] if asked["kind"] in KINDS else "",
        role=asked["mine"] if asked["mine"] in roles else "",
        before=soon if asked["ends"] == "soon" else None,
        sort=sort,
        after=visit.query.get("after", "")[:2000],
        limit=_A_PAGE,
        now=now,
    )
    filtered = any(value for name, value in asked.items() if name != "sort")
    return visit.page(
        "systems.html.j2",
        title="Systems",
        found=found,
        counts=visit.console.systems.counts(roles=roles, before=soon, now=now),
        asked=asked | {"sort": sort},
        filtered=filtered,
        indented=sort == "made-of" and not filtered,
        roles=roles,
        bases=visit.console.systems.bases(limit=_CHOICES),
        link=_link(asked),
        now=now,
        words=words,
        verdicts=VERDICTS,
        kinds=KINDS,
        states=STATES,
    )


def shown_system(visit: Visit) -> Response:
    """One system: what was screened, trained, evaluated and certified, in words."""
    system = system_of(visit)
    now = datetime.now(UTC)
    family = visit.console.systems.family(system, limit=_FAMILY + 1)
    above = [one for one in family if one.depth < system.depth]
    below = [one for one in family if one not in above]
    told, page = words.next_step(system, visit.visitor.roles, now)
    return visit.page(
        "system.html.j2",
        title=system.name,
        system=system,
        above=above,
        below=below[:_FAMILY],
        more=len(below) > _FAMILY,
        story=words.story(visit.console.systems.facts(system)),
        todo=told,
        todo_page=page if page in pages_of(system) else "",
        pages=pages_of(system),
        now=now,
        words=words,
    )


def system_of(visit: Visit) -> IndexedSystem:
    """Return the system that the path names. Raises PageError, 404, where there is none."""
    found = visit.console.systems.find(visit.path["id"])
    if found is None:
        visit.missing("there is no such system", hint="its folder may have been moved or removed")
    return found


def signing_roles(visit: Visit) -> tuple[str, ...]:
    """Return the roles in which who asks may sign certificates: those that are none of the console's own."""
    return tuple(sorted(visit.visitor.roles - set(OWN_ROLES)))


_PAGES: Final = {
    "evaluation": "evaluation", "outcomes": "evaluation", "labels": "evaluation", "screening": "screen", "run": "tune",
    "triggers": "hunt", "attack": "attack", "stress": "stress", "certificate": "certificate", "sign-off": "certificate",
    "watch": "watch",
}  # fmt: skip


def pages_of(system: IndexedSystem) -> tuple[str, ...]:
    """Return the pages that a system has, by the records that are there."""
    return tuple(page for page, record in _PAGES.items() if record in system.records)


def _link(asked: dict[str, str]) -> str:
    """The query of this list without where it goes on: what the link to the next page begins with."""
    return urlencode({name: value for name, value in asked.items() if value})


PAGES: Final = (
    Page("GET", "/", Right.READ, shown_systems, tab="Systems"),
    Page("GET", "/systems/{id}", Right.READ, shown_system),
)
