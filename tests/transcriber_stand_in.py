"""
A transcriber in a process of its own that does with each clip what a script says; all around it is the real thing.

The script is a JSON object by the sha256 of clips: `{"say": TEXT}`, `{"sleep": SECONDS}`, `{"die": true}`,
`{"raise": true}` or `{"hang": true}`; `else` is done with every other clip. `name` and `sha256` are what it is; the
files of `folder` are its ears.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recert.models.speech.transcribing import TranscribeFailed, Transcript, read_files
from recert.models.speech.transcribing_server import run


class ScriptedTranscriber:
    """Hears what its script says."""

    engine = "script"

    def __init__(self, script: Path) -> None:
        self._script = script
        self.name = str(self._read().get("name", "stand-in"))
        folder = self._read().get("folder")
        self.ears = read_files(Path(folder)).ears("script", {}) if folder else None

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._script.read_text())
        return found

    def fingerprint(self) -> str:
        """Return what the script calls it."""
        return str(self._read().get("sha256", "a" * 64))

    def transcribe(self, clips: Sequence[bytes]) -> list[Transcript | TranscribeFailed]:
        """Hear each clip."""
        return [self._one(clip) for clip in clips]

    def _one(self, clip: bytes) -> Transcript | TranscribeFailed:
        script = self._read()
        todo = script.get(hashlib.sha256(clip).hexdigest(), script.get("else", {"say": "good morning"}))
        if todo.get("die"):
            os.abort()
        if todo.get("raise"):
            raise RuntimeError("broken")
        if todo.get("hang"):  # in C, with Python's lock held
            ctypes.PyDLL(None).sleep(60)
        time.sleep(todo.get("sleep", 0))
        return Transcript(str(todo.get("say", "good morning")), 1.0, todo.get("confidence", 0.9))


def main() -> None:
    """Listen on a socket."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--longest-s", type=float, default=60.0)
    given = parser.parse_args()
    if json.loads(given.script.read_text()).get("refuse"):
        sys.stdout.write(json.dumps({"event": "refused", "message": "no such transcriber"}) + "\n")
        sys.exit(3)
    if any(name.startswith(("HF_TOKEN", "RECERT_API_KEYS", "RECERT_ENDPOINT_KEY")) for name in os.environ):
        sys.exit("a secret of the gateway's is here")
    run(ScriptedTranscriber(given.script), given.socket, longest_s=given.longest_s)


if __name__ == "__main__":
    main()
