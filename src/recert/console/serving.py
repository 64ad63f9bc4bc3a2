"""The server around the console: https, or this machine alone, or behind a proxy that speaks https."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import uvicorn

from recert.console.assembling import ConsoleOptions, assemble
from recert.errors import GatewayError, SettingsError
from recert.gateway.access.keys import is_loopback
from recert.gateway.serving.launcher import Launcher, config_of, listen, url_of
from recert.gateway.serving.tls import Tls
from recert.store.console.passwords import Passwords

_LAST_WORDS_S: Final = 10
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
        listening = listen(host, port)
        self.url = url_of("https" if secured is not None else "http", host, listening)
        """Where it listens."""
        try:
            # made only now: nothing is left of a console that cannot begin
            options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.assembled = assemble(options, public_url=self.url, passwords=passwords)
            require_public_url(self.assembled.console.people, self.url, behind_proxy=behind_proxy)
        except BaseException:
            listening.close()
            raise
        config = config_of(
            self.assembled.app,
            behind_proxy=behind_proxy,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_LAST_WORDS_S,
        )
        config.load()
        if secured is not None:
            config.ssl = secured.context()
        self._launcher = Launcher(uvicorn.Server(config), [listening], name="console")

    def run(self) -> None:
        """
        Serve until interrupted or terminated.

        Raises:
            GatewayError: `start-failed`.
        """
        self._launcher.run()

    def __enter__(self) -> ConsoleServer:
        self._launcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._launcher.stop()


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
