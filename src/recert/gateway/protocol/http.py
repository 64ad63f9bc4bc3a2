"""One HTTP request and its reply, on bare ASGI."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

import orjson

from recert.gateway.access.grants import Grant
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.gateway.protocol.exchange_builder import ExchangeBuilder

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WhenGone = Callable[..., None]
"""Takes what is called when the client goes away; with `on=False` it is not called any more."""
WHEN_GONE: Final = "recert.when_gone"
"""Extension of the ASGI scope: a `WhenGone`."""
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9_.:/+=-]{1,128}")
JSON: Final = b"application/json"
EVENTS: Final = b"text/event-stream; charset=utf-8"


class Http:
    """
    One request. Sends at most one reply.

    `gone` says that the client went away. The body must arrive within `body_s`.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, body_s: float = 20.0
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.request_id = request_id
        self.serial = ""
        self.began = time.monotonic()
        self.first_at = 0.0
        """When the first byte of the reply was sent; 0 before."""
        self.route = ""
        """The path, where it is one that is answered."""
        self.status = 0
        self.code = ""
        """Why there is no other reply than an error."""
        self.draft: ExchangeBuilder | None = None
        """The exchange, where it is one."""
        self.started = False
        self.gone = False
        self.grant = Grant("")
        """Who asks, and what it may."""
        self.extra: list[tuple[bytes, bytes]] = []
        """Further headers of the reply."""
        self.address: str = (scope.get("client") or ("",))[0]
        self._headers: dict[bytes, bytes] = {}
        self._repeated: set[bytes] = set()
        self._client_request_id: str | None = None
        for name, value in scope["headers"]:
            if name in self._headers:
                self._repeated.add(name)
            else:
                self._headers[name] = value
        self._when_gone: WhenGone | None = scope.get("extensions", {}).get(WHEN_GONE)
        self._body_s = body_s
        self._receive = receive
        self._send = send
        self._end: Callable[[], None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def header(self, name: bytes) -> bytes:
        """
        Return a request header's value, empty when it is missing.

        Raises:
            BadRequest: it is there twice: readers would differ on which one counts.
        """
        if name in self._repeated:
            raise BadRequest(f"header {name.decode()} is repeated", code="repeated_header")
        return self._headers.get(name, b"")

    @property
    def client_request_id(self) -> str:
        """What the client calls the request, where that is a plain name: in `X-Client-Request-Id` or `X-Request-Id`."""
        if self._client_request_id is None:
            self._client_request_id = self._read_client_request_id()
        return self._client_request_id

    def _read_client_request_id(self) -> str:
        for wanted in (b"x-client-request-id", b"x-request-id"):
            found = b"" if wanted in self._repeated else self._headers.get(wanted, b"")
            if found and _PLAIN_ID.fullmatch(found):
                return found.decode()
        return ""

    @property
    def traceparent(self) -> str:
        """The trace that the client is in, as W3C Trace Context writes it."""
        if b"traceparent" in self._repeated:
            return ""
        return self._headers.get(b"traceparent", b"").decode("latin-1")

    async def body(self, limit_bytes: int) -> bytes:
        """
        Return the request's JSON body.

        Raises:
            BadRequest: it is too large, too slow, packed, or not declared as JSON.
        """
        if self.header(b"content-type").split(b";")[0].strip().lower() != JSON:
            raise BadRequest(
                "content-type must be application/json", code="unsupported_media_type", status=415
            )
        if self.header(b"content-encoding") not in (b"", b"identity"):
            raise BadRequest("content-encoding is not supported", code="unsupported_encoding", status=415)
        declared = self.header(b"content-length")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise self.too_large(limit_bytes)
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(self._body_s):
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        self.gone = True
                        raise HttpError("the client went away", code="client-gone")
                    part = message.get("body", b"")
                    size += len(part)
                    if size > limit_bytes:
                        raise self.too_large(limit_bytes)
                    parts.append(part)
                    more = message.get("more_body", False)
        except TimeoutError as exc:
            raise BadRequest("body did not arrive in time", code="body_timeout", status=408) from exc
        return b"".join(parts)

    @staticmethod
    def too_large(limit_bytes: int) -> BadRequest:
        """Return the error of a body that is larger than a limit."""
        return BadRequest(f"body is larger than {limit_bytes} bytes", code="body_too_large", status=413)

    def end_when_gone(self, deadline: asyncio.Timeout) -> None:
        """Cut the request short when the client goes away. Call it after the body was read."""

        def end() -> None:
            self.gone = True
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())

        async def watch() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            end()

        if self._when_gone:
            self._end = end
            self._when_gone(end)  # the connection tells: it costs nothing until it does
        else:
            self._watcher = asyncio.create_task(watch())

    def stop_watching(self) -> None:
        """Stop looking whether the client goes away."""
        if self._when_gone and self._end:
            self._when_gone(self._end, on=False)
            self._end = None  # or the request, with all it holds, would be a ring
        if self._watcher:
            self._watcher.cancel()

    async def start(
        self,
        status: int,
        content_type: bytes = b"",
        length: int | None = None,
        extra: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Send status and headers."""
        headers = [
            *([(b"content-type", content_type)] if content_type else []),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", self.request_id.encode()),
        ]
        if self.client_request_id:
            headers.append((b"x-client-request-id", self.client_request_id.encode()))
        if self.serial:
            headers.append((b"x-recert-certificate", self.serial.encode("latin-1", "replace")))
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        headers += [*self.extra, *extra]
        self.started, self.status, self.first_at = True, status, time.monotonic()
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send a part of the body; the last with `more=False`."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def reply(self, status: int, data: bytes, extra: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole JSON reply, with further headers."""
        await self.start(status, JSON, len(data), extra)
        await self.write(data, more=False)

    async def error(self, error: HttpError) -> None:
        """Send an error: a JSON reply, or the last event of a stream that has begun."""
        self.code = error.code
        data = orjson.dumps(error.value())
        if self.started:
            await self.write(b"data: " + data + b"\n\n", more=False)
        else:
            await self.reply(error.status, data, error.headers())
