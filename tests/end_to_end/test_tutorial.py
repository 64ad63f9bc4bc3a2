"""The tutorial's commands run as they stand, and print what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"


@dataclass
class Step:
    """One command of the page, the exit code it announces, and the lines that are shown below it."""

    command: str
    code: int = 0
    shown: list[str] = field(default_factory=list)


def commands_of(page: Path, *, model: bool = False) -> list[Step]:
    """Return a page's commands; `model` takes those that need the embedded one."""
    steps: list[Step] = []
    for kind, block in re.findall(r"^```console( model)?\n(.*?)^```$", page.read_text(), re.M | re.S):
        if bool(kind) != model:
            continue
        for line in block.splitlines():
            if line.startswith("$ "):
                command, _, code = line[2:].partition("  # exits ")
                steps.append(Step(command, int(code or 0)))
            elif line.startswith("> "):
                steps[-1].command += "\n" + line[2:]
            else:
                steps[-1].shown.append(line)
    return steps


def run_commands(steps: list[Step], folder: Path) -> int:
    """Run commands in a folder; each must exit as announced and print what is shown. Return how many lines are."""
    compared = 0
    bin_folder = folder / ".bin"
    bin_folder.mkdir(exist_ok=True)
    for name, arguments in (("recert", "-m recert"), ("python", "")):
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        script.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "EXAMPLES": str(ROOT / "examples"),
        "COLUMNS": "200",
        "RECERT_THREADS": "1",
    }
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        said = [line.rstrip() for line in done.stdout.splitlines()]

        assert done.returncode == step.code, f"$ {step.command}\n{done.stdout}"
        for line in step.shown:
            pattern = ".*".join(map(re.escape, line.split("…")))
            assert any(re.fullmatch(pattern, one) for one in said), f"{line!r} not in:\n{done.stdout}"
            compared += 1
    return compared


def test_the_page_shows_commands() -> None:
    """The page has commands to run, with and without a model."""
    assert len(commands_of(PAGE)) > 15
    assert commands_of(PAGE, model=True)


@pytest.mark.slow
def test_the_tutorial_works(tmp_path: Path) -> None:
    """Every command that needs no model exits as announced and prints the lines that are shown."""
    assert run_commands(commands_of(PAGE), tmp_path) > 15


@pytest.mark.slow
@pytest.mark.model
def test_the_tutorial_works_on_the_embedded_model(tmp_path: Path) -> None:
    """The same for the commands on the embedded model, after those they build on."""
    before = [s for s in commands_of(PAGE) if "rows.jsonl" in s.command or " keygen " in f" {s.command} "]
    run_commands(before, tmp_path)
    assert run_commands(commands_of(PAGE, model=True), tmp_path) > 0
