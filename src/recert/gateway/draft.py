"""What is known of one exchange while it runs, and the counts of its reply."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from recert.digest import sha256_bytes
from recert.gateway.upstream import Delta
from recert.records import ControlScore, Exchange, now


@dataclass
class Draft:
    """What is known of an exchange so far."""

    request_id: str
    client: str
    keeps_texts: bool = False
    """Whether request and reply are kept beside the audit log, not their digests alone."""
    serial: str = ""
    """Of the certificate that answers; empty while it is not known which."""
    model: str = ""
    received_at: datetime = field(default_factory=now)
    started: float = field(default_factory=time.monotonic)
    request: bytes = b""
    request_sha256: str = sha256_bytes(b"")
    decision: str = "failed"
    reason: str = ""
    scores: list[ControlScore] = field(default_factory=list)
    streamed: bool = False
    released_chars: int = 0
    reply: Any = field(default_factory=hashlib.sha256)
    released: list[str] = field(default_factory=list)
    """What left, where it is kept."""

    def read(self, body: bytes) -> None:
        """Take the request as it was received."""
        self.request_sha256 = sha256_bytes(body)
        if self.keeps_texts:
            self.request = body

    def release(self, text: str) -> str:
        """Count text that leaves, and return it."""
        self.released_chars += len(text)
        self.reply.update(text.encode())
        if self.keeps_texts:
            self.released.append(text)
        return text

    def texts(self) -> dict[str, bytes]:
        """Return request and reply so far by digest, as the exchange names them; nothing where they are not kept."""
        if not self.keeps_texts:
            return {}
        reply = "".join(self.released).encode()
        return {self.request_sha256: self.request, self.reply.hexdigest(): reply}

    def exchange(self, decision: str) -> Exchange:
        """Return the record as it is now."""
        return Exchange(
            request_id=self.request_id,
            client=self.client,
            certificate_serial=self.serial,
            model_name=self.model,
            request_sha256=self.request_sha256,
            reply_sha256=self.reply.hexdigest(),
            decision=decision,
            reason=self.reason,
            scores=tuple(self.scores),
            streamed=self.streamed,
            released_chars=self.released_chars,
            seconds=round(time.monotonic() - self.started, 6),
            received_at=self.received_at,
        )


class Tally:
    """Token counts and the finish reason of a reply, as the upstream told them."""

    def __init__(self) -> None:
        self.finish_reason = "stop"
        self._usage: dict[str, int] | None = None
        self._tokens = 0

    def add(self, delta: Delta) -> None:
        """Take what the upstream said next."""
        self._tokens += delta.tokens if delta.text else 0
        self._usage = delta.usage or self._usage
        if delta.finish_reason:
            self.finish_reason = "length" if delta.finish_reason == "length" else "stop"

    def usage(self) -> dict[str, int]:
        """Return the counts; where the upstream told none, one token a piece of text."""
        return self._usage or {
            "prompt_tokens": 0,
            "completion_tokens": self._tokens,
            "total_tokens": self._tokens,
        }
