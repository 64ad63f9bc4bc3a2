"""What one client, or many, can take of the gateway: connections, bytes and time."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

from recert.errors import SettingsError

log = logging.getLogger("recert.gateway")

_OTHER_FILES = 128
"""Files that the gateway needs beside connections: logs, databases, certificates."""


@dataclass(frozen=True)
class ServerLimits:
    """
    Bounds of the server. They say when a connection is refused or cut, never what may be asked or released.

    Times are in seconds. A bound that is met ends in a status and a `code`, or a cut where no reply can be sent.
    """

    headers_s: float = 10.0
    """From a connection, or the first byte of a further request, to the end of its headers (408, `headers_timeout`)."""
    body_s: float = 20.0
    """From the end of the headers to the end of the body (408, `body_timeout`)."""
    reader_s: float = 30.0
    """How long a reply may wait for a client that does not read it; then the connection is cut."""
    idle_s: float = 20.0
    """How long a connection is kept between requests."""
    notice_s: float = 0.0
    """When told to end: how long `/healthz` says 503 while requests are still taken, for a balancer to see it."""
    drain_s: float = 5.0
    """When told to end: how long replies that are under way may still take; then they end with an error."""
    header_bytes: int = 32_768
    """Request line and headers together (431, `headers_too_large`)."""
    header_count: int = 100
    """Headers of one request (431, `headers_too_large`)."""
    reader_bytes: int = 65_536
    """How much of a reply is kept for a slow reader, in the gateway and again in the kernel."""
    connections: int = 4_096
    """Connections at once (503, `too_many_connections`)."""
    connections_per_address: int = 2_048
    """Connections at once from one address, or one /64 of IPv6 (429, `too_many_connections`)."""
    requests: int = 4_096
    """Requests that are answered at once (503, `overloaded`)."""
    pipelined: int = 16
    """Requests that may wait on one connection behind the one that is answered (400, `too_many_pipelined`)."""

    def __post_init__(self) -> None:
        """
        Check that every bound is one.

        Raises:
            SettingsError: a value is no number above 0; only `notice_s` may be 0.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and (value > 0 or (field.name == "notice_s" and value == 0))):
                raise SettingsError("a limit must be above 0", facts={"limit": field.name, "given": value})

    @classmethod
    def parse(cls, given: Iterable[str]) -> ServerLimits:
        """
        Return the limits with some changed, each given as `name=number`.

        Raises:
            SettingsError: there is no such limit, or the value is no such number.
        """
        kinds = {field.name: int if field.type == "int" else float for field in dataclasses.fields(cls)}
        changes: dict[str, float] = {}
        for one in given:
            name, _, text = one.partition("=")
            name = name.strip()
            if name not in kinds:
                raise SettingsError("unknown limit", facts={"given": one, "known": ", ".join(kinds)})
            try:
                changes[name] = kinds[name](text)
            except ValueError as exc:
                expected = "a whole number" if kinds[name] is int else "a number of seconds"
                raise SettingsError(
                    "a limit has the wrong kind of value", facts={"given": one, "expected": expected}
                ) from exc
        return dataclasses.replace(cls(), **changes)  # type: ignore[arg-type]

    @property
    def files(self) -> int:
        """How many open files connections at their most may need: one to the client, one to the engine."""
        return self.connections + self.requests + _OTHER_FILES


def within_open_files(limits: ServerLimits) -> ServerLimits:
    """
    Raise this process's limit of open files to what `limits` may need, or lower `limits` to what there is.

    Without this a flood of connections would leave no file for the audit log.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= limits.files:
        return limits
    wanted = limits.files if hard == resource.RLIM_INFINITY else min(limits.files, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        wanted = soft
    if wanted >= limits.files:
        return limits
    most = max(1, (wanted - _OTHER_FILES) // 2)
    log.warning("only %d open files are allowed: at most %d connections are served at once", wanted, most)
    return dataclasses.replace(
        limits,
        connections=min(limits.connections, most),
        connections_per_address=min(limits.connections_per_address, most),
        requests=min(limits.requests, most),
    )
