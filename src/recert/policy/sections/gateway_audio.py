"""How the gateway hears spoken parts of requests, and what it takes for heard."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recert.records.record import Part

ClipFormat = Literal["wav", "mp3"]
"""What a clip may be: uncompressed 16-bit sound, or MPEG layer III; one channel either way."""

PassedOn = Literal["transcript", "clip"]
"""What the model gets of a clip that was heard: its words, or its bytes as they came."""


class GatewayAudioPolicy(Part):
    """
    Spoken parts of requests, which are served where the policy has this section and names `audio` as a modality.

    Each clip is transcribed before anything is decided, and its words meet the same controls as written ones. What was
    not heard with enough confidence is not passed on.
    """

    passes_on: PassedOn = "transcript"
    """`transcript`: the model reads what the controls read. `clip`: it hears the clip, and may hear more in it."""
    min_confidence: float = Field(default=0.5, gt=0, le=1)
    """Least confidence of a transcript: the mean probability of its tokens, as the transcriber says it."""
    max_no_speech: float = Field(default=0.6, ge=0, le=1)
    """Probability that nothing was said from which a clip counts as not heard."""
    max_chars_per_s: float = Field(default=40, gt=0)
    """Characters of a transcript for a second of its clip; nobody speaks faster, but a transcriber that loops does."""
    transcriber_sha256: tuple[str, ...] = ()
    """Digests of the transcribers that may listen, as `/status` shows them; empty for any."""
    formats: tuple[ClipFormat, ...] = Field(default=("wav",), min_length=1)
    max_clips: int = Field(default=8, ge=1, le=64)
    """Clips of one request, those of earlier turns included."""
    max_clip_bytes: int = Field(default=3_000_000, ge=1_000)
    min_clip_s: float = Field(default=0.1, gt=0)
    max_clip_s: float = Field(default=30, gt=0, le=600)
    max_total_s: float = Field(default=120, gt=0)
    """Seconds of all clips of one request together."""
    min_sample_rate_hz: int = Field(default=8_000, ge=1)
    max_sample_rate_hz: int = Field(default=48_000, ge=8_000)
    """At 16000 or less nothing above 8 kHz is left, which people do not hear as speech and a model may."""
    max_body_bytes: int = Field(default=8_000_000, ge=1_000)
    """Largest body of a request with clips; one without meets `gateway.max_body_bytes`."""
    timeout_s: float = Field(default=20, gt=0)
    """Longest wait for the transcripts of one request, the wait for its turn included."""

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        if self.min_clip_s > self.max_clip_s or self.min_sample_rate_hz > self.max_sample_rate_hz:
            raise ValueError("a least value is above its largest")
        return self
