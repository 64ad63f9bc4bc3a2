"""From a page to PDF, by a Chromium that is installed: the same engine that shows the page, and no library for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from recert.errors import MissingExtraError, StoreError
from recert.store.files.writing import read_bytes

BROWSERS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
)
"""Names under which a browser that can print is looked for, in this order."""
_PRINT_LIMIT_S: Final = 120


def find_browser() -> Path:
    """
    Return the first Chromium on the PATH.

    Raises:
        MissingExtraError: there is none.
    """
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise MissingExtraError(
        "no Chromium to print with",
        facts={"looked for": ", ".join(BROWSERS)},
        hint="install one (`apt install chromium`), or export `--as report` and print the page with any browser",
    )


def print_pdf(page: bytes) -> bytes:
    """
    Return a page printed to PDF. The browser gets a profile of its own, no network and no scripts.

    Raises:
        MissingExtraError: there is no Chromium.
        StoreError: it did not print.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="recert-print-") as name:
        folder = Path(name)
        html, pdf = folder / "page.html", folder / "page.pdf"
        html.write_bytes(page)
        command = [
            str(browser),
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-extensions",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            "--no-pdf-header-footer",
            f"--print-to-pdf={pdf}",
            html.as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(
                1, "--no-sandbox"
            )  # Chromium refuses to start as root with one; the page has no scripts
        try:
            done = subprocess.run(command, capture_output=True, timeout=_PRINT_LIMIT_S, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise _unprinted(browser, exc) from exc
        if done.returncode or not pdf.exists():
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise _unprinted(browser, said[-1] if said else f"exit {done.returncode}")
        return read_bytes(pdf, "printed page")


def _unprinted(browser: Path, because: object) -> StoreError:
    return StoreError(
        "the page was not printed",
        facts={"browser": browser, "because": because},
        hint="export `--as report` and print the page with any browser",
    )
