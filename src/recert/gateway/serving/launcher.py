"""A uvicorn server as the gateway, the tuning service and the console start it: socket, options, run, end."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import uvicorn

from recert.errors import GatewayError

BACKLOG: Final = 1024
"""Connections that may wait to be taken."""
_START_S: Final = 20.0


def listen(host: str, port: int) -> socket.socket:
    """
    Return a socket that listens.

    Args:
        host: name or address.
        port: 0 for a free one.

    Raises:
        GatewayError: `cannot-listen`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    except OSError as exc:
        raise GatewayError(
            "cannot-listen", "cannot listen", facts={"host": host, "port": port, "because": exc.strerror}
        ) from exc


def url_of(scheme: str, host: str, listening: socket.socket) -> str:
    """Return the URL of a socket that listens at a host."""
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    return f"{scheme}://{shown}:{listening.getsockname()[1]}"


def config_of(app: Any, *, behind_proxy: str = "", **more: Any) -> uvicorn.Config:
    """
    Return what uvicorn is told: our parser and loop, no log of its own, no header that names it.

    Args:
        app: an ASGI application.
        behind_proxy: address of the proxy whose headers are believed; empty for none.
        more: further settings of uvicorn.
    """
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(behind_proxy),
        forwarded_allow_ips=behind_proxy or None,
        backlog=BACKLOG,
        **more,
    )


class Launcher:
    """
    Runs a server on its sockets, in this thread or in another, and closes them at its end.

    Args:
        server: of uvicorn.
        sockets: that listen.
        name: what it is, for errors and for the thread.
        on_end: called once when it has ended.
    """

    def __init__(
        self,
        server: uvicorn.Server,
        sockets: Sequence[socket.socket],
        *,
        name: str,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._server, self._sockets, self._name, self._on_end = server, list(sockets), name, on_end
        self._thread: threading.Thread | None = None

    def run(self, around: AbstractContextManager[Any] | None = None) -> None:
        """
        Serve until interrupted or terminated; replies that are under way are ended first.

        Args:
            around: entered while it runs.

        Raises:
            GatewayError: `start-failed`.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped on purpose, as by Ctrl-C
        try:
            with contextlib.suppress(KeyboardInterrupt), around or contextlib.nullcontext():
                self._server.run(sockets=self._sockets)
            self._require_started()
        finally:
            self.close()

    def start(self) -> None:
        """
        Serve in a thread; return once requests are answered.

        Raises:
            GatewayError: `start-failed`.
        """
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": self._sockets}, name=self._name, daemon=True
        )
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_S / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.02)
        if not self._server.started:
            self.stop()
            self._require_started()

    def stop(self) -> None:
        """Stop a server that runs in a thread, after the requests that are under way."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self.close()

    def close(self) -> None:
        """Let go of the addresses."""
        for one in self._sockets:
            one.close()
        self._on_end()

    def _require_started(self) -> None:
        if not self._server.started:
            raise GatewayError("start-failed", f"the {self._name} did not start")
