"""The page about the architecture says what is there, and where to add what is not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_picture_and_the_rooms_are_those_of_the_code() -> None:
    """Both are generated from the source, its imports and the import contract."""
    done = subprocess.run(
        [sys.executable, "docs/build_architecture.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_that_the_page_names_is_there() -> None:
    """Paths are below `src/recert`, or of the repository."""
    named = set(re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.(?:py|md))?)`", PAGE))
    gone = {
        path for path in named if not (ROOT / path).exists() and not (ROOT / "src" / "recert" / path).exists()
    }

    assert len(named) > 20
    assert gone == set()


def test_the_walk_is_one_that_the_imports_allow() -> None:
    """Each step of a row's way names its file, from the command to the reply."""
    walk = PAGE.partition("## One row")[2].partition("## Where")[0]

    for stage in ("screening", "tuning", "evaluation", "certification"):
        assert f"`{stage}/stage.py`" in walk
    for file in ("cli/chain/run.py", "workflows/run.py", "gateway/serving/app.py"):
        assert f"`{file}`" in walk
