"""Spoken parts of a request: what a clip is, within which bounds, and what becomes of it once it was heard."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Final

from recert.digest import sha256_bytes
from recert.errors import GatewayError
from recert.gateway.audio.sound import Unreadable, Unserved, read_mp3, read_wav
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.values import invalid, read_object_of
from recert.policy.sections.gateway_audio import GatewayAudioPolicy

AUDIO_PART: Final = "input_audio"
MALFORMED: Final = "audio_malformed"
NOT_BASE64: Final = "audio_not_base64"
FORMAT: Final = "audio_format"
TOO_LARGE: Final = "audio_too_large"
TOO_LONG: Final = "audio_too_long"
TOO_SHORT: Final = "audio_too_short"
SAMPLE_RATE: Final = "audio_sample_rate"
TOO_MANY: Final = "too_many_clips"
UNHEARD: Final = "unheard"
_READERS: Final = {"wav": read_wav, "mp3": read_mp3}


@dataclass(frozen=True)
class Clip:
    """
    A clip as it came, within every bound, and the words that were heard in it.

    `words` is None until a transcriber has heard it: then it cannot go on to a model.
    """

    data: bytes = field(repr=False)
    encoded: str = field(repr=False)
    """The same bytes as base64: only one text stands for them."""
    format: str
    seconds: float
    sample_rate_hz: int
    sha256: str
    words: str | None = field(default=None, repr=False)

    def to_value(self) -> dict[str, Any]:
        """
        Return what the model gets.

        Raises:
            GatewayError: `unheard`.
        """
        if self.words is None:
            raise GatewayError(UNHEARD, "a clip that nobody has heard is not passed on")
        return {"type": AUDIO_PART, AUDIO_PART: {"data": self.encoded, "format": self.format}}


class ClipReader:
    """
    Reads the clips of one request, and counts them.

    Args:
        bounds: of the policy.
    """

    def __init__(self, bounds: GatewayAudioPolicy) -> None:
        self._bounds = bounds
        self.clips: list[Clip] = []
        """Those that were read, in order."""

    def read(self, part: dict[str, Any], where: str) -> Clip:
        """
        Return the clip of a content part.

        Raises:
            BadRequest: it is not understood, is not what it says, or is beyond a bound.
        """
        where = f"{where}.{AUDIO_PART}"
        if set(part) != {"type", AUDIO_PART}:
            raise BadRequest(f"{where} has unknown fields beside it", param=where, code="unknown_field")
        given = read_object_of(part[AUDIO_PART], where, frozenset({"data", "format"}))
        encoded, form = given.get("data"), given.get("format")
        bounds = self._bounds
        if form not in bounds.formats:
            served = ", ".join(bounds.formats)
            raise BadRequest(f"{where}.format must be one of: {served}", param=f"{where}.format", code=FORMAT)
        if not isinstance(encoded, str) or not encoded:
            invalid(f"{where}.data", "a text in base64")
        if len(self.clips) >= bounds.max_clips:
            raise BadRequest(f"at most {bounds.max_clips} clips a request", param=where, code=TOO_MANY)
        if len(encoded) > 4 * (bounds.max_clip_bytes // 3 + 1):
            raise _too_large(where, bounds)
        data = _decode(encoded, where)
        if len(data) > bounds.max_clip_bytes:
            raise _too_large(where, bounds)
        clip = self._measured(data, encoded, str(form), where)
        self.clips.append(clip)
        return clip

    def _measured(self, data: bytes, encoded: str, form: str, where: str) -> Clip:
        bounds = self._bounds
        try:
            sound = _READERS[form](data, bounds.max_clip_s)
        except Unserved as exc:
            raise BadRequest(f"{where} is not served: {exc}", param=where, code=FORMAT) from exc
        except Unreadable as exc:
            raise BadRequest(f"{where} is not read: {exc}", param=where, code=MALFORMED) from exc
        if not bounds.min_sample_rate_hz <= sound.sample_rate_hz <= bounds.max_sample_rate_hz:
            raise BadRequest(
                f"{where} must have {bounds.min_sample_rate_hz} to {bounds.max_sample_rate_hz} samples a second",
                param=where,
                code=SAMPLE_RATE,
            )
        if sound.seconds < bounds.min_clip_s:
            raise BadRequest(
                f"{where} must last {bounds.min_clip_s:g} s at least", param=where, code=TOO_SHORT
            )
        total = sound.seconds + sum(clip.seconds for clip in self.clips)
        if sound.seconds > bounds.max_clip_s or total > bounds.max_total_s:
            raise BadRequest(
                f"{where}: a clip may last {bounds.max_clip_s:g} s, and all of a request {bounds.max_total_s:g} s",
                param=where,
                code=TOO_LONG,
            )
        return Clip(data, encoded, form, sound.seconds, sound.sample_rate_hz, sha256_bytes(data))


def _decode(encoded: str, where: str) -> bytes:
    """Base64 in its one canonical spelling: other readers would make other bytes of what is lenient here."""
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as exc:
        raise BadRequest(f"{where}.data is not base64", param=f"{where}.data", code=NOT_BASE64) from exc
    last = base64.b64encode(data[len(data) - 1 - (len(data) - 1) % 3 :]).decode("ascii") if data else ""
    if len(encoded) != 4 * -(-len(data) // 3) or encoded[-4:] != last:  # the last letters may hide bits
        raise BadRequest(
            f"{where}.data is not base64 as it is written", param=f"{where}.data", code=NOT_BASE64
        )
    return data


def _too_large(where: str, bounds: GatewayAudioPolicy) -> BadRequest:
    return BadRequest(
        f"{where} may have {bounds.max_clip_bytes} bytes", param=where, code=TOO_LARGE, status=413
    )
