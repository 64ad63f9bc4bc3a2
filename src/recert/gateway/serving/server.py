"""
The server around the application: bound sockets, uvicorn, and a clean end.

The counts at an address of their own: for Prometheus, which has no API key.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn

from recert.errors import GatewayError, SettingsError
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.http import Http, Receive, Scope, Send
from recert.gateway.protocol.routes import METRICS_PAGE, find_route, wrong_method
from recert.gateway.serving.app import GatewayApp
from recert.gateway.serving.connections import Connections
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


_START_S: Final = 20.0
_BACKLOG: Final = 1024
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
        self.servers = [await loop.create_server(protocol, sock=first, backlog=_BACKLOG, **secured)]
        for one in second:
            self.servers.append(await loop.create_server(counting, sock=one, backlog=_BACKLOG))
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
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=limits.idle_s,  # type: ignore[arg-type]  # a timer, for which fractions do
        timeout_graceful_shutdown=limits.drain_s + _LAST_WORDS_S,  # type: ignore[arg-type]  # likewise
    )


def _listen(host: str, port: int, limits: ServerLimits) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.reader_bytes)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited: else 40 ms a reply
    except OSError as exc:
        raise GatewayError(
            "cannot-listen", "cannot listen", facts={"host": host, "port": port, "because": exc.strerror}
        ) from exc
    return made


def _url(scheme: str, host: str, listening: socket.socket) -> str:
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    return f"{scheme}://{shown}:{listening.getsockname()[1]}"


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
        self._on_end = on_end
        limits = within_open_files(app.front.limits)
        self._sockets = [_listen(host, port, limits)]
        self.url = _url("https" if app.front.tls else "http", host, self._sockets[0])
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
            self.metrics_url = _url("http", at, self._sockets[1]) + "/metrics"
        self._server = _Uvicorn(_config(app, limits), app, limits)
        self._thread: threading.Thread | None = None

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
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped on purpose, as by Ctrl-C
        try:
            with contextlib.suppress(KeyboardInterrupt), _seldom_collecting():
                self._server.run(sockets=self._sockets)
            if not self._server.started:
                raise GatewayError("start-failed", "the gateway did not start")
        finally:
            self._end()

    def start(self) -> None:
        """
        Serve in a thread; return once requests are answered.

        Raises:
            GatewayError: `start-failed`.
        """
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": self._sockets}, name="gateway", daemon=True
        )
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_S / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.02)
        if not self._server.started:
            self.stop()
            raise GatewayError("start-failed", "the gateway did not start")

    def stop(self) -> None:
        """Stop a gateway that runs in a thread, after the requests that are under way."""
        self._server.should_exit = True
        if self._thread:
            self._thread.join()
        self._end()

    def _end(self) -> None:
        for one in self._sockets:
            one.close()
        self._on_end()

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
