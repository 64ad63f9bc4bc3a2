"""What the gateway writes for every request."""

from __future__ import annotations

from typing import ClassVar

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record


class ControlScore(Part):
    """What one control said of one direction of a request."""

    control: str
    direction: str
    """`input` or `output`."""
    score: float | None = None
    """None, or not there, when the control failed, which blocks."""
    blocked: bool
    reason: str = ""
    """Why it blocked; in shadow, why it would have."""
    category: str = ""
    """Hazard category of the highest score, where the control names one."""
    shadow: bool = False
    """True where the control only watches: with a `reason` it would have blocked, and did not."""


class SpokenClip(Part):
    """A clip of a request, and how well it was heard. Neither the clip nor its words are here."""

    sha256: Sha256
    """Of the clip's bytes."""
    format: str
    seconds: float
    transcript_sha256: Sha256 | None = None
    """Of the words that were judged, in UTF-8; not there where the clip was not heard."""
    confidence: float | None = None
    """Of the transcriber, in [0, 1]; not there where it said none."""
    no_speech: float | None = None
    """Probability that nothing was said."""


class Exchange(Record):
    """One request: what was asked (by digest), scored, decided. One audit line."""

    schema_name: ClassVar[str] = "exchange"

    request_id: str
    client: str
    certificate_serial: str
    model_name: str
    request_sha256: Sha256
    reply_sha256: Sha256
    """Digest of the text that was released; `spec/audit-log.md` says how where that is more than one text."""
    decision: str
    """
    `released`, `blocked-input`, `blocked-output`, `refused` (bad request, stopped service) or `failed`; and where
    LiteLLM asked about a request or a reply elsewhere `allowed-input` or `allowed-output`.

    A streamed reply has an earlier line with `opened`, written before its first byte.
    """
    reason: str = ""
    conversation_sha256: Sha256 | None = None
    """Digest of `client`, a line break, and what the client calls the conversation; None where it gave it no name."""
    scores: tuple[ControlScore, ...] = ()
    clips: tuple[SpokenClip, ...] | None = None
    """What of the request was spoken, in order; not there where all of it was written."""
    heard_seconds: float | None = None
    """How long it took to hear the clips."""
    streamed: bool
    released_chars: int
    seconds: float
    received_at: Moment
