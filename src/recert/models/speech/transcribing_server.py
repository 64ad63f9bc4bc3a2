"""
A process of its own that hears: `python -m recert.models.speech.transcribing_server --transcriber SPEC --socket PATH`.

It loads the transcriber, tells on stdout what it is (`ready`, or `refused` with the reason), and hears clips that come
on a Unix socket, as `transcribing_frames` says. Clips that wait while others are heard are heard together. Nothing of a
clip or its words is written anywhere. One that takes too long ends the process: a call that hangs is not waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import json
import os
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recert.errors import RecertError
from recert.models.speech.transcribing import TranscribeFailed, Transcriber, Transcript, open_transcriber
from recert.models.speech.transcribing_frames import BadFrame, answer_frame, read_clip
from recert.records.live.transcriber import EarsManifest

MOST_TOGETHER: Final = 4
LONGEST_S: Final = 60.0
"""How long clips that are heard together may take."""
REFUSED_EXIT: Final = 3


@dataclass(frozen=True)
class _Job:
    """A clip that waits, and who waits for its words."""

    data: bytes
    reader: asyncio.StreamReader
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[dict[str, Any]]

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits: who gives up hangs up."""
        return not self.reader.at_eof()


class TranscribingServer:
    """
    Hears clips for those who connect, in one thread.

    Args:
        transcriber: who listens.
        longest_s: how long clips that are heard together may take before the process ends.
    """

    def __init__(self, transcriber: Transcriber, *, longest_s: float = LONGEST_S) -> None:
        self._transcriber = transcriber
        self._longest_s = longest_s
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="transcribe", daemon=True).start()

    async def serve(self, socket: Path) -> asyncio.Server:
        """Return a server that listens on a socket."""
        socket.unlink(missing_ok=True)
        return await asyncio.start_unix_server(self._answer, socket)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            data = await read_clip(reader)
            loop = asyncio.get_running_loop()
            job = _Job(data, reader, loop, loop.create_future())
            self._jobs.put(job)
            writer.write(answer_frame(await job.done))
            await writer.drain()
        except (OSError, EOFError, BadFrame):
            pass  # whoever asked is gone, or does not speak as we do: an answer helps neither
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _work(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            while len(jobs) < MOST_TOGETHER and not self._jobs.empty():
                jobs.append(self._jobs.get())
            wanted = [job for job in jobs if job.wanted]
            said = dict(zip(map(id, wanted), self._hear(wanted), strict=True))
            for job in jobs:
                job.loop.call_soon_threadsafe(job.done.set_result, _told(said.get(id(job))))

    def _hear(self, jobs: Sequence[_Job]) -> list[object]:
        if not jobs:
            return []
        # from a thread of C: a call that holds Python's lock is ended too
        faulthandler.dump_traceback_later(self._longest_s, exit=True)
        try:
            said: list[object] = list(self._transcriber.transcribe([job.data for job in jobs]))
        except Exception as exc:
            said = [TranscribeFailed(type(exc).__name__)] * len(jobs)
        finally:
            faulthandler.cancel_dump_traceback_later()
        return said if len(said) == len(jobs) else [TranscribeFailed("another number of clips")] * len(jobs)


def _told(said: object) -> dict[str, Any]:
    if isinstance(said, Transcript):
        return {"text": said.text, "confidence": said.confidence}
    return {"failed": said.because if isinstance(said, TranscribeFailed) else "no transcript"}


def tell(event: str, **facts: object) -> None:
    """Write one event to stdout."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def run(transcriber: Transcriber, socket: Path, *, longest_s: float = LONGEST_S) -> None:
    """
    Hear clips until the process ends; tell what listens.

    Raises:
        ModelError: the transcriber's files cannot be read.
    """
    sha256 = transcriber.fingerprint()
    ears: EarsManifest | None = getattr(transcriber, "ears", None)

    async def serve() -> None:
        server = await TranscribingServer(transcriber, longest_s=longest_s).serve(socket)
        tell("ready", name=transcriber.name, sha256=sha256, pid=os.getpid(), ears=ears and ears.to_value())
        await server.serve_forever()

    asyncio.run(serve())


def main(arguments: list[str] | None = None) -> int:
    """Load a transcriber and hear clips; return the exit code."""
    parser = argparse.ArgumentParser(prog="recert.models.speech.transcribing_server")
    parser.add_argument("--transcriber", required=True)
    parser.add_argument("--socket", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        run(open_transcriber(given.transcriber), given.socket)
    except RecertError as exc:
        tell("refused", message=str(exc))
        return REFUSED_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
