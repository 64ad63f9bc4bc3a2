"""The gateway's client to what runs the model: one OpenAI-compatible stream, read defensively."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import orjson

from recert.gateway.replies import BadRequest, HttpError

_LONGEST_LINE_BYTES: Final = 1_000_000
_CONNECT_S: Final = 5.0
_LINGER_S: Final = 0.1
"""How long to wait for the end of a body whose last event was read."""


@dataclass(frozen=True)
class Delta:
    """One step of a reply: text, and at the end the finish reason and token counts."""

    text: str = ""
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    tokens: int = 1
    """How many pieces of text the upstream sent for it."""


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
        Yield the steps of a reply; what arrives together is one step.

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
                events = _Events()
                async for block in response.content.iter_any():
                    found = [_read(data) for data in events.feed(block)]
                    if found:
                        delta = found[0] if len(found) == 1 else _merged(found)
                        finished = finished or delta.finish_reason is not None
                        yield delta
                    if events.done:
                        await _read_to_end(response.content)
                        return
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


class _Events:
    """The data of server-sent events, one `data:` line each, from blocks as they arrive."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False

    def feed(self, block: bytes) -> list[bytes]:
        """Take what arrived; return the data of events that are whole, up to the one that says `[DONE]`."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            raise _malformed()
        found = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        if b"[DONE]" in found:
            self.done = True
            del found[found.index(b"[DONE]") :]
        return found


async def _read_to_end(content: aiohttp.StreamReader) -> None:
    """Wait a moment for the end of the body, so that the connection can be used again."""
    if not content.at_eof():
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(_LINGER_S):
                async for _ in content.iter_any():
                    pass


def _merged(deltas: Sequence[Delta]) -> Delta:
    """Return what arrived together as one step."""
    return Delta(
        text="".join([delta.text for delta in deltas]),
        finish_reason=next((d.finish_reason for d in reversed(deltas) if d.finish_reason is not None), None),
        usage=next((d.usage for d in reversed(deltas) if d.usage), None),
        tokens=sum(1 for delta in deltas if delta.text),
    )


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
