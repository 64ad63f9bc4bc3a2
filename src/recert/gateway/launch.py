"""The embedded engine as a child process: started on the certified folders, watched, ended with us."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from recert.errors import GatewayError
from recert.gateway.upstream import HttpUpstream
from recert.records import VerifiedCertificate

DOWN: Final = "engine-down"
_RESTARTS: Final = 1
_END_S: Final = 3.0


_LONGEST_SOCKET_PATH: Final = 100
"""A Unix socket's path has 107 bytes on Linux and 103 elsewhere."""


def socket_folder() -> Path:
    """
    Return a new folder that only this user can enter, with a path short enough for a socket in it.

    It lies among temporary files, or, where `TMPDIR` is too long, in the user's runtime folder or `/tmp`.

    Raises:
        GatewayError: `no-socket`: there is no folder short enough.
    """
    for place in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), str(Path(os.sep, "tmp"))):
        if place and len(os.fsencode(place)) + len("/recert-12345678/engine.sock") <= _LONGEST_SOCKET_PATH:
            try:
                return Path(tempfile.mkdtemp(prefix="recert-", dir=place))
            except OSError:
                continue
    raise GatewayError(
        "no-socket",
        "no folder for the engine's socket is short enough and can be written",
        facts={"TMPDIR": tempfile.gettempdir()},
        hint="set TMPDIR to a shorter folder",
    )


class EmbeddedEngine(HttpUpstream):
    """
    Runs the certified model in a process of its own, over a socket that only this user can reach.

    The child hashes both folders before and after it loads them, and ends when a file changes. When it
    crashes it is started again, once; until it is ready, `down()` says `engine-down`.

    Args:
        certificate: names the folders and what their manifests must be.
        limit_s: how long to wait for the next piece of a reply.
        progress: called with a sentence at each step of the start.
    """

    def __init__(
        self,
        certificate: VerifiedCertificate,
        *,
        limit_s: float,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._folder = socket_folder()
        super().__init__(
            "http://engine", label="embedded-engine", socket=self._folder / "engine.sock", limit_s=limit_s
        )
        self._verified = certificate
        self._progress = progress or (lambda _: None)
        self._child: subprocess.Popen[bytes] | None = None
        self._down = DOWN
        self._refusal: dict[str, Any] | None = None
        self._settled = threading.Event()
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="engine-supervisor", daemon=True)

    def start(self) -> None:
        """
        Start the child and wait until it is ready.

        Raises:
            GatewayError: it refused the files, or did not start; `reason` says which.
        """
        self._supervisor.start()
        try:
            self._settled.wait()
        except BaseException:  # interrupted while it loads
            self.end()
            raise
        if self._down:
            refusal = self._refusal or {}
            error = GatewayError(
                str(refusal.get("reason", DOWN)),
                str(refusal.get("message", "the engine did not start")),
                facts={"engine said": self._last_words()},
            )
            self.end()
            raise error

    def down(self) -> str:
        """Return why the engine cannot answer, or an empty text."""
        return self._down

    def end(self) -> None:
        """End the child and remove its socket."""
        self._closing.set()
        child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._supervisor.ident:
            self._supervisor.join(_END_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def process_id(self) -> int | None:
        """The child's process id; None before the start."""
        return self._child.pid if self._child else None

    def _command(self) -> list[str]:
        certificate = self._verified.certificate
        base = ["--base", str(self._verified.base_dir), certificate.base.digest]
        return [
            sys.executable, "-P", "-m", "recert.models.engine",
            *(base if certificate.delta_kind != "merged-weights" else []),
            "--tuned", certificate.model_name, str(self._verified.tuned_dir), certificate.tuned.digest,
            "--socket", str(self._folder / "engine.sock"),
        ]  # fmt: skip

    def _supervise(self) -> None:
        for _ in range(1 + _RESTARTS):
            self._run_child()
            self._down = DOWN
            if self._closing.is_set() or self._refusal:
                break
        if self._refusal and not self._closing.is_set():
            self._down = str(self._refusal.get("reason", DOWN))
        self._settled.set()

    def _run_child(self) -> None:
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        environment.pop("RECERT_API_KEYS", None)
        with (self._folder / "engine.log").open("wb") as said:
            child = subprocess.Popen(  # noqa: S603
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=environment,
                process_group=0,  # Ctrl-C on a terminal is for the gateway, which lets replies end first
            )
        self._child = child
        assert child.stdin and child.stdout
        if self._closing.is_set():
            child.terminate()
        with child.stdout as events, child.stdin:
            for line in events:
                with contextlib.suppress(ValueError):
                    self._hear(json.loads(line))
        child.wait()

    def _hear(self, event: dict[str, Any]) -> None:
        if event.get("event") == "ready":
            self._down = ""
            self._settled.set()
        elif event.get("event") == "refused":
            self._refusal = event
        elif event.get("event") == "progress":
            self._progress(str(event.get("message", "")))

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._folder / "engine.log").read_text("utf-8", "replace").strip().splitlines()
            return lines[-1][:300] if lines else "nothing"
        return "nothing"
