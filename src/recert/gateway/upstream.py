"""The gateway's client to what runs the model: one OpenAI-compatible stream, read defensively."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import orjson

from recert.gateway.replies import BadRequest, HttpError

_LONGEST_LINE_BYTES: Final = 1_000_000
_CONNECT_S: Final = 5.0


@dataclass(frozen=True)
class Delta:
    """One step of a reply: text, and at the end the finish reason and token counts."""

    text: str = ""
    finish_reason: str | None = None
    usage: dict[str, int] | None = None


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
        Yield the steps of a reply.

        Only text, finish reason and token counts are taken: whatever else the upstream says stays here.

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
            aiohttp.UnixConnector(path=str(self._socket), limit=0)
            if self._socket
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
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
        finished = False
        try:
            async with self._session.post(
                self._url, data=orjson.dumps(body), headers=self._headers, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise await _refusal(response)
                async for data in _events(response.content):
                    if data == b"[DONE]":
                        return
                    delta = _read(data)
                    finished = finished or delta.finish_reason is not None
                    yield delta
        except aiohttp.ClientConnectorError as exc:
            raise HttpError(
                "the upstream cannot be reached", status=502, code="upstream-unreachable"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise HttpError("the upstream broke off", status=502, code="upstream-cut") from exc
        if not finished:
            raise HttpError("the upstream broke off", status=502, code="upstream-cut")


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
    return HttpError(
        f"the upstream refused with status {response.status}", status=502, code="upstream-refused"
    )


async def _events(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Yield the data of server-sent events, one `data:` line each."""
    rest = b""
    async for block in content.iter_any():
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _LONGEST_LINE_BYTES:
            raise _malformed()
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _malformed() -> HttpError:
    return HttpError("the upstream does not speak the protocol", status=502, code="upstream-malformed")


def _read(data: bytes) -> Delta:
    try:
        value = orjson.loads(data)
        if "error" in value:
            raise HttpError("the upstream failed", status=502, code="upstream-failed")
        usage = value.get("usage")
        counts = (
            {k: usage[k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")} if usage else None
        )
        choices = value["choices"]
        if not choices:
            return Delta(usage=counts)
        (choice,) = choices
        text = choice["delta"].get("content") or ""
        reason = choice.get("finish_reason")
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _malformed() from exc
    if not isinstance(text, str) or not all(isinstance(n, int) for n in (counts or {}).values()):
        raise _malformed()
    return Delta(text=text, finish_reason=None if reason is None else str(reason), usage=counts)
