"""Links that open one page for people without an account."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.responses import Response

from console_world import ADA, BOB, Browser, People
from recert.console.accounts.rights import Right
from recert.console.pages import Page
from recert.console.visiting import Visit

PATH = "/console/systems/s1/evaluation"


def _report(visit: Visit) -> Response:
    shown = "revealed" if visit.visitor.may(Right.REVEAL) else "redacted"
    return visit.page("problem.html.j2", title=f"Report {visit.path['id']} {shown}", error=_NO_ERROR)


class _NO_ERROR:
    way_out = ""


REPORT = (
    Page("GET", "/systems/{id}/evaluation", Right.READ, _report, sharable=True),
    Page("POST", "/systems/{id}/evaluation", Right.READ, _report, sharable=True),
    Page("GET", "/systems/{id}/secret", Right.READ, _report),
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[People]:
    """A console with a report that can be shared."""
    made = People(tmp_path / "console", pages=REPORT)
    yield made
    made.close()


@pytest.fixture
def ada(world: People) -> Browser:
    """The browser of somebody who may share."""
    browser = world.browser()
    browser.sign_in("ada", ADA)
    return browser


def _shared(ada: Browser, path: str = PATH, days: str = "7") -> str:
    ada.get(f"/console/shares?path={path}")
    made = ada.post("/console/shares", path=path, days=days)
    found = re.search(r'class="once">http://127\.0\.0\.1(/console/shared/[A-Za-z0-9_-]{43})<', made.text)
    assert found is not None, made.text
    return found.group(1)


def test_a_link_opens_one_page_to_read_only(world: People, ada: Browser) -> None:
    """The page without what was judged harmful, no other page, no form; each opening is logged."""
    link = _shared(ada)
    guest = world.browser()
    led = guest.get(link)
    page = guest.get(PATH)
    others = [
        guest.get(path).status_code
        for path in ("/console/systems/s1/secret", "/console/me", "/console/shares")
    ]
    posted = guest.post(PATH, token="0" * 64)

    assert (led.status_code, led.headers["location"]) == (303, PATH)
    assert (page.status_code, "Report s1 redacted" in page.text) == (200, True)
    assert "Sign out" not in page.text
    assert others == [303, 303, 303]
    assert posted.status_code in (303, 403)
    assert guest.get("/console/systems/s2/evaluation").status_code == 303
    assert [what for _, what in world.acts()] == ["signed-in", "shared", "shared-opened"]
    assert world.people.shares.all()[0].opened == 1


def test_only_the_digest_of_a_link_is_kept(world: People, ada: Browser) -> None:
    """Neither the database nor the log opens anything; the list shows an id that does not."""
    token = _shared(ada).rpartition("/")[2]
    kept = b"".join(file.read_bytes() for file in world.folder.iterdir())

    assert token.encode() not in kept
    assert token not in ada.get("/console/shares").text
    assert world.browser().get(f"/console/shared/{world.people.shares.all()[0].id}").status_code == 404


def test_a_link_ends_and_can_be_withdrawn(world: People, ada: Browser) -> None:
    """Then it opens nothing, also in a browser where it was open."""
    first, second = _shared(ada, days="1"), _shared(ada, days="90")
    guests = [world.browser(), world.browser()]
    for guest, link in zip(guests, (first, second), strict=True):
        guest.get(link)
    world.clock.at += 86_400 - 5
    ada.sign_in("ada", ADA)
    ada.get("/console/shares")
    withdrawn = next(one for one in world.people.shares.all() if one.ends_s - one.made_s > 86_400)
    seen = guests[1].get(PATH).status_code
    done = ada.post(f"/console/shares/{withdrawn.id}/withdraw")
    world.clock.at += 6

    assert (seen, done.status_code) == (200, 303)
    assert [guest.get(PATH).status_code for guest in guests] == [303, 303]
    assert [world.browser().get(link).status_code for link in (first, second)] == [404, 404]
    assert ada.post(f"/console/shares/{withdrawn.id}/withdraw").status_code == 400


def test_two_links_in_one_browser_open_two_pages(world: People, ada: Browser) -> None:
    """One does not take the other's place."""
    guest = world.browser()
    for path in (PATH, "/console/systems/s2/evaluation"):
        guest.get(_shared(ada, path))

    assert guest.get(PATH).status_code == 200
    assert guest.get("/console/systems/s2/evaluation").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/console/systems/s1/secret", "/console/me", "/console/accounts", "", "https://evil.example/", "//evil.example",
        PATH + "/..", "/console/systems/s1/../s2/evaluation", PATH + "\n", PATH + "%2e",
    ],
)  # fmt: skip
def test_only_reports_can_be_shared(world: People, ada: Browser, path: str) -> None:
    """Any other page, an address elsewhere, a path with dots: refused."""
    ada.get("/console/shares")
    done = ada.post("/console/shares", path=path, days="7")

    assert done.status_code == 400 or world.people.shares.all()[0].path == PATH
    assert all(one.path == PATH for one in world.people.shares.all())


@pytest.mark.parametrize("days", ["0", "91", "-1", "", "1e3", "7.5", "٧"])
def test_a_link_lasts_ninety_days_at_most(world: People, ada: Browser, days: str) -> None:
    """Anything that is no number of days is refused."""
    ada.get("/console/shares")

    assert ada.post("/console/shares", path=PATH, days=days).status_code == 400
    assert world.people.shares.all() == []


def test_whoever_may_not_share_makes_no_link(world: People, ada: Browser) -> None:
    """An approver sees no list, makes none and withdraws none; a page that can be shared shows the link to others."""
    _shared(ada)
    bob = world.browser()
    bob.sign_in("bob", BOB)
    share = world.people.shares.all()[0].id
    answers = [
        bob.get("/console/shares"),
        bob.post("/console/shares", path=PATH, days="7"),
        bob.post(f"/console/shares/{share}/withdraw"),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert "Share this page" in ada.get(PATH).text
    assert "Share this page" not in bob.get(PATH).text
    assert "Share this page" not in ada.get("/console/systems/s1/secret").text


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "../../me", "A" * 2000, "%00"])
def test_what_is_no_link_opens_nothing(world: People, token: str) -> None:
    """The answer says so, and names nothing."""
    answer = world.browser().get(f"/console/shared/{token}")

    assert answer.status_code in (303, 404)
    assert "set-cookie" not in answer.headers
    assert [what for _, what in world.acts()] == []
