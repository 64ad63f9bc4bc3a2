"""A worker that ends by itself, for a Kubernetes Job: once everything is done, and not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service_desks import Desked
from tuning_services import GOOD

pytestmark = pytest.mark.slow


def test_a_worker_ends_once_there_is_nothing_to_do(tmp_path: Path) -> None:
    """It screens what waits, then ends with exit 0, and has not loaded torch for that."""
    desked = Desked(tmp_path)
    file = desked.upload(GOOD).json()["id"]
    command = [
        sys.executable, "-X", "importtime", "-m", "recert", "service", "worker",
        "--folder", str(desked.service.served), "--until-idle-s", "1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    screened = desked.ask("GET", f"/v1/files/{file}").json()

    assert done.returncode == 0, done.stderr[-2000:]
    assert (screened["status"], screened["recert"]["accepted"]) == ("processed", 16)
    assert "ends: nothing to do" in done.stderr
    assert " torch\n" not in done.stderr
