"""
A real Chromium for tests of what only a browser shows, and axe for whether everybody can use it.

```python
with console_of(folder) as console, chromium() as browser:
    page = signed_in(browser, console.url, "ada", ADA)
    page.goto(console.url + "/console/accounts")
    assert serious(page) == []
```
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from console_world import ADA, BOB, QUICK
from recert.console.assembling import ConsoleOptions
from recert.console.serving import ConsoleServer
from recert.store.console.passwords import Passwords

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def program() -> str:
    """Return where Chromium is: `CHROMIUM`, or one of the system; nothing for Playwright's own."""
    given = os.environ.get("CHROMIUM", "")
    return given or next((found for name in _NAMES if (found := shutil.which(name))), "")


@contextmanager
def chromium() -> Iterator[Any]:
    """Run a Chromium while the block does; skip the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        path = program() or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("needs Chromium, as in Debian's package chromium; or CHROMIUM=/path")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def console_of(folder: Path, **options: Any) -> Iterator[ConsoleServer]:
    """Serve the console of a folder, with the administrator `ada` and the approver `bob`, while the block runs."""
    with ConsoleServer(ConsoleOptions(folder, **options), passwords=Passwords(QUICK)) as server:
        people = server.assembled.console.people
        assert people is not None
        if not people.accounts.all():
            people.accounts.add("ada", ["administrator", "operator"], password=people.passwords.hashed(ADA))
            people.accounts.add("bob", ["approver"], password=people.passwords.hashed(BOB))
        yield server


def opened(browser: Any, *, width: int = 1280, dark: bool = False) -> Any:
    """Open a page of its own; what a page says on the browser's console is an error of the test."""
    look = "dark" if dark else "light"
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=look).new_page()
    page.set_default_timeout(20_000)
    page.said = []
    page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    return page


def signed_in(browser: Any, url: str, name: str, password: str, **look: Any) -> Any:
    """Open a page of a console in which somebody is signed in."""
    page = opened(browser, **look)
    page.goto(f"{url}/console/sign-in?to=/console/me")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/console/me")
    return page


def serious(page: Any) -> list[str]:
    """Return what axe finds serious or critical on a page: rule, and where."""
    sync_axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
    )
    found: list[Mapping[str, Any]] = sync_axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def fits(page: Any) -> bool:
    """Say whether a page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
