"""The server around the console: https, or this machine alone, or behind a proxy that speaks https."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from pathlib import Path
from typing import Final

import uvicorn

from recert.console.assembling import ConsoleOptions, assemble
from recert.errors import GatewayError, SettingsError
from recert.gateway.access.keys import is_loopback
from recert.gateway.serving.tls import Tls
from recert.store.console.passwords import Passwords

_BACKLOG: Final = 256
_LAST_WORDS_S: Final = 10
_START_S: Final = 20.0
_MOST_CONNECTIONS: Final = 1000


class ConsoleServer:
    """
    A console that is ready to run. Use `run()`, or `with server:` for one in a thread.

    Args:
        options: where things lie.
        host: where to listen. Beyond this machine TLS is needed, or a proxy.
        port: 0 for a free one.
        tls: certificate and private key, as PEM files.
        behind_proxy: address of the proxy that speaks https with browsers; what it says of them is believed.
        passwords: how passwords are hashed; by default as RFC 9106 says.

    Raises:
        GatewayError: `open-bind`: others could read what goes over the network; `cannot-listen`; `tls-unusable`.
        SettingsError, StoreError, PolicyError, MissingExtraError: the console cannot be made.
    """

    def __init__(
        self,
        options: ConsoleOptions,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
        behind_proxy: str = "",
        passwords: Passwords | None = None,
    ) -> None:
        require_secure(host, tls=tls is not None, behind_proxy=behind_proxy)
        secured = Tls(*tls) if tls is not None else None
        self._socket = _listen(host, port)
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        scheme = "https" if secured is not None else "http"
        self.url = f"{scheme}://{shown}:{self._socket.getsockname()[1]}"
        """Where it listens."""
        try:
            # made only now: nothing is left of a console that cannot begin
            options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.assembled = assemble(options, public_url=self.url, passwords=passwords)
            require_public_url(self.assembled.console.people, self.url, behind_proxy=behind_proxy)
        except BaseException:
            self._socket.close()
            raise
        config = uvicorn.Config(
            self.assembled.app,
            http="httptools",
            ws="none",
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(behind_proxy),
            forwarded_allow_ips=behind_proxy or None,
            backlog=_BACKLOG,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_LAST_WORDS_S,
        )
        config.load()
        if secured is not None:
            config.ssl = secured.context()
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """
        Serve until interrupted or terminated.

        Raises:
            GatewayError: `start-failed`.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped on purpose, as by Ctrl-C
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self._server.run(sockets=[self._socket])
            if not self._server.started:
                raise GatewayError("start-failed", "the console did not start")
        finally:
            self._socket.close()

    def __enter__(self) -> ConsoleServer:
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="console", daemon=True
        )
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_S / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.02)
        if not self._server.started:
            self.__exit__()
            raise GatewayError("start-failed", "the console did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()


def require_secure(host: str, *, tls: bool, behind_proxy: str) -> None:
    """
    Refuse to send passwords and sessions over a network that others may read.

    Raises:
        GatewayError: `open-bind`.
    """
    if not (tls or behind_proxy or is_loopback(host)):
        raise GatewayError(
            "open-bind",
            "refusing to show a console beyond this machine without https",
            facts={"host": host},
            hint="give --tls-certificate and --tls-key, or --behind-proxy, or listen on 127.0.0.1",
        )


def require_public_url(people: object, url: str, *, behind_proxy: str) -> None:
    """
    Refuse a console behind a proxy that does not know how browsers reach it.

    Raises:
        SettingsError: `public_url` is missing in `console.toml`.
    """
    public = getattr(people, "public_url", url)
    if behind_proxy and public == url:
        raise SettingsError(
            "behind a proxy the console must know how browsers reach it",
            hint='in console.toml, give public_url = "https://..."',
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        raise GatewayError(
            "cannot-listen", "cannot listen", facts={"host": host, "port": port, "because": exc.strerror}
        ) from exc
