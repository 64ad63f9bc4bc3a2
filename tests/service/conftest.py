"""A service in this process, without a worker, for what needs none."""

from __future__ import annotations

from pathlib import Path

import pytest

from service_desks import Desked


@pytest.fixture
def desked(tmp_path: Path) -> Desked:
    """A service in this process, with nothing in it."""
    return Desked(tmp_path)
