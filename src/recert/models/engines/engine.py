"""
The embedded engine: `python -m recert.models.engines.engine` loads certified models and answers on a Unix socket.

Adapters of one base share its weights; a request's `model` says which one is asked. Weights that were merged have no
base beside them. The engine hashes every folder, compares with what the certificates say, loads, and makes sure that
no file was touched meanwhile; later it ends as soon as one is. What happens is told on stdout, one JSON object a line
(`progress`, `loaded` with a fingerprint, `ready`, `refused` with a reason). It ends when stdin closes: with the process
that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import queue
import resource
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from aiohttp import web
from pydantic import ValidationError

from recert.errors import ModelError, RecertError, TemplateError, VerificationError
from recert.models.protocol import Sampling
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat

_LOOK_S: Final = 1.0
MOST_TOGETHER: Final = 16
_NOT_DONE: Final = (
    "logprobs", "n", "parallel_tool_calls", "reasoning_effort", "response_format", "stop", "tool_choice", "tools",
)  # fmt: skip
"""Wishes that this engine refuses rather than pass over."""
"""Requests that are answered in one batch."""
REFUSED_EXIT: Final = 3
"""Exit code when the files are not what was certified."""


class StreamingModel(Protocol):
    """What the engine needs of a model."""

    def stream_together(
        self,
        chats: Sequence[Chat],
        sampling: Sampling,
        *,
        limits: Sequence[int],
        wanted: Callable[[int], bool],
    ) -> Iterator[tuple[int, str | ModelError | None]]:
        """Yield (place, piece) as replies are made, (place, None) at the end of one, or (place, error)."""

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""


class LoadedModel(StreamingModel, Protocol):
    """A model from certified files, which says how it behaves."""

    @property
    def engine(self) -> str:
        """What runs it, with version and precision."""

    def fingerprint(self) -> str:
        """Return a digest of its logits after fixed probes."""


Stamp = dict[str, tuple[int, int, int, int]]


def stamp(folder: Path) -> Stamp:
    """
    Return size, inode, and times of change of every file: what no write leaves as it was.

    Raises:
        VerificationError: `files-changed`: a file went away while it was looked at.
    """
    found: Stamp = {}
    try:
        for path in sorted(folder.rglob("*")):
            about = path.lstat()
            if not path.is_dir():
                key = path.relative_to(folder).as_posix()
                found[key] = (about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns)
    except OSError as exc:
        raise VerificationError("files-changed", "model files changed", facts={"folder": folder}) from exc
    return found


class CertifiedFolder:
    """A folder that must be what a certificate says, from before it is loaded until the end."""

    def __init__(self, folder: Path, expected_sha256: str) -> None:
        self.folder = folder
        self._expected = expected_sha256
        self._stamp: Stamp = {}

    def check(self) -> None:
        """
        Hash the folder and remember how its files look.

        Raises:
            VerificationError: `file-differs`: its manifest is not the expected one.
        """
        self._stamp = stamp(self.folder)
        found = Manifest.of_folder(self.folder).digest
        if found != self._expected:
            raise VerificationError(
                "file-differs",
                "model folder is not what was certified",
                facts={"folder": self.folder, "certified": self._expected, "on disk": found},
            )

    def still(self) -> None:
        """
        Return when no file was touched since `check`.

        Raises:
            VerificationError: `files-changed`.
        """
        if stamp(self.folder) != self._stamp:
            raise VerificationError(
                "files-changed", "model files changed after they were checked", facts={"folder": self.folder}
            )


def tell(event: str, **facts: str) -> None:
    """Write one event to stdout."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def load(base: CertifiedFolder | None, tuned: Mapping[str, CertifiedFolder]) -> dict[str, LoadedModel]:
    """
    Check all folders and load the models from them: adapters on one base, or merged weights without one.

    The folders are the gateway's private copies already.

    Raises:
        VerificationError: a folder is not what was certified, or changed while it was loaded.
        ModelError: one cannot be loaded.
    """
    folders = {**({"base": base} if base else {}), **tuned}
    for name, part in folders.items():
        tell("progress", message=f"checking {name if len(tuned) > 1 or part is base else 'tuned'}")
        part.check()
    tell("progress", message="loading")
    from recert.models.engines.local import LocalModel

    models: dict[str, LoadedModel] = {}
    if base:
        whole = LocalModel.load(base.folder, copying="none")
        for name, part in tuned.items():
            models[name] = whole.with_adapter(part.folder, copying="none")
    else:
        for name, part in tuned.items():
            models[name] = LocalModel.load(part.folder, copying="none")
    for part in folders.values():
        part.still()
    return models


@dataclass(frozen=True)
class _Job:
    """A request on its way to the model: what is asked, and where pieces of the reply go."""

    model: StreamingModel
    chat: Chat
    sampling: Sampling
    put: Callable[[str | Exception | None], object]
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def alike(self) -> tuple[int, float, float, int]:
        """What requests must share to be answered in one batch."""
        return id(self.model), self.sampling.temperature, self.sampling.top_p, self.sampling.seed


