"""The gateway's client to what runs the model: one OpenAI-compatible stream, read defensively."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from recert.gateway.protocol.deltas import Delta, Events, malformed, read_deltas, read_whole
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.gateway.upstream.http import UpstreamClient, UpstreamReply

_LARGEST_REPLY_BYTES: Final = 16_000_000
"""Of a reply that is no stream."""
_STREAM_BYTES: Final = 1_000_000
_EVENT_BYTES: Final = 4_096
"""More than any server sends for a token."""
_TOKENS_UNSAID: Final = 16_384
"""Where a request does not say how many it wants."""
_LARGEST_REFUSAL_BYTES: Final = 65_536


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

    def __init__(self, url: str, *, label: str, socket: Path | None = None, api_key: str = "") -> None:
        self._url = url.rstrip("/") + "/v1/chat/completions"
        self._client = UpstreamClient(self._url, socket=socket, api_key=api_key)
        self.label = label

    def down(self) -> str:
        """Return an empty text: a remote server is known to be down only when it is asked."""
        return ""

    async def open(self) -> None:
        """Connections are made when they are needed."""

    async def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[Delta, None]:
        """Yield the steps of a reply; see `Upstream`."""
        ended: set[int] = set()
        choices = int(body.get("n", 1))
        events, left_bytes = Events(), _most_bytes(body)
        reply = await self._client.post(orjson.dumps(body))
        try:
            if reply.status != 200:
                raise await _refusal(reply)
            if reply.content_type == "application/json":
                for delta in read_whole(await read_body(reply), choices):
                    yield delta
                return
            while not events.done and (block := await reply.block()):
                left_bytes -= len(block)
                if left_bytes < 0:
                    raise HttpError(
                        "the upstream sends more than it was asked for", status=502, code="upstream-endless"
                    )
                for delta in read_deltas(events.feed(block)):
                    if delta.finish_reason is not None:
                        ended.add(delta.choice)
                    yield delta
        finally:
            reply.let_go(ends_soon=events.done)
        if len(ended) < choices and not (events.done and choices == 1):
            raise (
                malformed()
                if events.done
                else HttpError("the upstream broke off", status=502, code="upstream-cut")
            )


def _most_bytes(body: dict[str, Any]) -> int:
    """Return how long a stream may be: one that never ends must not fill memory until its time is up."""
    tokens = int(body.get("max_tokens", _TOKENS_UNSAID)) * int(body.get("n", 1))
    return _STREAM_BYTES + tokens * _EVENT_BYTES


async def _refusal(reply: UpstreamReply) -> HttpError:
    if reply.status == 400:
        code = ""
        try:
            code = orjson.loads(await read_body(reply, _LARGEST_REFUSAL_BYTES))["error"]["code"]
        except (ValueError, KeyError, TypeError, HttpError):
            code = ""
        if code == "context_length_exceeded":
            return BadRequest(
                "the conversation is longer than the model's context", param="messages", code=code
            )
        if code == "template_refuses":
            return BadRequest(
                "the model's chat template does not take these roles in this order",
                param="messages",
                code=code,
            )
        if code == "not_supported":
            return BadRequest("the engine of this model does not do what is asked", code=code)
    return HttpError(f"the upstream refused with status {reply.status}", status=502, code="upstream-refused")


async def read_body(reply: UpstreamReply, most: int = _LARGEST_REPLY_BYTES) -> bytes:
    """
    Return the body of a reply that is no stream.

    Raises:
        HttpError: `upstream-malformed`: it is longer than `most` bytes; `upstream-cut`: it broke off.
    """
    parts, size = [], 0
    while block := await reply.block():
        parts.append(block)
        size += len(block)
        if size > most:
            raise malformed()
    return b"".join(parts)
