"""
HTTP/1.1 on one connection, with the deadlines and caps that the server below has not.

uvicorn's protocol parses and answers. This one stands before it: it bounds headers, bodies and slow readers in time and
size, refuses what two readers could understand in two ways, and answers in order what is pipelined.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast

import httptools
import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.gateway.protocol.http import WHEN_GONE
from recert.gateway.serving.connections import Connections

_LINGER_S: Final = 1.0
"""How long a refused client may still send, so that it reads the refusal and not a reset."""
_BODY_GRACE_S: Final = 1.0
"""The application answers a late body itself; this is how long it has for that."""
_VERSIONS: Final = ("1.1", "1.0")


class _Refused(Exception):
    """Stops the parser; the reason is kept by the connection."""


class GuardedHttp(HttpToolsProtocol):
    """One connection. `connections` counts it, bounds it and looks at it."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._all = connections
        self._limits = connections.limits
        self._address = ""
        self._in_head = True
        self._head_since: float | None = None
        self._head_bytes = 0
        self._body_since: float | None = None
        self._paused_since: float | None = None
        self._unread_since: float | None = None
        self._ended_at: float | None = None
        self._farewell = b""
        self._why: HttpError | None = None
        self._on_gone: Callable[[], None] | None = None

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or refuse it where there are too many."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.transport.set_write_buffer_limits(high=self._limits.reader_bytes)
        self._address = self.client[0] if self.client else ""
        self._head_since = time.monotonic()
        too_many = self._all.enter(self, self._address)
        if too_many:
            self._refuse(too_many)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection that has ended."""
        self._all.leave(self, self._address)
        super().connection_lost(exc)
        self._gone()

    def data_received(self, data: bytes) -> None:
        """Take what arrived. After a refusal it is thrown away."""
        if self._ended_at is not None or self._farewell:
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_since = self._head_since or time.monotonic()
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
            if self._in_head and self._head_bytes > self._limits.header_bytes:
                self._stop(self._too_large())
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, _Refused) as exc:
            self._refuse(self._why or _malformed(str(exc)))

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered: its time runs."""
        self._paused_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has read enough."""
        self._paused_since = None
        super().resume_writing()

    # what the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head_since = self._head_since or time.monotonic()
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {WHEN_GONE: self._when_gone}

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        super().on_url(url)
        if len(self.url) > self._limits.header_bytes:
            self._stop(self._too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. After the body there may be none: it would change a request that is being answered."""
        if not self._in_head:
            self._stop(BadRequest("headers after the body are not supported", code="trailers"))
        super().on_header(name, value)
        if len(self.headers) > self._limits.header_count:
            self._stop(self._too_large())

    def on_headers_complete(self) -> None:
        """Check what the headers say together, and begin to answer."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.header_bytes:
            self._stop(self._too_large())
        why = self._unclear()
        if why:
            self._stop(why)
        if len(self.pipeline) >= self._limits.pipelined:
            self._stop(BadRequest("too many requests wait on this connection", code="too_many_pipelined"))
        self._in_head, self._head_since, self._head_bytes = False, None, 0
        self._body_since = time.monotonic()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request: what follows are the headers of the next."""
        self._in_head, self._body_since = True, None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what waits, or say why nothing more is taken."""
        more = bool(self.pipeline)
        super().on_response_complete()
        if self._farewell and not more:
            self._unset_keepalive_if_required()
            self._part()

    # what the sweep calls

    def look(self, now: float) -> None:
        """Refuse or cut this connection where its time is over."""
        limits = self._limits
        if self._ended_at is not None:
            if _over(self._ended_at, limits.reader_s if self._waiting() else _LINGER_S, now):
                self._cut("")
        elif _over(self._paused_since, limits.reader_s, now) or self._unread(now):
            self._cut("slow-reader")
        elif self._in_head and _over(self._head_since, limits.headers_s, now) and not self._farewell:
            late = HttpError(
                "headers did not arrive in time", status=408, kind="invalid_request_error",
                code="headers_timeout",
            )  # fmt: skip
            self._refuse(late)
        elif _over(self._body_since, limits.body_s + _BODY_GRACE_S, now) and not self.flow.read_paused:
            self._cut("slow-body")

    def _unread(self, now: float) -> bool:
        """Say whether a whole reply has waited too long for its reader. Cuts nothing."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or not self._waiting():
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        return _over(self._unread_since, self._limits.reader_s, now)

    def _waiting(self) -> bool:
        """Say whether something of a reply waits for its reader."""
        return self.transport.get_write_buffer_size() > 0

    def _when_gone(self, call: Callable[[], None], *, on: bool = True) -> None:
        if on:
            self._on_gone = call
        elif self._on_gone is call:
            self._on_gone = None

    def _gone(self) -> None:
        """Tell the request that is being answered that nobody waits for it."""
        call, self._on_gone = self._on_gone, None
        if call is not None:
            call()

    # refusing

    def _stop(self, why: HttpError) -> None:
        self._why = why
        raise _Refused(why.code)

    def _too_large(self) -> HttpError:
        return BadRequest("headers are too large", code="headers_too_large", status=431)

    def _unclear(self) -> HttpError | None:
        """Return why the headers can be understood in more than one way, or ask for what is not spoken here."""
        version = self.parser.get_http_version()
        coding = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        hosts = sum(1 for name, _ in self.headers if name == b"host")
        if version not in _VERSIONS:
            return HttpError(
                "HTTP must be of version 1.1", status=505, kind="invalid_request_error",
                code="unsupported_version",
            )  # fmt: skip
        if self.parser.should_upgrade():
            return BadRequest("upgrades are not supported", code="unsupported_upgrade")
        if coding and (version == "1.0" or coding != [b"chunked"]):
            return BadRequest("transfer-encoding may be `chunked` only", code="unsupported_encoding")
        if coding and any(name == b"content-length" for name, _ in self.headers):
            return BadRequest("content-length and transfer-encoding exclude each other", code="malformed")
        if hosts > 1 or (version == "1.1" and not hosts):
            return BadRequest("one Host header is needed", code="malformed")
        return None

    def _refuse(self, why: HttpError) -> None:
        """End the connection with an error, after the replies to what came before it."""
        self._all.ended[why.code] += 1
        running = self.cycle is not None and not self.cycle.response_complete
        self._farewell = _reply(why)
        if running and self.cycle.more_body and self.pipeline:
            self.pipeline.popleft()  # the request that broke off: it was not begun, and is never
        elif running and self.cycle.more_body:
            if self.cycle.response_started:
                self._farewell = b""
            self._part()
        elif not running:
            self._part()

    def _part(self) -> None:
        """Say why, if that can be said, and let the client read it."""
        self._ended_at = time.monotonic()
        if self.cycle is not None:
            self.cycle.disconnected = not self.cycle.response_complete
            self.cycle.message_event.set()
            self._gone()
        if self.transport.is_closing():
            return
        if self._farewell:
            self.transport.write(self._farewell)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _cut(self, reason: str) -> None:
        if reason:
            self._all.ended[reason] += 1
            self._ended_at = time.monotonic()
        self.transport.abort()


def _over(since: float | None, limit_s: float, now: float) -> bool:
    return since is not None and now - since > limit_s


def _malformed(because: str) -> HttpError:
    return BadRequest(f"this is not HTTP as it should be: {because[:120]}", code="malformed")


def _reply(why: HttpError) -> bytes:
    """A whole reply on the wire."""
    data = orjson.dumps(why.value())
    headers = [
        b"content-type: application/json",
        b"content-length: " + str(len(data)).encode(),
        b"cache-control: no-store",
        b"connection: close",
        *(name + b": " + value for name, value in why.headers()),
    ]
    return STATUS_LINE[why.status] + b"\r\n".join(headers) + b"\r\n\r\n" + data
