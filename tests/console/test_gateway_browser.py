"""The gateways' pages in a real Chromium: live, stopped by the switch, and for everybody to use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import chromium, console_of, fits, serious, signed_in
from console_world import ADA
from live_gateways import BLOCKED_WORD, LiveGateway, live_gateway
from recert.console.serving import ConsoleServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """A gateway that answered, and blocked."""
    with live_gateway(tmp_path_factory.mktemp("gateway")) as made:
        made.ask()
        made.ask(BLOCKED_WORD)
        yield made


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, gateway: LiveGateway) -> Iterator[ConsoleServer]:
    """A console that knows it."""
    folder: Path = tmp_path_factory.mktemp("console")
    (folder / "console.toml").write_text(gateway.settings())
    with console_of(folder) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium."""
    with chromium() as made:
        yield made


def test_a_person_stops_a_running_gateway_by_the_page(
    browser: Any, console: ConsoleServer, gateway: LiveGateway
) -> None:
    """Counts change while the page is looked at; stopped with a reason, requests are refused at once and after."""
    page = signed_in(browser, console.url, "ada", ADA)
    page.goto(f"{console.url}/console/gateways/main")
    page.get_by_text("2 requests, 1 blocked").wait_for()
    before = gateway.ask()
    page.get_by_text("3 requests, 1 blocked").wait_for()
    page.get_by_label("Why").fill("it said something")
    page.get_by_role("button", name="Stop serving").click()
    untold = page.get_by_label("I am sure").evaluate("box => box.validity.valueMissing")
    page.get_by_label("I am sure").check()
    page.get_by_role("button", name="Stop serving").click()
    page.get_by_text("Every model is stopped. The gateway obeys.").wait_for()
    refused = [gateway.ask()]
    time.sleep(1.2)
    refused.append(gateway.ask())
    page.get_by_text("stopped-by-operator").wait_for()
    found = (serious(page), fits(page))
    page.get_by_role("form", name="Resume").get_by_label("Why").fill("it was a test")
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("Every model is resumed. The gateway obeys.").wait_for()

    assert before == "Hello there"
    assert untold
    assert refused == ["stopped-by-operator"] * 2
    assert found == ([], True)
    assert gateway.ask() == "Hello there"
    assert [line for line in page.said if "404" not in line] == []


@pytest.mark.parametrize(("width", "dark"), [(400, True), (1600, False)])
def test_everybody_can_use_the_gateways(
    browser: Any, console: ConsoleServer, *, width: int, dark: bool
) -> None:
    """Axe finds nothing serious, and no page is wider than its window, light and dark."""
    page = signed_in(browser, console.url, "ada", ADA, width=width, dark=dark)
    found = {}
    for path in ("/gateways", "/gateways/main"):
        page.goto(f"{console.url}/console{path}")
        page.get_by_text("blocked by a control").first.wait_for()
        found[path] = (serious(page), fits(page))

    assert found == dict.fromkeys(found, ([], True))
    assert [line for line in page.said if "404" not in line] == []
