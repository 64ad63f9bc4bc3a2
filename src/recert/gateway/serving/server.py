"""
The server around the application: bound sockets, uvicorn, and a clean end.

Here too: the counts at an address of their own: for Prometheus, which has no API key.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn

from recert.errors import SettingsError
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.http import Http, Receive, Scope, Send
from recert.gateway.protocol.routes import METRICS_PAGE, find_route, wrong_method
from recert.gateway.serving.app import GatewayApp
from recert.gateway.serving.connections import Connections
from recert.gateway.serving.launcher import BACKLOG, Launcher, config_of, listen, url_of
from recert.gateway.serving.limits import ServerLimits, within_open_files
from recert.gateway.serving.metrics import CONTENT_TYPE, Metrics
from recert.gateway.upstream.wire import GuardedHttp


class MetricsPage:
    """Answers `/metrics` and nothing else."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        http = Http(scope, receive, send, secrets.token_hex(12))
        if http.path != METRICS_PAGE.path:
            await http.error(BadRequest("only /metrics is answered here", code="unknown_route", status=404))
        elif http.method != METRICS_PAGE.method:
            await http.error(wrong_method(find_route(http.path), http.path))
        else:
            page = self._metrics.page()
            await http.start(200, CONTENT_TYPE, len(page))
            await http.write(page, more=False)


_COLLECT_AFTER: Final = (10_000, 20, 50)
"""See `gc.set_threshold`."""
_LAST_WORDS_S: Final = 2
"""How long replies may take to end after they were told to."""


class _Uvicorn(uvicorn.Server):
    """uvicorn, with our protocol on each connection and an end in steps. The second socket is that of the counts."""

    def __init__(self, config: uvicorn.Config, app: GatewayApp, limits: ServerLimits) -> None:
        super().__init__(config)
        self._app = app
        self._limits = limits
        self.connections = app.metrics.connections = Connections(limits)
        self._watched = Connections(limits)  # the counts are read even where clients take every connection

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on `sockets`, once the application is ready."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.should_exit = True
            return
        loop = asyncio.get_running_loop()
        page = _config(MetricsPage(self._app.metrics), self._limits)
        page.load()

        def protocol() -> GuardedHttp:
            return GuardedHttp(self.connections, self.config, self.server_state, self.lifespan.state, loop)

        def counting() -> GuardedHttp:
            return GuardedHttp(self._watched, page, self.server_state, self.lifespan.state, loop)

        self.connections.start()
        self._watched.start()
        first, *second = sockets or []
        tls = self._app.front.tls
        secured: dict[str, Any] = {}
        if tls is not None:
            limit_s = self._limits.headers_s
            secured = {
                "ssl": tls.context(),
                "ssl_handshake_timeout": limit_s,
                "ssl_shutdown_timeout": limit_s,
            }
        self.servers = [await loop.create_server(protocol, sock=first, backlog=BACKLOG, **secured)]
        for one in second:
            self.servers.append(await loop.create_server(counting, sock=one, backlog=BACKLOG))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that it ends, take no more, let replies end for a while, and end what is left with an error."""
        self._app.drain()
        await self._wait(self._limits.notice_s)
        ending = asyncio.get_running_loop().call_later(self._limits.drain_s, self._app.end_streams)
        await super().shutdown(sockets)
        ending.cancel()
        await self.connections.stop()
        await self._watched.stop()

    async def _wait(self, limit_s: float) -> None:
        """Wait, unless told to end at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not self.force_exit:
                    await asyncio.sleep(0.05)


def _config(app: Any, limits: ServerLimits) -> uvicorn.Config:
    return config_of(
        app,
        timeout_keep_alive=limits.idle_s,  # a timer, for which fractions do
        timeout_graceful_shutdown=limits.drain_s + _LAST_WORDS_S,  # likewise
    )


def _listen(host: str, port: int, limits: ServerLimits) -> socket.socket:
    made = listen(host, port)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.reader_bytes)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited: else 40 ms a reply
    return made


class GatewayServer:
    """
    A gateway that is ready to run. Use `run()`, or `with server:` for one in a thread.

    Args:
        app: what to serve.
        host: name or address to listen on.
        port: 0 for a free one.
        on_end: called once when it has ended.

    Raises:
        GatewayError: `cannot-listen`.
        SettingsError: the address for the counts is none.
    """

    def __init__(self, app: GatewayApp, host: str, port: int, on_end: Callable[[], None]) -> None:
        limits = within_open_files(app.front.limits)
        self._sockets = [_listen(host, port, limits)]
        self.url = url_of("https" if app.front.tls else "http", host, self._sockets[0])
        """Where it listens."""
        self.metrics_url = self.url + "/metrics"
        """Where the counts are read."""
        if app.front.metrics:
            try:
                at, counted = _address(app.front.metrics)
                self._sockets.append(_listen(at, counted, limits))
            except BaseException:
                self._sockets[0].close()
                raise
            self.metrics_url = url_of("http", at, self._sockets[1]) + "/metrics"
        self._server = _Uvicorn(_config(app, limits), app, limits)
        self._launcher = Launcher(self._server, self._sockets, name="gateway", on_end=on_end)

    @property
    def connections(self) -> Connections:
        """The connections that are open, and how many were refused or cut."""
        return self._server.connections

    def run(self) -> None:
        """
        Serve until interrupted or terminated; replies that are under way are ended first.

        Raises:
            GatewayError: `start-failed`.
        """
        self._launcher.run(_seldom_collecting())

    def start(self) -> None:
        """
        Serve in a thread; return once requests are answered.

        Raises:
            GatewayError: `start-failed`.
        """
        self._launcher.start()

    def stop(self) -> None:
        """Stop a gateway that runs in a thread, after the requests that are under way."""
        self._launcher.stop()

    def __enter__(self) -> GatewayServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def _seldom_collecting() -> Iterator[None]:
    """
    Look for garbage in cycles seldom, and never among what is there already.

    A process that does nothing but serve makes few cycles, and looking for them at Python's pace takes a sixth of the
    CPU time of a request.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _address(given: str) -> tuple[str, int]:
    host, _, port = given.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise SettingsError("not an address", facts={"given": given}, hint="such as 127.0.0.1:9100")
    return host, int(port)
