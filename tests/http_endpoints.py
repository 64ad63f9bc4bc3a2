"""A real HTTP server on this machine that behaves like an OpenAI-compatible endpoint, or misbehaves as told."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any], int], web.StreamResponse | Awaitable[web.StreamResponse]]
"""From what was asked, and which request it is, to the answer."""

Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextmanager
def serving(*routes: tuple[str, str, Route]) -> Iterator[str]:
    """Run a server with routes (method, path, handler); gives its address."""
    loop = asyncio.new_event_loop()

    async def start() -> tuple[web.AppRunner, int]:
        app = web.Application(client_max_size=64_000_000)
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, runner.addresses[0][1]

    runner, port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def endpoint(
    answer: Answer, path: str = "/v1/chat/completions", *others: tuple[str, str, Route]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run an endpoint; gives the address of its API and what it was asked."""
    asked: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json() | {"authorization": request.headers.get("Authorization")})
        answered = answer(asked[-1], len(asked))
        return await answered if inspect.isawaitable(answered) else answered

    with serving(("POST", path, handle), *others) as url:
        yield f"{url}/v1", asked


def reply(
    text: str | None, finish_reason: str = "stop", *, prompt_tokens: int = 5, **message: Any
) -> web.Response:
    """Return a chat completion."""
    return web.json_response(completion(text, finish_reason, prompt_tokens=prompt_tokens, **message))


def completion(
    text: str | None, finish_reason: str = "stop", *, prompt_tokens: int = 5, **message: Any
) -> dict[str, Any]:
    """Return a chat completion's JSON."""
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": 3}}


async def hang(seconds: float = 5) -> web.StreamResponse:
    """Answer too late."""
    await asyncio.sleep(seconds)
    return reply("too late")


class HalfReply(web.Response):
    """A reply that announces more than it sends, and then loses the connection."""

    async def prepare(self, request: Any) -> Any:
        """Send half and hang up."""
        assert request.transport is not None
        whole = b'{"choices": [{"message": {"content": "only half of it'
        request.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" + whole
        )
        request.transport.close()
        return await super().prepare(request)
