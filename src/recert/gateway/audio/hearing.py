"""
Hearing what is spoken in a request: no clip goes on before its words were judged.

The words take their place among what was written, so that every control sees them as it sees text: each clip's by
themselves, and together with what stands around them. A clip that was not heard for sure ends the request.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from recert.digest import sha256_bytes
from recert.gateway.audio.clips import Clip
from recert.gateway.protocol.parse import ChatRequest
from recert.models.speech.transcribing import TranscribeFailed
from recert.policy.sections.gateway_audio import GatewayAudioPolicy
from recert.records.live.exchange import ControlScore, SpokenClip
from recert.records.live.transcriber import EarsManifest

TRANSCRIPTION: Final = "transcription"
FAILED: Final = "transcription-failed"
TIMEOUT: Final = "transcription-timeout"
UNSURE: Final = "transcription-unsure"
_MOST_KEPT: Final = 256


@dataclass(frozen=True)
class Words:
    """
    What was heard in a clip.

    `confidence` is the mean probability of the tokens, and `no_speech` that nothing was said; None where the
    transcriber does not tell.
    """

    text: str = field(repr=False)
    confidence: float | None
    no_speech: float | None = None


Said = Words | TranscribeFailed


class ClipTranscriber(Protocol):
    """Hears clips, from within an event loop."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def sha256(self) -> str:
        """Digest of what decides its words; empty where nobody knows."""

    @property
    def ears(self) -> EarsManifest | None:
        """What it has loaded, and how it decodes; None where nobody knows."""

    @property
    def down(self) -> bool:
        """Whether it hears nothing now."""

    async def hear(self, clip: Clip) -> Said:
        """Return what is said in a clip; it may take its time, and be cancelled meanwhile."""

    async def close(self) -> None:
        """Give back what it holds of the event loop."""


@dataclass(frozen=True)
class Heard:
    """
    A request after its clips were heard.

    `outcomes` has for each clip why it does not count as heard, or nothing. `apart` has every part of its spoken turns
    by itself. `words` are the transcripts that were judged, by their sha256. Where `score` blocks, the request holds
    clips that nobody has heard.
    """

    request: ChatRequest
    score: ControlScore
    clips: tuple[SpokenClip, ...]
    outcomes: tuple[str, ...]
    seconds: float
    apart: tuple[str, ...] = ()
    words: Mapping[str, bytes] | None = None


class Hearing:
    """
    Hears the clips of requests to one model.

    The words of recent clips are remembered, as a client sends a conversation's earlier clips again with each turn.

    Args:
        transcriber: who listens.
        bounds: of the policy.
    """

    def __init__(self, transcriber: ClipTranscriber, bounds: GatewayAudioPolicy) -> None:
        self.transcriber = transcriber
        self.bounds = bounds
        self._known: OrderedDict[str, Words] = OrderedDict()

    async def hear(self, request: ChatRequest) -> Heard:
        """Return the request with the words of its clips; where one was not heard, why not."""
        began = time.monotonic()
        clips = {clip.sha256: clip for clip in request.clips}
        said = {sha256: self._known[sha256] for sha256 in clips if sha256 in self._known}
        asked = [clip for sha256, clip in clips.items() if sha256 not in said]
        found = dict(zip((clip.sha256 for clip in asked), await self._ask(asked), strict=True))
        for sha256, one in {**found, **said}.items():
            if isinstance(one, Words) and not doubt(clips[sha256], one, self.bounds):
                self._keep(sha256, one)
        seconds = round(time.monotonic() - began, 6)
        return with_words(request, {**found, **said}, self.bounds, seconds=seconds)

    async def _ask(self, clips: Sequence[Clip]) -> list[Said | None]:
        """Return what was said in each clip, None where it took too long."""
        tasks = [asyncio.ensure_future(self.transcriber.hear(clip)) for clip in clips]
        if not tasks:
            return []
        try:
            await asyncio.wait(tasks, timeout=self.bounds.timeout_s)
            return [_result(task) if task.done() else None for task in tasks]
        finally:
            for task in tasks:  # also where the request itself is cut short
                task.cancel()
                task.add_done_callback(_forget)

    def _keep(self, sha256: str, said: Words) -> None:
        self._known[sha256] = said
        self._known.move_to_end(sha256)
        if len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)


