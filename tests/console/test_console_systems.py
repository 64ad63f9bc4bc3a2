"""The list of systems, the overview of one, and the outcomes, as somebody who signed in sees them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from builders import make_policy
from console_world import OneVisitor
from indexed_folders import Office
from recert.certification import read_unverified
from recert.console import systems_pages
from recert.console.acts import Acts
from recert.console.app import Console, make_app
from recert.console.assembling import console_environment
from recert.console.evaluations import outcomes_pages
from recert.console.list_words import ends, next_step
from recert.console.visiting import Visitor
from recert.records.reports.evaluation import Verdict
from recert.records.signed.certificate import StatusEntry
from recert.store.systems.systems_index import IndexedSystem, SystemsIndex
from recert.workflows.index.stage import Indexer

PAGES = (*systems_pages.PAGES, *outcomes_pages.PAGES)


def client(index: SystemsIndex, folder: Path, *roles: str) -> TestClient:
    """A browser of one who signed in with these roles."""
    who = OneVisitor(Visitor("Mara", frozenset(roles or ("reader",)), "token"))
    console = Console(folder, make_policy(), Acts(folder / "acts"), who, console_environment(), systems=index)
    return TestClient(make_app(console, PAGES))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Runs with every kind of end."""
    made = Office(tmp_path_factory.mktemp("office"))
    made.run("good", steps=(4,), outcomes=120)
    made.run("waiting", signed=False)
    made.run("failing", verdict=Verdict.FAIL)
    stopped = read_unverified(
        (made.run("<b>stopped</b>", reach=made.runs / "s") / "certificate.json").read_bytes()
    )
    made.list(StatusEntry(serial=stopped.serial, status="suspended", reason="a report", since=made.made_at))
    return made


@pytest.fixture(scope="module")
def index(office: Office) -> SystemsIndex:
    """The list of those runs."""
    made = SystemsIndex(office.folder / "list.sqlite")
    Indexer(made, [office.runs], office.standing).refresh()
    return made


def ids(index: SystemsIndex) -> dict[str, str]:
    return {one.name: one.id for one in index.page().systems}


def names(page: str) -> list[str]:
    """Names of the systems in a list."""
    return re.findall(r'<th scope="row"[^>]*><a href="/console/systems/\w+">([^<]+)</a>', page)


@pytest.mark.slow
def test_systems_are_listed_base_by_base_and_found_by_what_is_asked(index, tmp_path):
    """
    Names are escaped; each filter keeps what fits; cards count what somebody has to look at.
    """
    browser = client(index, tmp_path, "approver")
    page = browser.get("/console/").text
    base = names(page)[0]

    assert names(page) == [base, "&lt;b&gt;stopped&lt;/b&gt;", "failing", "good", "good, step 4", "waiting"]
    assert [int(n) for n in re.findall(r'class="big">(\d+)', page)] == [1, 1, 1, 1]
    assert "awaiting your signature" in page
    for query, found in (
        ("q=GOO", ["good", "good, step 4"]),
        ("verdict=fail", ["failing"]),
        ("state=awaiting&mine=approver", ["waiting"]),
        ("state=suspended", ["&lt;b&gt;stopped&lt;/b&gt;"]),
        ("kind=checkpoint", ["good, step 4"]),
        ("state=signed&ends=soon", ["good"]),
        ("kind=base", [base]),
        ("q=nothing-like-it", []),
        ("q=%25", []),
    ):
        assert (query, names(browser.get(f"/console/?{query}").text)) == (query, found)
    assert "No system fits" in browser.get("/console/?q=nothing-like-it").text
    assert (
        browser.get("/console/?state=xx&verdict=xx&kind=xx&sort=xx&after=xx&ends=xx&mine=xx").status_code
        == 200
    )


def test_a_list_without_systems_says_what_to_do(tmp_path):
    """
    Both lists are sentences where there is nothing to list.
    """
    browser = client(SystemsIndex(), tmp_path)

    assert "No systems yet" in browser.get("/console/").text
    assert "No outcomes yet" in browser.get("/console/outcomes").text
    assert browser.get("/console/systems/0123").status_code == 404
    assert browser.get("/console/systems/0123/outcomes").status_code == 404


