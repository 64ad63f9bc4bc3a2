"""Signing in, accounts and shared links in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from browser import chromium, console_of, fits, opened, serious, signed_in
from console_world import ADA
from recert.console.serving import ConsoleServer

pytestmark = pytest.mark.slow

PATHS = ("/sign-in", "/me", "/accounts", "/accounts/bob", "/shares", "/none")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for the tests of this file."""
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleServer]:
    """One console."""
    with console_of(tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest.mark.parametrize(("width", "dark"), [(400, True), (1600, False)])
def test_everybody_can_use_the_pages(browser: Any, console: ConsoleServer, *, width: int, dark: bool) -> None:
    """Axe finds nothing serious, no page is wider than its window, and none says an error, light and dark."""
    page = signed_in(browser, console.url, "ada", ADA, width=width, dark=dark)
    found = {}
    for path in PATHS[1:]:
        page.goto(f"{console.url}/console{path}")
        found[path] = (serious(page), fits(page))
    said = [line for line in page.said if "404" not in line]
    page.context.clear_cookies()
    page.goto(f"{console.url}/console{PATHS[0]}")
    found[PATHS[0]] = (serious(page), fits(page))

    assert found == dict.fromkeys(found, ([], True))
    assert len(found) == len(PATHS)
    assert said == []


def test_a_person_signs_in_and_out_by_the_keyboard(browser: Any, console: ConsoleServer) -> None:
    """Name, password and Enter; the skip link is the first stop; the back button shows nothing after signing out."""
    page = opened(browser)
    page.goto(console.url + "/console/accounts")
    page.wait_for_function("document.activeElement.id === 'name'")
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(ADA)
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/accounts")
    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.textContent")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/console/sign-in")
    page.go_back()
    page.wait_for_load_state()

    assert first == "Skip to the content"
    assert "/console/sign-in" in page.url


def test_the_browser_keeps_the_session_from_scripts_and_runs_none_of_others(
    browser: Any, console: ConsoleServer
) -> None:
    """No script sees the cookie, and the policy of the page stops one that got into it."""
    page = signed_in(browser, console.url, "ada", ADA)
    cookies = {one["name"]: one for one in page.context.cookies()}
    page.evaluate("""() => {
        const made = document.createElement("script");
        made.textContent = "document.title = 'taken over'";
        document.body.append(made);
    }""")

    assert cookies["recert-session"]["httpOnly"]
    assert cookies["recert-session"]["sameSite"] == "Lax"
    assert page.evaluate("document.cookie") == ""
    assert page.title() == "Your account · Recert"


def test_shutting_somebody_out_asks_first(browser: Any, console: ConsoleServer) -> None:
    """Who says no to the question changes nothing."""
    page = signed_in(browser, console.url, "ada", ADA)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.goto(console.url + "/console/accounts/bob")
    page.get_by_role("button", name="Shut this account").click()

    people = console.assembled.console.people
    assert people is not None
    assert asked == ["Shut bob out? Their sessions end."]
    assert not people.accounts.known("bob").disabled
