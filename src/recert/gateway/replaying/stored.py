"""Exchanges of an audit log, with what was kept of their texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from pydantic import ValidationError

from recert.digest import sha256_bytes
from recert.errors import RecordError
from recert.records.live.exchange import Exchange
from recert.store.audit.chain import AuditLine
from recert.store.audit.texts import TextStore

_AT_ONCE: Final = 200
_INDEX: Final = re.compile(rb"(?:\d+ [a-z_]+ [0-9a-f]{64}\n)+")
"""What is kept of a reply of several fields or choices: a line for each, with the digest of its text."""


@dataclass(frozen=True)
class Stored:
    """
    One exchange as it ended.

    `request` is the body as it came, and `replies` are the texts that were released, one for each field of each choice;
    None where one was not kept, or is not what the log names.
    """

    exchange: Exchange
    request: bytes | None
    replies: tuple[str, ...] | None
    words: Mapping[str, str] = field(default_factory=dict)
    """What was heard in clips of the request, by the sha256 of the clip, where it was kept."""


@dataclass
class StoredExchanges:
    """
    The exchanges of a log, in its order, each by its last line.

    Args:
        lines: of the log, checked.
        texts: what was kept.
    """

    lines: Iterable[AuditLine]
    texts: TextStore
    _open: set[str] = field(default_factory=set)

    @property
    def unfinished(self) -> int:
        """Streams that were begun and have no last line, as far as was read."""
        return len(self._open)

    def __iter__(self) -> Iterator[Stored]:
        """
        Yield each exchange.

        Raises:
            RecordError: a line is no exchange.
            StoreError: the texts cannot be read.
        """
        ended = self._ended()
        while some := list(islice(ended, _AT_ONCE)):
            found = self._read(digest for one in some for digest in _named(one))
            fields = {one.reply_sha256: _fields(found.get(one.reply_sha256, b"")) for one in some}
            found |= self._read(digest for listed in fields.values() for digest in listed)
            for one in some:
                wanted = fields[one.reply_sha256] or [one.reply_sha256]
                replies = [found[digest].decode("utf-8", "replace") for digest in wanted if digest in found]
                whole = len(replies) == len(wanted)
                request, said = found.get(one.request_sha256), tuple(replies) if whole else None
                yield Stored(one, request, said, _heard(one, found))

    def _read(self, digests: Iterable[str]) -> dict[str, bytes]:
        read = self.texts.read(sorted(set(digests)))
        return {digest: text for digest, text in read.items() if sha256_bytes(text) == digest}

    def _ended(self) -> Iterator[Exchange]:
        for line in self.lines:
            if line.kind != Exchange.schema_name:
                continue
            try:
                exchange = Exchange.model_validate(line.body)
            except ValidationError as exc:
                raise RecordError(
                    "audit log has a line that is no exchange",
                    facts={"line": line.seq, "because": exc.errors()[0]["msg"]},
                ) from exc
            if exchange.decision == "opened":
                self._open.add(exchange.request_id)
            else:
                self._open.discard(exchange.request_id)
                yield exchange


def _named(one: Exchange) -> Iterator[str]:
    yield from (one.request_sha256, one.reply_sha256)
    yield from (clip.transcript_sha256 for clip in one.clips or () if clip.transcript_sha256)


def _heard(one: Exchange, found: Mapping[str, bytes]) -> dict[str, str]:
    words = ((clip.sha256, found.get(clip.transcript_sha256 or "")) for clip in one.clips or ())
    return {sha256: text.decode("utf-8", "replace") for sha256, text in words if text is not None}


def _fields(reply: bytes) -> list[str]:
    """The digests that a reply of several fields lists; none for a plain text."""
    if not _INDEX.fullmatch(reply):
        return []
    return [line.rpartition(b" ")[2].decode() for line in reply.splitlines()]