def doubt(clip: Clip, said: Words, bounds: GatewayAudioPolicy) -> str:
    """Return why a transcript does not count as heard, or nothing."""
    if not any(char.isalnum() for char in said.text):
        return "nothing was heard"
    if said.confidence is None or not bounds.min_confidence <= said.confidence <= 1:
        return "not sure enough"
    if said.no_speech is not None and not said.no_speech < bounds.max_no_speech:
        return "probably no speech"
    if len(said.text) > bounds.max_chars_per_s * max(clip.seconds, 1.0):
        return "more than can be said in this time"
    return ""


def with_words(
    request: ChatRequest, said: Mapping[str, Said | None], bounds: GatewayAudioPolicy, *, seconds: float = 0.0
) -> Heard:
    """
    Return a request with what was said in its clips.

    Args:
        request: as it was read.
        said: of each clip, by its sha256; None where it took too long.
        bounds: of the policy.
        seconds: how long it took.
    """
    notes = tuple(_note(clip, said[clip.sha256]) for clip in request.clips)
    outcomes = tuple(_reason(clip, said[clip.sha256], bounds) for clip in request.clips)
    reason = next(filter(None, outcomes), "")
    sure = [note.confidence for note in notes]
    known = [one for one in sure if one is not None]
    score = ControlScore(
        control=TRANSCRIPTION,
        direction="input",
        score=round(1 - min(known), 4) if len(known) == len(sure) else None,
        blocked=bool(reason),
        reason=reason,
    )
    if reason:
        return Heard(request, score, notes, outcomes, seconds)
    words = {sha256: one.text.strip() for sha256, one in said.items() if isinstance(one, Words)}
    pass_on = bounds.passes_on == "clip"
    apart = tuple(
        words[part.sha256] if isinstance(part, Clip) else part
        for message in request.messages
        for part in message.parts
    )
    return Heard(
        replace(
            request, messages=tuple(message.heard(words, pass_on=pass_on) for message in request.messages)
        ),
        score,
        notes,
        outcomes,
        seconds,
        apart,
        {sha256_bytes(text.encode()): text.encode() for text in words.values()},
    )


def _reason(clip: Clip, said: Said | None, bounds: GatewayAudioPolicy) -> str:
    if said is None:
        return TIMEOUT
    if not isinstance(said, Words):
        return FAILED
    return UNSURE if doubt(clip, said, bounds) else ""


def _note(clip: Clip, said: Said | None) -> SpokenClip:
    heard = said if isinstance(said, Words) else None
    text = heard.text.strip() if heard is not None else ""
    return SpokenClip(
        sha256=clip.sha256,
        format=clip.format,
        seconds=round(clip.seconds, 3),
        transcript_sha256=sha256_bytes(text.encode()) if text else None,
        confidence=_rounded(heard.confidence) if heard is not None else None,
        no_speech=_rounded(heard.no_speech) if heard is not None else None,
    )


def _forget(task: asyncio.Future[Said]) -> None:
    """Look at what came too late, so that nobody warns of it."""
    if not task.cancelled():
        task.exception()


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _result(task: asyncio.Future[Said]) -> Said:
    """What a transcriber said; whatever it raises instead is a failure."""
    if task.cancelled():
        return TranscribeFailed("cancelled")
    error = task.exception()
    if error is not None:
        return TranscribeFailed(type(error).__name__)
    said = task.result()
    return said if isinstance(said, Words | TranscribeFailed) else TranscribeFailed("no transcript")