class Engine:
    """
    Answers chat completions, always as a stream.

    Requests that wait while others are answered are answered together afterwards, in one batch where they are drawn
    alike. One thread runs the model.
    """

    def __init__(self, models: StreamingModel | Mapping[str, StreamingModel]) -> None:
        self._models = models
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="generate", daemon=True).start()

    def app(self) -> web.Application:
        """Return the server application."""
        app = web.Application(client_max_size=64_000_000)
        app.router.add_post("/v1/chat/completions", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = orjson.loads(await request.read())
            model = self._models.get(asked["model"]) if isinstance(self._models, Mapping) else self._models
            chat = Chat(messages=tuple(asked["messages"]))
            beyond = [name for name in _NOT_DONE if asked.get(name)]
            sampling = Sampling(
                max_new_tokens=asked["max_tokens"],
                temperature=asked.get("temperature", 0.0),
                top_p=asked.get("top_p", 1.0),
                seed=asked.get("seed", 0) % 2**63,
            )
        except (ValueError, KeyError, TypeError, ValidationError):
            return _error(400, "invalid_request", "request was not understood")
        if model is None:
            return _error(404, "model_not_found", "there is no such model here")
        if beyond:
            return _error(400, "not_supported", f"this engine does not do {', '.join(beyond)}")
        pieces: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(piece: str | Exception | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        job = _Job(model, chat, sampling, put)
        self._jobs.put(job)
        try:
            return await self._send(request, job, pieces)
        finally:
            job.cancelled.set()

    def _work(self) -> None:
        waiting: deque[_Job] = deque()
        while True:
            if not waiting:
                waiting.append(self._jobs.get())
            while not self._jobs.empty():
                waiting.append(self._jobs.get())
            first = waiting[0].alike
            together = [job for job in waiting if job.alike == first][:MOST_TOGETHER]
            waiting = deque(job for job in waiting if job not in together)
            self._generate([job for job in together if not job.cancelled.is_set()])

    def _generate(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        open_jobs = set(range(len(jobs)))
        end: Exception | None = None
        try:
            for place, piece in jobs[0].model.stream_together(
                [job.chat for job in jobs],
                jobs[0].sampling,
                limits=[job.sampling.max_new_tokens for job in jobs],
                wanted=lambda place: not jobs[place].cancelled.is_set(),
            ):
                jobs[place].put(piece)
                if not isinstance(piece, str):
                    open_jobs.discard(place)
        except Exception as exc:
            end = exc
        for place in open_jobs:
            jobs[place].put(end or RuntimeError("the model stopped before the reply ended"))

    async def _send(
        self,
        request: web.Request,
        job: _Job,
        pieces: asyncio.Queue[str | Exception | None],
    ) -> web.StreamResponse:
        piece = await pieces.get()
        if isinstance(piece, TemplateError):
            return _error(400, "template_refuses", piece.message)
        if isinstance(piece, ModelError):
            return _error(400, "context_length_exceeded", piece.message)
        if isinstance(piece, Exception):
            return _error(500, "engine-failed", type(piece).__name__)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        steps, text = 0, ""
        while isinstance(piece, str):
            steps, text = steps + 1, text + piece
            await response.write(_event([{"index": 0, "delta": {"content": piece}, "finish_reason": None}]))
            piece = await pieces.get()
        if isinstance(piece, Exception):
            await response.write(b"data: " + orjson.dumps({"error": {"code": "engine-failed"}}) + b"\n\n")
            return response
        made = max(steps, job.model.count_tokens(text))
        finish_reason = "length" if made >= job.sampling.max_new_tokens else "stop"
        await response.write(_event([{"index": 0, "delta": {}, "finish_reason": finish_reason}]))
        read = sum(job.model.count_tokens(m.content) for m in job.chat.messages)
        await response.write(
            _event([], {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made})
        )
        await response.write(b"data: [DONE]\n\n")
        return response


def _event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    return b"data: " + orjson.dumps({"choices": choices, "usage": usage}) + b"\n\n"


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status)


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):  # a buffered read would hold a lock, and abort a refusal's exit
        pass
    os._exit(0)


def _end_when_touched(*folders: CertifiedFolder) -> None:
    while True:
        time.sleep(_LOOK_S)
        try:
            for folder in folders:
                folder.still()
        except VerificationError as exc:
            _refuse(exc)
            os._exit(REFUSED_EXIT)


def _refuse(exc: RecertError) -> None:
    reason = exc.reason if isinstance(exc, VerificationError) else "engine-refused"
    tell("refused", reason=reason, message=str(exc))


def main(arguments: list[str] | None = None) -> int:
    """Run the engine; return the exit code."""
    parser = argparse.ArgumentParser(prog="recert.models.engines.engine")
    parser.add_argument("--base", nargs=2, metavar=("FOLDER", "SHA256"))
    parser.add_argument(
        "--tuned", nargs=3, metavar=("NAME", "FOLDER", "SHA256"), action="append", required=True
    )
    parser.add_argument("--socket", required=True)
    given = parser.parse_args(arguments)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold prompts
    threading.Thread(target=_end_with_parent, daemon=True).start()
    base = CertifiedFolder(Path(given.base[0]), given.base[1]) if given.base else None
    tuned = {name: CertifiedFolder(Path(folder), sha256) for name, folder, sha256 in given.tuned}
    try:
        models = load(base, tuned)
        for name, model in models.items():
            tell("loaded", name=name, engine=model.engine, fingerprint=model.fingerprint())
    except RecertError as exc:
        _refuse(exc)
        return REFUSED_EXIT
    folders = [*([base] if base else []), *tuned.values()]
    threading.Thread(target=_end_when_touched, args=folders, daemon=True).start()
    Path(given.socket).unlink(missing_ok=True)
    asyncio.run(_serve(Engine(models), given.socket))
    return 0


async def _serve(engine: Engine, socket: str) -> None:
    runner = web.AppRunner(engine.app(), access_log=None, handle_signals=True, handler_cancellation=True)
    await runner.setup()
    await web.UnixSite(runner, socket).start()
    tell("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
