"""Imports point down, and stages stay apart."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_point_down_the_layers() -> None:
    """Both import contracts of pyproject.toml are kept; a package in no layer breaks the first."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_layers_are_those_of_the_design() -> None:
    """The layers contract is exhaustive and names every stage side by side."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = config["tool"]["importlinter"]["contracts"][0]

    assert layers["exhaustive"] is True
    assert "screening | tuning | evaluation | certification | gateway | monitoring" in layers["layers"]
