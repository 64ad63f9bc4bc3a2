"""API keys: who may ask. Without keys the gateway is open to this machine alone."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from recert.errors import GatewayError, SettingsError
from recert.store.files import read_bytes

KEYS_VARIABLE: Final = "RECERT_API_KEYS"
_SHORTEST: Final = 16
LOCAL: Final = "local"
"""The client's name where no keys are configured."""


class ApiKeys:
    """
    The keys that may ask, kept as digests. Empty: no key is asked for.

    Args:
        keys: each a key, or `name:key`. The name stands for the client in the audit log.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._names: dict[bytes, str] = {}
        for given in keys:
            name, colon, key = given.partition(":")
            key = key if colon else name
            if len(key) < _SHORTEST:
                raise SettingsError("an API key is too short", facts={"at least": f"{_SHORTEST} characters"})
            digest = hashlib.sha256(key.encode()).digest()
            self._names[digest] = name if colon else f"key-{digest.hex()[:8]}"

    @classmethod
    def configured(cls, path: Path | None = None) -> ApiKeys:
        """
        Read keys: one a line from a file, else those of `RECERT_API_KEYS`, separated by commas.

        Raises:
            StoreError: the file cannot be read.
            SettingsError: others may read the file, it has no key, or a key is too short.
        """
        if path is None:
            return cls(filter(None, map(str.strip, os.environ.get(KEYS_VARIABLE, "").split(","))))
        data = read_bytes(path, "file of API keys")
        if path.stat().st_mode & 0o077:
            raise SettingsError(
                "file of API keys is open to others", facts={"file": path}, hint=f"run `chmod 600 {path}`"
            )
        lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
        keys = cls(line for line in lines if line and not line.startswith("#"))
        if not keys:
            raise SettingsError("file of API keys has none", facts={"file": path})
        return keys

    def __bool__(self) -> bool:
        return bool(self._names)

    def __repr__(self) -> str:
        return f"ApiKeys({len(self._names)})"

    def client(self, authorization: bytes) -> str | None:
        """Return the client's name for an Authorization header; None when it may not ask."""
        if not self._names:
            return LOCAL
        scheme, _, key = authorization.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        found = None
        for known, name in self._names.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found if scheme.lower() == b"bearer" else None


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
            hint=f"set {KEYS_VARIABLE}, or give a file of keys, or listen on 127.0.0.1",
        )
