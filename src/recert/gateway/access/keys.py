"""API keys: who may ask, and what. Without keys the gateway is open to this machine alone."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from recert.errors import GatewayError, RecertError, SettingsError
from recert.gateway.access.grants import Grant
from recert.gateway.access.keys_file import read_keys_file
from recert.gateway.protocol.errors import HttpError

log = logging.getLogger("recert.gateway")

KEYS_VARIABLE: Final = "RECERT_API_KEYS"
_SHORTEST: Final = 16
_LOOK_EVERY_S: Final = 1.0
LOCAL: Final = "local"
"""The client's name where no keys are configured."""


class ApiKeys:
    """
    The keys that may ask, kept as digests. Empty: no key is asked for.

    Args:
        keys: each a key, or `name:key`. The name stands for the client in the audit log. They may do everything.
        file: further keys, with what each may. It is read again when it changes; while it cannot be read, nobody
            may ask.

    Raises:
        StoreError: the file cannot be read.
        SettingsError: a key is too short, or the file has none, or is not valid, or can be written by others.
    """

    def __init__(self, keys: Iterable[str] = (), file: Path | None = None) -> None:
        self._given: dict[bytes, Grant] = {}
        for given in keys:
            name, colon, key = given.partition(":")
            key = key if colon else name
            if len(key) < _SHORTEST:
                raise SettingsError("an API key is too short", facts={"at least": f"{_SHORTEST} characters"})
            digest = hashlib.sha256(key.encode()).digest()
            self._given[digest] = Grant(name if colon else f"key-{digest.hex()[:8]}")
        self._file = file
        self._grants = self._given
        self._problem = ""
        self._looked = 0.0
        self._stamp: tuple[int, ...] = ()
        if file is not None:
            self._stamp = _stamp(file)
            self._read(file)
            self._looked = time.monotonic()
            if not self._grants:
                raise SettingsError(
                    "file of API keys has none", facts={"file": file}, hint="run `recert keys new NAME`"
                )

    @classmethod
    def configured(cls, file: Path | None = None) -> ApiKeys:
        """
        Return the keys of `RECERT_API_KEYS`, separated by commas, and those of a file beside them.

        Raises:
            StoreError: the file cannot be read.
            SettingsError: see `ApiKeys`.
        """
        given = filter(None, map(str.strip, os.environ.get(KEYS_VARIABLE, "").split(",")))
        return cls(given, file)

    def __bool__(self) -> bool:
        return bool(self._given) or self._file is not None

    def __repr__(self) -> str:
        return f"ApiKeys({len(self._grants)})"

    @property
    def may_have_budgets(self) -> bool:
        """Whether there is a file of keys, and so a place needed where budgets are counted."""
        return self._file is not None

    def grant(self, authorization: bytes) -> Grant | None:
        """
        Return what a client may for an Authorization header; None where it may not ask.

        Raises:
            HttpError: the file of keys cannot be read.
        """
        if not self:
            return Grant(LOCAL)
        self._look()
        if self._problem:
            raise HttpError(
                "the gateway's file of API keys cannot be read", status=503, kind="service_unavailable",
                code="keys-unreadable",
            )  # fmt: skip
        scheme, _, key = authorization.partition(b" ")
        found = self._grants.get(hashlib.sha256(key.strip()).digest())
        return found if scheme.lower() == b"bearer" and found is not None and not found.ended else None

    def _look(self) -> None:
        """Read the file again where it has changed; at most once a second."""
        if self._file is None or time.monotonic() - self._looked < _LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        try:
            stamp = _stamp(self._file)
            if stamp != self._stamp or self._problem:
                self._read(self._file)
                self._stamp, self._problem = stamp, ""
        except (RecertError, OSError) as exc:
            if not self._problem:
                log.error("nobody may ask: %s", exc)
            self._problem = "keys-unreadable"

    def _read(self, file: Path) -> None:
        found = {bytes.fromhex(key.sha256): key.grant() for key in read_keys_file(file).keys}
        self._grants = {**found, **self._given}


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        about = file.stat()
    except FileNotFoundError:
        return ()
    return about.st_mtime_ns, about.st_size, about.st_ino, about.st_mode


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_keys_beyond_loopback(host: str, keys: ApiKeys) -> None:
    """
    Refuse to be open to a network without keys.

    Raises:
        GatewayError: `open-bind`.
    """
    if not keys and not is_loopback(host):
        raise GatewayError(
            "open-bind",
            "refusing to listen beyond this machine without API keys",
            facts={"host": host},
            hint=f"set {KEYS_VARIABLE}, or give a file of keys with --keys, or listen on 127.0.0.1",
        )
