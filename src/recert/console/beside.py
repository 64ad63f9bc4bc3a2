"""The console in the process of a tuning service, which answers `/console` with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp

from recert.console.app import ROOT
from recert.console.assembling import Assembled, ConsoleOptions, assemble
from recert.console.serving import require_public_url, require_secure
from recert.service.stage import Beside


@dataclass(frozen=True)
class _ConsoleBeside:
    assembled: Assembled
    behind_proxy: str
    path: str = ROOT

    @property
    def app(self) -> ASGIApp:
        return self.assembled.app

    def begin(self) -> None:
        self.assembled.begin()

    def end(self) -> None:
        self.assembled.end()


def console_beside(options: ConsoleOptions, *, host: str, behind_proxy: str = "") -> Callable[[str], Beside]:
    """
    Return what makes the console once it is known where the service listens.

    Args:
        options: where things lie.
        host: where the service listens. Beyond this machine a proxy is needed: the service speaks no https.
        behind_proxy: address of that proxy; what it says of browsers is believed.

    Raises:
        GatewayError: `open-bind`.
    """
    require_secure(host, tls=False, behind_proxy=behind_proxy)

    def made(url: str) -> Beside:
        assembled = assemble(options, public_url=url)
        require_public_url(assembled.console.people, url, behind_proxy=behind_proxy)
        return _ConsoleBeside(assembled, behind_proxy)

    return made
