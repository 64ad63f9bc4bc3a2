"""`recert demo`: what it signs is remembered with it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from recert import settings
from recert.certification.signing.issued import hold_memory
from recert.cli.chain.demo import remember_with


def test_whoever_removes_a_demo_may_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it signed is remembered in its folder: a memory that outlived its ledgers would refuse the next demo."""
    monkeypatch.setenv("RECERT_ISSUED", "")
    del os.environ["RECERT_ISSUED"]
    output = tmp_path / "demo"
    for _ in range(2):
        remember_with(output)
        (output / "keys").mkdir(parents=True)
        with hold_memory() as memory:
            before = memory.content
            memory.keep(before.model_copy(update={"made": True}))
        shutil.rmtree(output)

        assert not getattr(before, "made", False)
    assert settings.issued_file() == output / "keys" / "issued.json"


def test_a_memory_that_was_named_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says where to remember is asked first."""
    monkeypatch.setenv("RECERT_ISSUED", str(tmp_path / "issued.json"))
    remember_with(tmp_path / "demo")

    assert settings.issued_file() == tmp_path / "issued.json"
