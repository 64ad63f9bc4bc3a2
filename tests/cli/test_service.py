"""`recert service` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from recert.__main__ import _draw
from recert.cli.app import app
from recert.errors import RecertError

pytest.importorskip("starlette")


def test_a_service_whose_base_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    """A slip in the base's name makes no keys: they would look like those of a service that runs."""
    folder = tmp_path / "service"
    done = CliRunner().invoke(app, ["service", "--base", "nowhere", "--folder", str(folder)], obj=_draw)

    assert isinstance(done.exception, RecertError)
    assert not folder.exists()
