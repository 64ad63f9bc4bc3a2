"""The console's pages of reports in a real browser: readable at any width, in both schemes, by whoever uses what."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from attack_conversations import make_attack
from console.test_console_searches import add_attack
from console_systems import World, add, add_evaluation, whole_evaluation, write_record
from hunt_reports import make_hunt_report
from recert.console.evaluations import attack_pages, evaluation_pages, screening_pages, search_pages
from stories import poisoned_screening
from stress_reports import make_stress_report

pytestmark = pytest.mark.slow

CHROMIUM = Path("/usr/bin/chromium")
PARTS = ("evaluation", "screening", "triggers", "stress", "attack")
SERIOUS = ("serious", "critical")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a console over one system with every report."""
    uvicorn = pytest.importorskip("uvicorn")
    pages = (*evaluation_pages.PAGES, *screening_pages.PAGES, *search_pages.PAGES, *attack_pages.PAGES)
    world = World(tmp_path, pages)
    add_evaluation(world, **whole_evaluation())
    add_attack(world, make_attack())
    records = {"screen": poisoned_screening(), "hunt": make_hunt_report(), "stress": make_stress_report()}
    add(world, "sql", **{n: write_record(tmp_path / f"{n}.json", record) for n, record in records.items()})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(world.operator().app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/console/systems/sql/"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser() -> Iterator[Any]:
    """A Chromium; skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if not CHROMIUM.exists():
        pytest.skip("needs /usr/bin/chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


def test_report_pages_are_accessible_and_fit(served: str, browser: Any) -> None:
    """No page has a serious finding of axe, runs over the side, or has a style that its policy blocks."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe").Axe()
    found: list[tuple[str, str, object]] = []
    for scheme, width, parts in (("light", 400, PARTS), ("dark", 1600, ("screening",))):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        page = context.new_page()
        told: list[str] = []
        page.on("console", partial(_keep, told))
        for part in parts:
            page.goto(served + part)
            wide = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            bad = [one["id"] for one in axe.run(page).response["violations"] if one["impact"] in SERIOUS]
            found += [(part, scheme, what) for what in (*bad, *told, *([wide] if wide else []))]
        context.close()

    assert found == []


def _keep(told: list[str], message: Any) -> None:
    """Keep what the browser says was blocked."""
    if "Content Security" in message.text:
        told.append(message.text)


def test_pages_are_used_by_keyboard_alone(served: str, browser: Any) -> None:
    """The first key leads to the content, and a form of the examples is chosen and sent without a mouse."""
    page = browser.new_page()
    page.goto(served + "evaluation")
    page.keyboard.press("Tab")
    skip = page.evaluate("document.activeElement.className")
    page.get_by_label("What tuning did").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**change=changed**")

    assert skip == "skip"
    assert page.locator("section.paired").count() == 10
