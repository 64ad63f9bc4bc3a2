"""
The console in a real Chromium, for the story of `service_demo.py`: a person signs in, signs, and stops a model.

Where there is no Chromium, or no Playwright, the story goes on with `recert approve` and `recert stop`, and says so.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str:
    """Return where Chromium is: `CHROMIUM`, or one of the system; empty where there is none."""
    return os.environ.get("CHROMIUM", "") or next((at for name in NAMES if (at := shutil.which(name))), "")


@contextmanager
def browser_page() -> Iterator[Any]:
    """Open a page in Chromium; gives None where there is no Chromium or no Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        yield None
        return
    program = chromium()
    if not program:
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.set_default_timeout(60_000)
            yield page
        finally:
            browser.close()


class Person:
    """Somebody at the console, who works in the browser alone."""

    def __init__(self, page: Any, url: str, shots: Path) -> None:
        self.page, self.url, self._shots = page, url, shots
        self.times: list[float] = []
        """Seconds from asking for a page until its last byte, as the browser counts them."""
        page.on("response", self._count)

    def sign_in(self, name: str, password: str) -> bool:
        """Sign in with an account of the console."""
        page = self.page
        page.goto(f"{self.url}/console/sign-in")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("heading", name="Systems").wait_for()
        return True

    def sign(self, model: str, key: Path) -> str:
        """Find the system that awaits a signature, say yes to its checklist, and sign; return what the page answers."""
        page, ends = self.page, time.monotonic() + 120
        while True:  # the list is looked through anew every so often
            page.goto(f"{self.url}/console/?state=awaiting")
            found = page.locator("main table a", has_text=model)
            if found.count() or time.monotonic() > ends:
                break
            time.sleep(1)
        found.first.click()
        self._shot("system")
        for tab in ("Evaluation", "Certificate", "Sign-off"):
            page.locator("nav.tabs").get_by_role("link", name=tab).click()
            self._shot(tab.lower())
        for box in page.locator("main input[type=checkbox]").all():
            box.check()
        page.locator("[data-key]").set_input_files(key)
        page.get_by_role("button", name="Sign", exact=True).click()
        page.wait_for_url("**/sign-off?said=*")
        self._shot("signed")
        return str(page.locator("#answer").inner_text())

    def stop(self, why: str) -> bool:
        """Stop every model of the one gateway that runs."""
        page = self.page
        page.goto(f"{self.url}/console/gateways")
        self._shot("gateways")
        page.locator("main h2 a, main h3 a, main .card a").first.click()
        page.get_by_role("form", name="Stop").get_by_label("Why").fill(why)
        page.get_by_label("I am sure").check()
        page.get_by_role("button", name="Stop serving").click()
        page.get_by_text("Every model is stopped.").wait_for()
        self._shot("stopped")
        return True

    def _shot(self, name: str) -> None:
        self._shots.mkdir(exist_ok=True)
        self.page.screenshot(path=self._shots / f"{name}.png", full_page=True)

    def _count(self, response: Any) -> None:
        if response.request.resource_type == "document" and response.status == 200:
            self.times.append(response.request.timing["responseStart"] / 1000)
