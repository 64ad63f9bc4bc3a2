"""A model that says what it is told to, event by event, or whole where it is not asked for a stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import web

_FRAME = {"id": "chatcmpl-1", "created": 1, "model": "bench"}
_USAGE = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}


class ToldModel:
    """
    An OpenAI-compatible server in a thread of this process.

    `steps` are the choices of a stream's events, and `choices` those of a plain reply: set them before asking.
    """

    def __init__(self) -> None:
        self.steps: Sequence[dict[str, Any]] = ()
        self.choices: Sequence[dict[str, Any]] = ()
        self.url = ""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        if not asked.get("stream"):
            return web.json_response(
                {**_FRAME, "object": "chat.completion", "choices": self.choices, "usage": _USAGE}
            )
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):  # who has seen enough goes away
            for step in self.steps:
                choice = {"finish_reason": None, "logprobs": None, **step}
                await response.write(_event([choice]))
                await asyncio.sleep(0)
            await response.write(_event([], usage=_USAGE) + b"data: [DONE]\n\n")
        return response

    @contextmanager
    def running(self) -> Iterator[ToldModel]:
        """Serve while the block runs."""
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


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    frame = {**_FRAME, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + json.dumps(frame).encode() + b"\n\n"
