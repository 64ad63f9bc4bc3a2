"""
A program that stands in for `vllm serve` where vLLM does not install: same words, routes and variables.

It is as strict as the real one about arguments, writes down what it was started with, and answers with digests of the
files that it was given, so that a test sees which bytes were loaded. `make_vllm` writes one that can be started.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

SLOWLY = "Answer slowly."
"""Asked this, it says a word twenty times a second, for a minute."""
FLAGS = ("--enable-lora", "--disable-fastapi-docs", "--disable-uvicorn-access-log", "--enforce-eager")
VALUES = (
    "--served-model-name", "--uds", "--load-format", "--dtype", "--generation-config", "--max-lora-rank",
    "--max-loras", "--max-cpu-loras", "--max-model-len", "--host", "--port",
)  # fmt: skip


def make_vllm(program: Path, record: Path) -> Path:
    """Write the program; what it is started with is written to `record` as JSON."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from vllm_program import main\nmain({str(record)!r})\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def digest_of(folder: Path) -> str:
    """Return what the program says of a folder that it loaded."""
    data = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return hashlib.sha256(data).hexdigest()[:16]


class _Server:
    def __init__(self, given: argparse.Namespace) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.base = given.served_model_name
        self.load(self.base, given.model, None)
        for module in given.lora_modules or []:
            name, _, path = module.partition("=")
            self.load(name, path, self.base)
        signal.signal(signal.SIGUSR1, lambda *_: self.load("sneaked-in", given.model, self.base))

    def load(self, name: str, path: str, parent: str | None) -> None:
        """As vLLM lists a model: what it was loaded from, and on what."""
        said = digest_of(Path(path))
        self.models[name] = {"id": name, "object": "model", "root": path, "parent": parent, "said": said}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_authenticate])
        app.router.add_get("/health", self._empty)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._chat)
        if os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").lower() in ("1", "true"):
            app.router.add_post("/v1/load_lora_adapter", self._add)
        if os.environ.get("VLLM_SERVER_DEV_MODE") == "1":
            app.router.add_post("/collective_rpc", self._empty)
        return app

    async def _empty(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="vllm:num_requests_running 0")

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": list(self.models.values())})

    async def _add(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.load(asked["lora_name"], asked["lora_path"], self.base)
        return web.Response(text="Success")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if asked["model"] not in self.models:
            return web.json_response({"error": {"message": "no such model", "code": 404}}, status=404)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if asked["messages"][-1]["content"] == SLOWLY:
            for _ in range(1200):
                await _send(response, {"delta": {"content": "word "}, "finish_reason": None})
                await asyncio.sleep(0.05)
        pieces = ["loaded ", self.models[asked["model"]]["said"], " on ", self.models[self.base]["said"]]
        for piece in pieces:
            await _send(response, {"delta": {"content": piece}, "finish_reason": None})
        await _send(response, {"delta": {}, "finish_reason": "stop"})
        await response.write(b"data: [DONE]\n\n")
        return response


async def _send(response: web.StreamResponse, choice: dict[str, Any]) -> None:
    value = {"choices": [{"index": 0, **choice}]}
    await response.write(b"data: " + json.dumps(value).encode() + b"\n\n")


@web.middleware
async def _authenticate(request: web.Request, handler: Any) -> web.StreamResponse:
    """As vLLM does: a key for /v1, and for nothing else."""
    key = os.environ.get("VLLM_API_KEY")
    if key and request.path.startswith("/v1") and request.headers.get("authorization") != f"Bearer {key}":
        return web.json_response({"error": "Unauthorized"}, status=401)
    answer: web.StreamResponse = await handler(request)
    return answer


def main(record: str) -> None:
    """Serve as `vllm serve MODEL ...` does."""
    parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--lora-modules", nargs="+")
    for name in VALUES:
        parser.add_argument(name)
    for name in FLAGS:
        parser.add_argument(name, action="store_true")
    given = parser.parse_args()
    started = {
        "arguments": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid(),
        "folder": str(Path.cwd()), "umask": os.umask(0o077),
    }  # fmt: skip
    Path(record).write_text(json.dumps(started))
    web.run_app(_Server(given).app(), path=given.uds, print=None, access_log=None)
