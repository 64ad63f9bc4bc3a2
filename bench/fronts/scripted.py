"""An OpenAI-compatible model that says what it is told to, in any field, plain and in any pieces."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

_FRAME = {"id": "chatcmpl-1", "created": 1, "model": "assistant"}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


@dataclass
class Scripted:
    """
    What it says next.

    Args:
        messages: one a choice.
        deltas: (choice, delta), in order.
        asked: bodies of the requests that came.
    """

    messages: Sequence[dict[str, Any]] = ({"content": "all is well"},)
    deltas: Sequence[tuple[int, dict[str, Any]]] = ((0, {"content": "all is well"}),)
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked.append(body)
        if not body.get("stream"):
            choices = [
                {
                    "index": at,
                    "message": {"role": "assistant", "content": None, **said},
                    "finish_reason": "stop",
                }
                for at, said in enumerate(self.messages)
            ]
            return web.json_response(
                {**_FRAME, "object": "chat.completion", "choices": choices, "usage": _USAGE}
            )
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        indices = sorted({at for at, _ in self.deltas})
        for at in indices:
            await response.write(_event(at, {"role": "assistant", "content": ""}))
        for at, delta in self.deltas:
            await response.write(_event(at, delta))
        for at in indices:
            await response.write(_event(at, {}, "stop"))
        await response.write(b"data: [DONE]\n\n")
        return response

    @contextmanager
    def running(self) -> Iterator[Scripted]:
        """Serve in a thread while the block runs."""
        loop, ready = asyncio.new_event_loop(), threading.Event()
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

        async def up() -> None:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            ready.set()

        def serve() -> None:
            loop.run_until_complete(up())
            loop.run_forever()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ready.wait(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


def _event(at: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": at, "delta": delta, "finish_reason": finish_reason}
    frame = {**_FRAME, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(frame).encode() + b"\n\n"
