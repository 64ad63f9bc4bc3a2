"""What clients get: OpenAI-shaped bodies, stream chunks and errors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson


@dataclass
class HttpError(Exception):
    """A request that ends with an error body. `code` is machine-readable, `param` names the field."""

    message: str
    status: int = 500
    kind: str = "server_error"
    param: str | None = None
    code: str = ""

    def __str__(self) -> str:
        return self.message

    def value(self) -> dict[str, Any]:
        """Return the error object that OpenAI clients read."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code or None,
            }
        }


class BadRequest(HttpError):
    """A request that was not understood, or asks for what is not certified (400)."""

    def __init__(self, message: str, *, param: str | None = None, code: str, status: int = 400) -> None:
        super().__init__(message, status=status, kind="invalid_request_error", param=param, code=code)


_STOP_WORDS = {
    "revoked": "the certificate of this model is revoked",
    "suspended": "the certificate of this model is suspended",
    "expired": "the certificate of this model has expired",
    "engine-down": "the engine that runs the model is down",
    "audit-unavailable": "the audit log cannot be written",
}


def stopped(reason: str) -> HttpError:
    """Return the 503 of a stopped service; `code` is the reason."""
    words = _STOP_WORDS.get(reason, "the certificate of this model cannot be confirmed")
    return HttpError(f"{words} ({reason})", status=503, kind="service_unavailable", code=reason)


@dataclass(frozen=True)
class ReplyId:
    """What every body of one reply shares."""

    request_id: str
    model: str
    created: int
    serial: str

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.request_id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.serial,
        }

    def completion(self, text: str, finish_reason: str, usage: dict[str, int], reason: str = "") -> bytes:
        """Return the body of a plain reply."""
        frame = self._frame("chat.completion")
        message = {"role": "assistant", "content": text, "refusal": None}
        frame["choices"] = [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        ]
        frame["usage"] = usage
        frame["recert"] = self._note(reason)
        return orjson.dumps(frame)

    def chunk(
        self, text: str | None, finish_reason: str | None = None, *, first: bool = False, reason: str = ""
    ) -> bytes:
        """Return one event of a stream."""
        frame = self._frame("chat.completion.chunk")
        delta: dict[str, Any] = {"role": "assistant"} if first else {}
        if text is not None:
            delta["content"] = text
        frame["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
        if finish_reason:
            frame["recert"] = self._note(reason)
        return event(frame)

    def text(self, text: str) -> bytes:
        """Return the event that carries a piece of text, as `chunk` would, but in a tenth of the time."""
        before, after = self._around_text
        return before + orjson.dumps(text) + after

    @cached_property
    def _around_text(self) -> tuple[bytes, bytes]:
        before, _, after = self.chunk("").rpartition(b'""')
        return before, after

    def usage(self, usage: dict[str, int]) -> bytes:
        """Return the event that carries the token counts of a stream."""
        frame = self._frame("chat.completion.chunk")
        frame["choices"] = []
        frame["usage"] = usage
        return event(frame)

    def _note(self, reason: str) -> dict[str, str]:
        note = {"certificate": self.serial}
        return {**note, "blocked": reason} if reason else note


def event(value: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"
