"""
A front that passes on what it gets, unread: raw ASGI on uvicorn, httptools and uvloop, aiohttp to the upstream.

It says what a request costs on this machine before anything is checked. Prints its URL.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import uvicorn


class Passing:
    """Passes requests on, and replies as they arrive."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            return
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        async with self._session.post(
            self._upstream + scope["path"], data=body, headers={"content-type": "application/json"}
        ) as reply:
            headers = [(b"content-type", reply.headers["content-type"].encode())]
            if reply.content_length is not None:
                headers.append((b"content-length", b"%d" % reply.content_length))
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            async for block in reply.content.iter_any():
                await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve until it is ended."""
    bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        Passing(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", log_level="critical"
    )
    uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    main()
