"""The page of attacks names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "concepts" / "gateway-attacks.md"
ROWS = [
    line
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| attack |")
]
NAMED = re.compile(r"`(?:([a-z_]+)/)?(test_\w+)`")


def _defined(folder: str) -> set[str]:
    text = "\n".join(path.read_text() for path in sorted((ROOT / "tests" / folder).glob("test_*.py")))
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))


def test_every_test_that_the_page_names_is_there() -> None:
    """Each name is that of a test function in the folder that the page says."""
    folders = {folder or "gateway" for row in ROWS for folder, _ in NAMED.findall(row)}
    defined = {folder: _defined(folder) for folder in folders}
    gone = [
        f"{folder or 'gateway'}/{name}"
        for row in ROWS
        for folder, name in NAMED.findall(row)
        if name not in defined[folder or "gateway"]
    ]

    assert len(ROWS) > 40
    assert gone == []


def test_every_attack_has_a_test() -> None:
    """No row stands there without a test of its own."""
    assert [row for row in ROWS if not NAMED.search(row.rsplit("|", 2)[1])] == []
