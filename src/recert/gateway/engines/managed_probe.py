"""Questions to an engine of our own over its Unix socket: is it up, and which models does it have?"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

_LIMIT_S: Final = 5.0
_LONGEST_BYTES: Final = 1_000_000


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=_LIMIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_LIMIT_S)
        self.sock.connect(str(self._path))


def ask(path: Path, route: str, api_key: str) -> tuple[int, bytes] | None:
    """Return status and body of a GET; None where nobody answers in time."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", route, headers={"authorization": f"Bearer {api_key}"})
        response = connection.getresponse()
        return response.status, response.read(_LONGEST_BYTES)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_up(path: Path, api_key: str) -> bool:
    """Say whether an engine is ready for requests."""
    said = ask(path, "/health", api_key)
    return said is not None and said[0] == 200


def models_of(path: Path, routes: Sequence[str], api_key: str) -> list[Any] | None:
    """
    Return what an engine says it has: names, where each was loaded from and on what, and adapters with their scale.

    None where nobody answers in time. What cannot be understood is told as it is, so that a change shows.
    """
    said: list[Any] = []
    for route in routes:
        answer = ask(path, route, api_key)
        if answer is None:
            return None
        try:
            value = orjson.loads(answer[1])
            models = value["data"] if isinstance(value, dict) else value
            said.append([[one.get(k) for k in ("id", "root", "parent", "path", "scale")] for one in models])
        except (ValueError, LookupError, TypeError, AttributeError):
            said.append([answer[0], answer[1].decode("utf-8", "replace")])
    return said