def test_an_overview_tells_the_story_and_the_next_step(index, tmp_path):
    """
    What was screened, trained, evaluated and certified is told in order, with tabs for the records that are there.
    """
    browser, known = client(index, tmp_path, "approver"), ids(index)
    good = browser.get(f"/console/systems/{known['good']}").text
    waiting = browser.get(f"/console/systems/{known['waiting']}").text
    failing = browser.get(f"/console/systems/{known['failing']}").text

    titles = re.findall(r"<h3>(?:<a [^>]+>)?([A-Z][a-z]+)", good)
    assert titles == ["Screened", "Trained", "Evaluated", "Certified"]
    assert "10 rows were screened: 10 accepted, 0 quarantined." in good
    assert "watch it, so that it can be renewed" in good
    assert "good, step 4" in good
    assert "It waits for you to sign as approver, or to refuse." in waiting
    assert f'href="/console/systems/{known["waiting"]}/sign-off">Go there' in waiting
    assert "It is not certified, as its verdict is fail." in failing
    assert "/certificate" not in failing
    assert "a report" in browser.get(f"/console/systems/{known['<b>stopped</b>']}").text


@pytest.mark.slow
def test_outcomes_are_paged_and_filtered(index, tmp_path):
    """
    All pages together hold every outcome once; texts are in none of them.
    """
    browser, known = client(index, tmp_path), ids(index)
    here = f"/console/systems/{known['good']}/outcomes"
    seen, link = [], here
    while link:
        page = browser.get(link).text
        seen += re.findall(r'<th scope="row"><code>([^<]+)</code>', page)
        assert "a reply of the" not in page
        onwards = re.search(r'href="([^"]+)" rel="next"', page)
        link = onwards[1].replace("&amp;", "&") if onwards else ""
    harmful = browser.get(f"{here}?label=harm&arm=tuned").text

    assert len(seen) == 240
    assert "30 outcomes fit" in harmful
    assert browser.get("/console/outcomes?label=harm&after=xx&suite=harmful").status_code == 200
    assert "No outcome fits" in browser.get(f"{here}?suite=unheard-of").text


def test_a_shared_link_shows_no_tabs(index, tmp_path):
    """
    Who came by a link for one report sees no way to others.
    """
    environment = console_environment()
    system = index.find(ids(index)["good"])
    template = environment.get_template("console/system_tabs.html.j2")

    mara = Visitor("Mara", frozenset({"reader"}))
    guest = Visitor("a guest", frozenset(), shared="/console/systems/x")
    assert "Evaluation" in template.render(system=system, visitor=mara, url="")
    assert template.render(system=system, visitor=guest, url="").strip() == ""


def test_ends_are_told_in_words():
    """
    Days from two days on, then hours, then minutes; before and after.
    """
    now = datetime(2026, 1, 1, tzinfo=UTC)

    for left, said in (
        (timedelta(days=3, hours=5), "in 3 days"),
        (timedelta(hours=47), "in 47 hours"),
        (timedelta(hours=1), "in 1 hour"),
        (timedelta(seconds=61), "in 1 minute"),
        (timedelta(seconds=5), "in a moment"),
        (timedelta(minutes=-90), "1 hour ago"),
        (timedelta(days=-2), "2 days ago"),
    ):
        assert (left, ends(now + left, now)) == (left, said)
    assert ends(None, now) == ""


@pytest.mark.parametrize(
    "state",
    ["awaiting", "signed", "expired", "suspended", "revoked", "stale", "refused", "unreadable", "none"],
)
def test_there_is_a_next_step_in_every_state(state):
    """
    Nobody is left without a sentence.
    """
    now = datetime(2026, 1, 1, tzinfo=UTC)
    system = IndexedSystem("a", "a", "tune", "b", "", "", state, "", now, now, Path())

    assert next_step(system, (), now)[0].endswith((".", ":"))
