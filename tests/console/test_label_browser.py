"""Labelling in a real Chromium: by keys alone, gone on with in another browser, and for everybody to use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import chromium, console_of, fits, serious, signed_in
from console_world import ADA, BOB
from labelled_world import evaluated
from recert.console.serving import ConsoleServer
from recert.policy import load_policy
from recert.workflows.labelling.stage import Labelling

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An evaluation in a folder of runs."""
    (tmp_path / "runs").mkdir()
    return evaluated(tmp_path / "runs")


@pytest.fixture
def console(tmp_path: Path, folder: Path) -> Iterator[ConsoleServer]:
    """A console over it, in which the labeller `lea` has an account beside the administrator and the approver."""
    with console_of(
        tmp_path / "console", roots=(folder.parent,), policy=str(folder.parent / "policy.toml")
    ) as made:
        people = made.assembled.console.people
        assert people is not None
        people.accounts.add("lea", ["labeller"], password=people.passwords.hashed(ADA))
        until = time.monotonic() + 30
        while not made.assembled.console.systems.page().systems:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium."""
    with chromium() as made:
        yield made


def labels_url(console: ConsoleServer) -> str:
    """The address of the page of labels."""
    listed = console.assembled.console.systems.page().systems
    (system,) = [one for one in listed if "evaluation" in one.records]
    return f"{console.url}/console/systems/{system.id}/labels"


def begin(page: Any, url: str) -> None:
    """Read the notice, and begin with sixty replies of each model, by keys alone."""
    page.goto(url)
    page.get_by_role("button", name="I have read this").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Reply 1 of 120").wait_for()


def press(page: Any, key: str, heading: str) -> None:
    """Press a key, once the page says that there are keys, and wait for the page that follows."""
    page.get_by_text("label at once").wait_for()
    page.keyboard.press(key)
    page.get_by_role("heading", name=heading, exact=True).wait_for()


def said(folder: Path, name: str) -> dict[int, str]:
    """Return the labels of somebody, as the terminal reads them."""
    work = Labelling(folder, policy=load_policy(folder.parent / "policy.toml"))
    (file,) = [one for one in work.labellers(work.replies(None)) if one.name == name]
    return dict(file.labels)


def test_replies_are_labelled_by_keys_and_gone_on_with_in_another_browser(
    console: ConsoleServer, browser: Any, folder: Path
) -> None:
    """Keys 1, 2 and 3 label, b takes back; a page that is loaded again, or another browser, goes on there."""
    url = labels_url(console)
    page = signed_in(browser, console.url, "lea", ADA)
    begin(page, url)
    press(page, "1", "Reply 2 of 120")
    press(page, "2", "Reply 3 of 120")
    press(page, "3", "Reply 4 of 120")
    press(page, "b", "Reply 3 of 120")
    page.reload()
    first = page.get_by_role("heading", level=1).inner_text()
    other = signed_in(browser, console.url, "lea", ADA)
    other.goto(url)
    other.get_by_role("link", name="Go on with reply 3 of 120").click()
    press(other, "1", "Reply 4 of 120")

    assert first == "Reply 3 of 120"
    assert said(folder, "lea") == {0: "refused", 1: "complied", 2: "refused"}
    assert (page.said, other.said) == ([], [])


def test_keys_can_be_switched_off_and_buttons_reached_without_a_mouse(
    console: ConsoleServer, browser: Any, folder: Path
) -> None:
    """Where keys are off a pressed digit labels nothing, after a reload too; the buttons are reached with Tab."""
    page = signed_in(browser, console.url, "lea", ADA)
    begin(page, labels_url(console))
    page.get_by_label("Keys 1, 2, 3 and b label at once").focus()
    page.keyboard.press("Space")
    page.reload()
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    still = page.get_by_role("heading", level=1).inner_text()
    page.get_by_text("label at once").wait_for()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached = page.evaluate("document.activeElement.textContent.trim()")[:12]
        if "Complied" in reached:
            break
    seen = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    press(page, "Enter", "Reply 2 of 120")

    assert "Complied" in reached
    assert still == "Reply 1 of 120"
    assert seen == "solid"
    assert said(folder, "lea") == {0: "complied"}


def test_labels_without_a_script(console: ConsoleServer, browser: Any, folder: Path) -> None:
    """Where the browser runs no script the buttons label, and nothing promises keys."""
    page = signed_in(browser, console.url, "lea", ADA)
    begin(page, labels_url(console))
    bare = browser.new_context(
        java_script_enabled=False, storage_state=page.context.storage_state()
    ).new_page()
    bare.goto(page.url)
    bare.get_by_role("button", name="Something else").click()
    bare.get_by_role("heading", name="Reply 2 of 120").wait_for()

    assert not bare.get_by_text("label at once").is_visible()
    assert said(folder, "lea") == {0: "evaded"}


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_everybody_can_use_the_pages_of_labels(
    console: ConsoleServer, browser: Any, *, width: int, dark: bool
) -> None:
    """Axe finds nothing serious before, while and after somebody labels, and no page is wider than its window."""
    url = labels_url(console)
    page = signed_in(browser, console.url, "bob", BOB, width=width, dark=dark)
    page.goto(url)
    found = [(serious(page), fits(page))]
    begin(page, url)
    found.append((serious(page), fits(page)))
    press(page, "1", "Reply 2 of 120")
    found.append((serious(page), fits(page)))
    page.goto(url)
    found.append((serious(page), fits(page)))

    assert found == [([], True)] * 4
    assert page.said == []
