"""Runs and watches in a real Chromium: pages that change by themselves, and that everybody can use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import chromium, console_of, fits, serious, signed_in
from console_world import ADA
from live_runs import evaluated, killed, put
from recert.console.serving import ConsoleServer
from recert.workflows.progress_file import FILE, read_progress

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run at work, and one that was killed."""
    made = tmp_path_factory.mktemp("runs")
    evaluated(made / "work", name="sql-tune", blocks=5, harmful_every=3)
    put(made / "work", touched_ago_s=-600)
    evaluated(made / "killed", name="other-tune", blocks=2)
    killed(made / "killed")
    return made


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[ConsoleServer]:
    """A console over both."""
    with console_of(tmp_path_factory.mktemp("console"), roots=(root,)) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium."""
    with chromium() as made:
        yield made


@pytest.mark.parametrize(("width", "dark"), [(400, True), (1600, False)])
def test_everybody_can_use_the_runs(browser: Any, console: ConsoleServer, *, width: int, dark: bool) -> None:
    """Axe finds nothing serious, and no page is wider than its window, light and dark."""
    page = signed_in(browser, console.url, "ada", ADA, width=width, dark=dark)
    page.goto(f"{console.url}/console/runs")
    page.get_by_role("link", name="sql-tune").wait_for()
    found = [(serious(page), fits(page))]
    for name in ("sql-tune", "other-tune"):
        page.goto(f"{console.url}/console/runs")
        page.get_by_role("link", name=name).click()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        found.append((serious(page), fits(page)))

    assert found == [([], True)] * 3
    assert [line for line in page.said if "404" not in line] == []


def test_a_run_that_goes_on_and_ends_changes_its_page_by_itself(
    browser: Any, console: ConsoleServer, root: Path
) -> None:
    """Nobody presses anything: figures move, and in the end the page says that it ended."""
    page = signed_in(browser, console.url, "ada", ADA)
    page.goto(f"{console.url}/console/runs")
    page.get_by_role("link", name="sql-tune").click()
    page.get_by_text("at work").wait_for()
    seen = read_progress(root / "work" / FILE)
    assert seen is not None
    stage = seen.told.stages[-1].model_copy(update={"done": 77})
    put(root / "work", touched_ago_s=-600, stages=(stage,))
    page.get_by_text("77 of").wait_for()
    put(root / "work", state="ended")
    page.get_by_text("ended", exact=True).wait_for()

    assert page.locator("[data-live]").count() == 0
