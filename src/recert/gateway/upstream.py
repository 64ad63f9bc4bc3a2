"""The gateway's client to what runs the model: one OpenAI-compatible stream, read defensively."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import orjson

from recert.gateway.deltas import Delta, Events, malformed, read_deltas, read_whole
from recert.gateway.replies import BadRequest, HttpError

_LARGEST_REPLY_BYTES: Final = 16_000_000
"""Of a reply that is no stream."""
_STREAM_BYTES: Final = 1_000_000
_EVENT_BYTES: Final = 4_096
"""More than any server sends for a token."""
_TOKENS_UNSAID: Final = 16_384
"""Where a request does not say how many it wants."""
_CONNECT_S: Final = 5.0
_KEEP_S: Final = 4.0
"""Shorter than the 5 s after which uvicorn and llama.cpp close a connection: one that they just closed is not used."""
_LINGER_S: Final = 0.1
"""How long to wait for the end of a body whose last event was read."""


@dataclass(frozen=True)
class UnsafeDeclaredUpstream:
    """
    An upstream that is only *said* to run the certified model: nothing here checks which weights answer.

    Args:
        url: where `/v1/chat/completions` lies, such as `http://127.0.0.1:8001`.
        api_key: sent as a bearer token, if any.
    """

    url: str
    api_key: str = ""


class Upstream(Protocol):
    """What runs the model."""

    @property
    def label(self) -> str:
        """What `/status` calls it."""

    def down(self) -> str:
        """Return why it cannot answer, or an empty text."""

    async def open(self) -> None:
        """Get ready, in the event loop that will call `stream`."""

    async def close(self) -> None:
        """Let go of connections."""

    def stream(self, body: dict[str, Any]) -> AsyncGenerator[Delta, None]:
        """
        Yield the steps of a reply; what arrives together is one step a choice.

        Only what `Delta` names is taken: whatever else the upstream says stays here.

        Raises:
            HttpError: it does not answer, refuses, or does not speak the protocol.
        """


class HttpUpstream:
    """An OpenAI-compatible server over TCP or a Unix domain socket."""

    def __init__(
        self, url: str, *, label: str, socket: Path | None = None, api_key: str = "", limit_s: float
    ) -> None:
        self._url = url.rstrip("/") + "/v1/chat/completions"
        self._socket = socket
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._limit_s = limit_s
        self._session: aiohttp.ClientSession | None = None
        self.label = label

    def down(self) -> str:
        """Return an empty text: a remote server is known to be down only when it is asked."""
        return ""

    async def open(self) -> None:
        """Make the connection pool."""
        connector = (
            aiohttp.UnixConnector(path=str(self._socket), limit=0, keepalive_timeout=_KEEP_S)
            if self._socket
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_S)
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self._limit_s)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def close(self) -> None:
        """Close the connection pool."""
        if self._session:
            await self._session.close()

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[Delta, None]:
        """Yield the steps of a reply; see `Upstream`."""
        assert self._session is not None
        ended: set[int] = set()
        choices = int(body.get("n", 1))
        try:
            async with self._session.post(
                self._url, data=orjson.dumps(body), headers=self._headers, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise await _refusal(response)
                if response.content_type == "application/json":
                    for delta in read_whole(await _body(response), choices):
                        yield delta
                    return
                events, left_bytes = Events(), _most_bytes(body)
                async for block in response.content.iter_any():
                    left_bytes -= len(block)
                    if left_bytes < 0:
                        raise HttpError(
                            "the upstream sends more than it was asked for",
                            status=502,
                            code="upstream-endless",
                        )
                    for delta in read_deltas(events.feed(block)):
                        if delta.finish_reason is not None:
                            ended.add(delta.choice)
                        yield delta
                    if events.done:
                        if choices > 1 and len(ended) < choices:
                            raise malformed()
                        await _read_to_end(response.content)
                        return
        except aiohttp.ClientConnectorError as exc:
            raise HttpError(
                "the upstream cannot be reached", status=502, code="upstream-unreachable"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise HttpError("the upstream broke off", status=502, code="upstream-cut") from exc
        if len(ended) < choices:
            raise HttpError("the upstream broke off", status=502, code="upstream-cut")


def _most_bytes(body: dict[str, Any]) -> int:
    """Return how long a stream may be: one that never ends must not fill memory until its time is up."""
    tokens = int(body.get("max_tokens", _TOKENS_UNSAID)) * int(body.get("n", 1))
    return _STREAM_BYTES + tokens * _EVENT_BYTES


async def _refusal(response: aiohttp.ClientResponse) -> HttpError:
    if response.status == 400:
        code = ""
        try:
            code = orjson.loads(await response.content.read(65_536))["error"]["code"]
        except (ValueError, KeyError, TypeError):
            code = ""
        if code == "context_length_exceeded":
            return BadRequest(
                "the conversation is longer than the model's context", param="messages", code=code
            )
        if code == "not_supported":
            return BadRequest("the engine of this model does not do what is asked", code=code)
    return HttpError(
        f"the upstream refused with status {response.status}", status=502, code="upstream-refused"
    )


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of a reply that is no stream."""
    parts, size = [], 0
    async for block in response.content.iter_any():
        parts.append(block)
        size += len(block)
        if size > _LARGEST_REPLY_BYTES:
            raise malformed()
    return b"".join(parts)


async def _read_to_end(content: aiohttp.StreamReader) -> None:
    """Wait a moment for the end of the body, so that the connection can be used again."""
    if not content.at_eof():
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(_LINGER_S):
                async for _ in content.iter_any():
                    pass
