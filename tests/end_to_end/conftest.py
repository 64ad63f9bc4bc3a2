"""Worlds for these tests: one made of a few bytes, one with a tiny real model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .world import Said, call, make_world

Run = Callable[[Path, str], Said]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("made") / "world")


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import make_adapter, make_base

    folder = tmp_path_factory.mktemp("tiny") / "world"
    make_adapter(folder / "tuned", make_base(folder / "base"))
    return make_world(folder)


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Path:
    """A certified model of a few bytes, with everything around it."""
    return Path(shutil.copytree(template, tmp_path / "world"))


@pytest.fixture
def tiny(tiny_template: Path, tmp_path: Path) -> Path:
    """The same around a tiny model that can be loaded, tuned and served."""
    return Path(shutil.copytree(tiny_template, tmp_path / "world"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a folder, in this process."""
    return lambda folder, command: call(folder, command, monkeypatch, capsys)
