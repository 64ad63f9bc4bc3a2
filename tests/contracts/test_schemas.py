"""The published schemas and the generated reference are what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_the_generated_pages_are_current() -> None:
    """`docs/reference` and `spec/schema` hold what is generated from the code, and no more."""
    done = subprocess.run(
        [sys.executable, "docs/build_reference.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
