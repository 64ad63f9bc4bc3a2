"""What is known of one exchange while it runs, and the counts of its reply."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from recert.digest import sha256_bytes
from recert.gateway.access.budgets import Taken
from recert.gateway.audio.hearing import Heard
from recert.gateway.protocol.deltas import CONTENT, TOOL_CALLS, Delta
from recert.gateway.protocol.parse import ChatRequest
from recert.gateway.protocol.responses import Said
from recert.records.live.exchange import ControlScore, Exchange
from recert.records.record import now


@dataclass
class _Released:
    """Text of one field that left: its digest, and where it is kept, itself."""

    digest: Any = field(default_factory=hashlib.sha256)
    texts: list[str] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        """Of the text so far."""
        return str(self.digest.hexdigest())

    def whole(self) -> bytes:
        """Return the text, where it is kept."""
        return "".join(self.texts).encode()


class Tally:
    """
    Token counts of a reply, as the upstream told them.

    `prompt_tokens` is an estimate, for budgets where the upstream told nothing.
    """

    def __init__(self, prompt_tokens: int = 0) -> None:
        self._prompt_tokens = prompt_tokens
        self._usage: dict[str, int] | None = None
        self._tokens = 0

    def add(self, delta: Delta) -> None:
        """Take what the upstream said next."""
        self._tokens += delta.tokens if delta.text or delta.beside or delta.calls else 0
        self._usage = delta.usage or self._usage

    @property
    def tokens(self) -> int:
        """How many tokens count for a budget."""
        return self._usage["total_tokens"] if self._usage else self._prompt_tokens + self._tokens

    def usage(self) -> dict[str, int]:
        """Return the counts; where the upstream told none, one token a piece of text."""
        return self._usage or {
            "prompt_tokens": 0,
            "completion_tokens": self._tokens,
            "total_tokens": self._tokens,
        }


@dataclass
class ExchangeBuilder:
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
    body_bytes: int = 0
    conversation_sha256: str | None = None
    decision: str = "failed"
    reason: str = ""
    scores: list[ControlScore] = field(default_factory=list)
    asked: ChatRequest | None = None
    """The request, once it was understood."""
    heard: Heard | None = None
    """What became of its clips, where it has any."""
    finish_reasons: tuple[str, ...] = ()
    streamed: bool = False
    released_chars: int = 0
    taken: Taken | None = None
    """What it took of its client's budget."""
    last: Exchange | None = None
    """The record that was made last."""
    tally: Tally = field(default_factory=Tally)
    _released: dict[tuple[int, str], _Released] = field(default_factory=dict)
    """What left, by choice and field."""

    def read(self, body: bytes) -> None:
        """Take the request as it was received."""
        self.request_sha256 = sha256_bytes(body)
        if self.keeps_texts:
            self.request = body

    def name_conversation(self, name: bytes) -> None:
        """Take what the client calls the conversation, if anything."""
        if name:
            self.conversation_sha256 = sha256_bytes(self.client.encode() + b"\n" + name)

    def release(self, said: Said) -> Said:
        """Count what leaves, and return it."""
        for name, text in said.texts.items():
            self._take(said.choice, name, text)
        for call in said.calls:
            self._take(said.choice, TOOL_CALLS, f"{call.name}\n{call.arguments}\n")
        return said

    def _take(self, choice: int, name: str, text: str) -> None:
        there = self._released.get((choice, name))
        if there is None:
            there = self._released[choice, name] = _Released()
        there.digest.update(text.encode())
        if self.keeps_texts:
            there.texts.append(text)
        self.released_chars += len(text)

    def _is_plain(self) -> bool:
        return not self._released.keys() - {(0, CONTENT)}

    def _index(self) -> bytes:
        """One line for each field of each choice that was released, with the digest of its text."""
        found = sorted(self._released.items())
        return "".join(f"{at} {name} {there.sha256}\n" for (at, name), there in found).encode()

    @property
    def reply_sha256(self) -> str:
        """Of the text that left; where that was more than the text of one choice, of a line for each field."""
        if self._is_plain():
            return next(iter(self._released.values()), _Released()).sha256
        return sha256_bytes(self._index())

    def texts(self) -> dict[str, bytes]:
        """Return request and reply so far by digest, as the exchange names them; nothing where they are not kept."""
        if not self.keeps_texts:
            return {}
        replies = {there.sha256: there.whole() for there in self._released.values()}
        whole = b"" if self._is_plain() else self._index()
        words = (self.heard.words if self.heard else None) or {}
        return {self.request_sha256: self.request, self.reply_sha256: whole, **replies, **words}

    def exchange(self, decision: str) -> Exchange:
        """Return the record as it is now, and keep it as the last."""
        self.last = Exchange(
            request_id=self.request_id,
            client=self.client,
            certificate_serial=self.serial,
            model_name=self.model,
            request_sha256=self.request_sha256,
            reply_sha256=self.reply_sha256,
            decision=decision,
            reason=self.reason,
            conversation_sha256=self.conversation_sha256,
            scores=tuple(self.scores),
            clips=self.heard.clips if self.heard else None,
            heard_seconds=self.heard.seconds if self.heard else None,
            streamed=self.streamed,
            released_chars=self.released_chars,
            seconds=round(time.monotonic() - self.started, 6),
            received_at=self.received_at,
        )
        return self.last
