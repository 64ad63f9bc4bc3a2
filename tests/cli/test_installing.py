"""Hints that name a missing extra work from where Recert was installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recert.cli.installing import extra_of, install_hint

HINT = "run `pip install 'recert[local,train]'`"


@pytest.mark.parametrize(
    ("source", "command"),
    [
        ({}, "pip install 'recert[local,train]'"),
        (
            {"url": "file:///src/my%20recert", "dir_info": {"editable": True}},
            "pip install -e '/src/my recert[local,train]'",
        ),
        ({"url": "file:///src/recert", "dir_info": {}}, "pip install '/src/recert[local,train]'"),
        (
            {"url": "file:///d/recert-1-py3-none-any.whl"},
            "pip install '/d/recert-1-py3-none-any.whl[local,train]'",
        ),
        (
            {"url": "https://git.example/recert", "vcs_info": {"vcs": "git"}},
            "pip install 'recert[local,train] @ git+https://git.example/recert'",
        ),
    ],
)
def test_a_hint_names_the_place_that_recert_came_from(source: dict[str, object], command: str) -> None:
    """A checkout, a wheel and a repository are installed again with the extra; an index is asked as before."""
    assert install_hint(HINT, source) == f"run `{command}`"


def test_the_extra_of_a_module_is_what_recert_asks_for() -> None:
    """By the installation's own requirements; what no extra brings has none."""
    assert extra_of("torch") == "local"
    assert extra_of("typer") == ""


def test_a_module_that_is_not_installed_is_no_defect(tmp_path: Path) -> None:
    """A command without its extra exits 2, names the extra, and prints no traceback."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('torch', 'transformers', 'peft', 'vllm'):\n    sys.modules[name] = None\n"
    )
    (tmp_path / "tune").mkdir()
    evaluate = ("evaluate", "--model", "tune", "--base", "tune", "--output", "out")
    for command in (("demo",), evaluate, (*evaluate, "--engine", "vllm")):
        done = subprocess.run(
            [sys.executable, "-m", "recert", *command],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "RECERT_CACHE_DIR": str(tmp_path / "cache")},
        )

        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert "[vllm]" in done.stderr if "vllm" in command else "[local" in done.stderr, done.stderr
