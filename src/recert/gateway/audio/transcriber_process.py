"""A transcriber as a process of its own: started, watched, started again, ended with us."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from recert.errors import GatewayError
from recert.gateway.audio.clips import Clip
from recert.gateway.audio.hearing import Words
from recert.gateway.engines.child import END_S, ChildProcess
from recert.gateway.engines.managed_commands import environment, python_module
from recert.gateway.engines.sockets import socket_folder
from recert.models.speech.transcribing import TranscribeFailed
from recert.models.speech.transcribing_frames import BadFrame, clip_frame, read_answer
from recert.records.live.transcriber import EarsManifest

log = logging.getLogger("recert.gateway")

MODULE: Final = "recert.models.speech.transcribing_server"
NOT_STARTED: Final = "transcriber-not-started"
_SOCKET: Final = "transcriber.sock"
_MOST_WAITING: Final = 64
_LONG_LIFE_S: Final = 60.0
"""A process that lived so long is started again at once."""
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 30.0


def our_command(spec: str) -> tuple[str, ...]:
    """Return how a transcriber of our own is run."""
    return (*python_module(MODULE)[0], "--transcriber", spec)


def next_pause_s(before_s: float, lived_s: float) -> float:
    """Return how long to wait before the next start: nothing after a long life, else twice as long as before."""
    if lived_s > _LONG_LIFE_S:
        return 0.0
    return min(max(2 * before_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)


class ManagedTranscriber:
    """
    One transcriber process for all models of a gateway that want this transcriber.

    It decodes what strangers send, so it gets no secret of the gateway's, can gain no rights, and listens on a socket
    that only this user can reach. A crash of it refuses the clips that it was hearing, and no other request; it is
    started again, each time after a longer pause while it lives shortly. One that comes back as another transcriber
    than it was is not asked.

    Args:
        command: what is run; the option `--socket` is put behind it.
        at_once: clips that it hears at once; more wait, up to 64.
        progress: called with a sentence at each step of the start.

    Raises:
        GatewayError: `no-socket`: there is no folder for its socket.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        at_once: int = 2,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._folder = socket_folder()
        self._command = tuple(command)
        self._progress = progress or (lambda _: None)
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once + _MOST_WAITING
        self._waiting = 0
        self._identity: tuple[str, str, EarsManifest | None] | None = None
        self._child = ChildProcess()
        self._child_id: int | None = None
        self._ready = False
        self._refused = ""
        self._settled = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="transcriber", daemon=True)

    def start(self) -> None:
        """
        Start the process, and wait until it hears.

        Raises:
            GatewayError: `transcriber-not-started`.
        """
        self._progress("starting the transcriber")
        try:
            self._thread.start()
            self._settled.wait()
        except BaseException:  # interrupted while it loads
            self.end()
            raise
        if not self._ready:
            said = self._refused or " | ".join(list(self._child.last_words)[-3:]) or "nothing"
            self.end()
            raise GatewayError(NOT_STARTED, "the transcriber did not start", facts={"it said": said})

    @property
    def name(self) -> str:
        """What it is, for people."""
        return self._identity[0] if self._identity else ""

    @property
    def sha256(self) -> str:
        """Digest of what decides its words."""
        return self._identity[1] if self._identity else ""

    @property
    def ears(self) -> EarsManifest | None:
        """What it has loaded, by the digests of the very bytes; None where it does not say so."""
        return self._identity[2] if self._identity else None

    @property
    def down(self) -> bool:
        """Whether it hears nothing now."""
        return not self._ready

    @property
    def process_id(self) -> int | None:
        """The process that hears; None while there is none."""
        return self._child_id if self._ready else None

    @property
    def folder(self) -> Path:
        """The private folder with its socket."""
        return self._folder

    async def hear(self, clip: Clip) -> Words | TranscribeFailed:
        """Return what is said in a clip, after those that wait before it."""
        if self._waiting >= self._most:
            return TranscribeFailed("too many clips wait")
        self._waiting += 1
        try:
            async with self._slots:
                return await self._ask(clip)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """There is nothing that belongs to the event loop between two clips."""

    async def _ask(self, clip: Clip) -> Words | TranscribeFailed:
        if self.down:
            return TranscribeFailed("the transcriber is down")
        try:
            reader, writer = await asyncio.open_unix_connection(self._folder / _SOCKET)
        except OSError:
            return TranscribeFailed("the transcriber does not answer")
        try:
            writer.write(clip_frame(clip.data))
            await writer.drain()
            return _understood(await read_answer(reader))
        except (OSError, EOFError, BadFrame):
            return TranscribeFailed("the transcriber broke off")
        finally:
            writer.transport.abort()  # tells it that nobody waits, where it has not answered

    def end(self) -> None:
        """End the process, and remove its socket."""
        self._closing.set()
        self._ready = False
        self._child.end()
        if self._thread.ident:
            self._thread.join(END_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _supervise(self) -> None:
        pause_s = 0.0
        while not self._closing.is_set():
            began = time.monotonic()
            self._run_child()
            self._ready, self._child_id = False, None
            if not self._settled.is_set() or self._closing.is_set():
                break
            pause_s = next_pause_s(pause_s, time.monotonic() - began)
            log.error(
                "the transcriber ended and is started again: %s",
                " | ".join(list(self._child.last_words)[-1:]),
            )
            self._closing.wait(pause_s)
        self._settled.set()

    def _run_child(self) -> None:
        socket = self._folder / _SOCKET
        socket.unlink(missing_ok=True)
        _, found = python_module(MODULE)
        self._child.run(
            [*self._command, "--socket", str(socket)],
            environment=environment(self._folder, **found, OMP_WAIT_POLICY="PASSIVE"),
            folder=self._folder,
            wrapped=True,
            hear=self._take,
            unwanted=self._closing.is_set,
        )

    def _take(self, event: Any) -> None:
        """Take what the process tells of itself."""
        if not isinstance(event, dict):
            return
        if event.get("event") == "ready":
            found = (str(event.get("name", "")), str(event.get("sha256", "")), _ears(event.get("ears")))
            if self._identity not in (None, found):
                log.error("the transcriber came back as another one, and is not asked")
                return
            self._identity, self._child_id = found, event.get("pid")
            self._ready = True
            self._settled.set()
        elif event.get("event") == "refused":
            self._refused = str(event.get("message", ""))[:300]


def _ears(value: Any) -> EarsManifest | None:
    """Return what listens, as the process says it; what is none is nothing that is known."""
    try:
        return EarsManifest.model_validate(value)
    except ValidationError:
        return None


def _understood(value: dict[str, Any]) -> Words | TranscribeFailed:
    """Return what an answer says; whatever is none is a failure."""
    text = value.get("text")
    if not isinstance(text, str):
        return TranscribeFailed(str(value.get("failed", "no transcript"))[:200])
    return Words(text, _number(value.get("confidence")))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
