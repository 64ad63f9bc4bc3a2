"""Links with which people without an account read one report: made, listed, withdrawn."""

from __future__ import annotations

from typing import Final, cast

from starlette.responses import Response

from recert.console.accounts.account_pages import people_of, when
from recert.console.accounts.rights import Right
from recert.console.pages import Page, Sharable
from recert.console.visiting import PageError, Visit

_DAY_S: Final = 86_400
_MOST_DAYS: Final = 90


def shares(visit: Visit) -> Response:
    """Links that were made, and the form that makes one."""
    return _page(visit, path=visit.query.get("path", ""))


def make(visit: Visit) -> Response:
    """Make a link. What stands in it is shown this once."""
    people = people_of(visit)
    path = visit.text("path").strip().removeprefix(people.public_url).partition("?")[0].partition("#")[0]
    days = visit.text("days")
    sharable = cast(Sharable, visit.console.templates.globals["sharable"])
    if not sharable(path):
        raise PageError(
            "this page cannot be shared",
            status=400,
            hint="open a report, and follow `Share this page` at its end",
        )
    if not (days.isascii() and days.isdigit() and 1 <= int(days) <= _MOST_DAYS):
        raise PageError(
            f"a link lasts 1 to {_MOST_DAYS} days", status=400, hint="go back, and give another number"
        )
    visit.act("shared", path=path, days=int(days))
    _, token = people.shares.make(path, made_by=visit.visitor.name, lasts_s=int(days) * _DAY_S)
    return _page(visit, link=f"{people.public_url}/console/shared/{token}", path=path)


def withdraw(visit: Visit) -> Response:
    """Let a link open nothing any more."""
    visit.act("share-withdrawn", link=visit.path["id"])
    people_of(visit).shares.withdraw(visit.path["id"])
    return visit.go("/console/shares?said=The+link+opens+nothing+any+more.")


def _page(visit: Visit, *, path: str = "", link: str = "") -> Response:
    people = people_of(visit)
    now = people.place.now_s()
    rows = [(one, when(one.made_s), when(one.ends_s), one.holds(now)) for one in people.shares.all()]
    return visit.page(
        "shares.html.j2", title="Shared links", rows=rows, path=path, link=link, most_days=_MOST_DAYS
    )


PAGES: Final = (
    Page("GET", "/shares", Right.SHARE, shares, tab="Shared links"),
    Page("POST", "/shares", Right.SHARE, make),
    Page("POST", "/shares/{id}/withdraw", Right.SHARE, withdraw),
)
