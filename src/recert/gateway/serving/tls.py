"""TLS: a certificate and its key, taken up again when they change."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path
from typing import Final

from recert.errors import GatewayError

log = logging.getLogger("recert.gateway")

_LOOK_EVERY_S: Final = 1.0


class Tls:
    """
    What a TLS server needs. TLS 1.2 is the least that is spoken.

    Args:
        certificate: PEM file, the server's certificate first, then those that lead to its authority.
        key: PEM file of its private key, without a passphrase.

    Raises:
        GatewayError: `tls-unusable`: a file cannot be read, is not PEM, or the two do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._stamp = self._look()
        self._now = self._load()
        self._looked = time.monotonic()
        self._failed = False

    def context(self) -> ssl.SSLContext:
        """Return a context whose new connections use the files as they are then; unusable ones are not taken up."""
        made = self._load()
        made.sni_callback = self._swap
        return made

    def _swap(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext) -> None:
        """Called for each connection, before a certificate is chosen."""
        if time.monotonic() - self._looked >= _LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._take_up()
        connection.context = self._now

    def _take_up(self) -> None:
        stamp = self._look()
        if stamp == self._stamp and not self._failed:
            return
        try:
            self._now = self._load()
        except GatewayError as exc:
            if not self._failed:
                log.error("%s", exc)
            self._failed = True
        else:
            self._stamp, self._failed = stamp, False
            log.info("took up a new TLS certificate")

    def _load(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(["http/1.1"])
        try:
            made.load_cert_chain(self._certificate, self._key, password=_no_passphrase)
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            raise GatewayError(
                "tls-unusable",
                "the TLS certificate and its key cannot be used",
                facts={"certificate": self._certificate, "key": self._key, "because": exc},
            ) from exc
        return made

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in (self._certificate, self._key):
            try:
                about = path.stat()
                found.append((about.st_mtime_ns, about.st_size, about.st_ino))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
