"""The server around the application: a bound socket, uvicorn, and a clean end."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from typing import Final

import uvicorn

from recert.errors import GatewayError
from recert.gateway.app import GatewayApp

_START_S: Final = 20.0
_DRAIN_S: Final = 5
_MOST_CONNECTIONS: Final = 4096


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
    """

    def __init__(self, app: GatewayApp, host: str, port: int, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host.strip("[]"), port), family=family, backlog=1024)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited: else 40 ms a reply
        except OSError as exc:
            raise GatewayError(
                "cannot-listen", "cannot listen", facts={"host": host, "port": port, "because": exc.strerror}
            ) from exc
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        """Where it listens."""
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_DRAIN_S,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Serve until interrupted or terminated; replies that are under way are ended first."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped on purpose, as by Ctrl-C
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self._server.run(sockets=[self._socket])
        finally:
            self._end()

    def start(self) -> None:
        """
        Serve in a thread; return once requests are answered.

        Raises:
            GatewayError: `start-failed`.
        """
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="gateway", daemon=True
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
        self._socket.close()
        self._on_end()

    def __enter__(self) -> GatewayServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
