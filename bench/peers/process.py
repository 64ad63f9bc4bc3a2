"""A side of the comparison as a process that is told when to answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peers.environment import NoPeer, python_of

PASS_S = 1800
"""Seconds after which a process that does not answer is given up."""


class Process:
    """
    A side that runs, with its model loaded.

    Args:
        script: which of the scripts in this folder it is.
        peer: the peer in whose environment it runs; empty for the running Python.
        job: what the script is to do; see there.
        scratch: an empty folder of its own.

    Raises:
        NoPeer: the peer does not install, or the model does not load.
    """

    def __init__(self, script: str, peer: str, job: Mapping[str, Any], scratch: Path) -> None:
        python = python_of(peer) if peer else Path(sys.executable)
        file, self._log = scratch / "job.json", scratch / "stderr.txt"
        file.write_text(json.dumps(job), encoding="utf-8")
        threads = str(job["threads"])
        own = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads, "RECERT_THREADS": threads}
        if peer:  # nothing of the user's own is read or written
            own |= {f"XDG_{kind}_HOME": str(scratch) for kind in ("DATA", "CONFIG", "CACHE", "STATE")}
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(python), str(Path(__file__).parent / script), str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | own,
            )
        self.facts = self._read()

    def ask(self, arm: str) -> dict[str, Any]:
        """
        Return what a pass over all prompts took, and the replies.

        Raises:
            NoPeer: the process ended, or did not answer in time.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{arm}\n")
            self._process.stdin.flush()
        except OSError as exc:
            raise NoPeer(self._last_words()) from exc
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        clock = threading.Timer(PASS_S, self._process.kill)
        clock.start()
        line = self._process.stdout.readline()
        clock.cancel()
        if not line:
            raise NoPeer(self._last_words())
        told: dict[str, Any] = json.loads(line)
        return told

    def _last_words(self) -> str:
        self.close()
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"ended before its time: {said[-1] if said else f'exit {self._process.returncode}'}"
