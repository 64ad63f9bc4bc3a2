"""What the header of a sound file says, read strictly: format, samples a second, length. Decodes no sound."""

from __future__ import annotations

from typing import Final

from recert.errors import InputError
from recert.records.data.audio import AudioFormat

Facts = tuple[AudioFormat, int, float]
"""Format, samples a second, seconds."""

_PCM: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
_WAV_BITS: Final = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
_MP3_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_OPUS_RATE: Final = 48_000
_LEAST_MP3_FRAMES: Final = 2
_LEAST_RATE, _MOST_RATE = 1_000, 384_000
_MOST_SECONDS: Final = 86_400


def read_header(data: bytes) -> Facts:
    """
    Return format, samples a second and seconds of a WAV, FLAC, Ogg (Opus, Vorbis) or MP3 file.

    Raises:
        InputError: it is none of them, is cut short or holds no sound, or its header contradicts its bytes.
    """
    if data[:4] == b"RIFF":
        found = _wav(data)
    elif data[:4] == b"fLaC":
        found = _flac(data)
    elif data[:4] == b"OggS":
        found = _ogg(data)
    else:
        found = _mp3(data)
    kind, rate, seconds = found
    if not _LEAST_RATE <= rate <= _MOST_RATE:
        raise _bad(kind, f"{rate} samples a second")
    if not 0 < seconds <= _MOST_SECONDS:
        raise _bad(kind, f"{seconds:.1f} seconds long")
    return found


def _wav(data: bytes) -> Facts:
    """One `fmt ` chunk, then one `data` chunk, each whole and inside a RIFF chunk of exactly the file's size."""
    if len(data) < 12 or data[8:12] != b"WAVE":
        raise _bad("wav", "no WAVE form")
    if _u32(data, 4) + 8 != len(data):
        raise _bad("wav", f"the header says {_u32(data, 4) + 8} bytes, the file has {len(data)}")
    at, form, sound = 12, None, None
    while at < len(data):
        if at + 8 > len(data):
            raise _bad("wav", "bytes after the last chunk")
        name, size = data[at : at + 4], _u32(data, at + 4)
        begin, at = at + 8, at + 8 + size + size % 2
        if at > len(data):
            raise _bad("wav", "a chunk ends behind the file")
        if name == b"fmt ":
            if form is not None:
                raise _bad("wav", "two format chunks")
            form = _wav_form(data[begin : begin + size])
        elif name == b"data":
            if form is None or sound is not None:
                raise _bad("wav", "sound without a format before it, or twice")
            sound = size
    if form is None or not sound:
        raise _bad("wav", "no sound")
    rate, frame = form
    if sound % frame:
        raise _bad("wav", "sound ends within a sample")
    return "wav", rate, round(sound / frame / rate, 6)


def _wav_form(said: bytes) -> tuple[int, int]:
    """Samples a second and bytes of one sample of all channels."""
    if len(said) < 16:
        raise _bad("wav", "format chunk is too short")
    kind, channels, bits = _u16(said, 0), _u16(said, 2), _u16(said, 14)
    if kind == _EXTENSIBLE and len(said) >= 26:
        kind = _u16(said, 24)
    rate, frame = _u32(said, 4), _u16(said, 12)
    if bits not in _WAV_BITS.get(kind, ()) or channels not in (1, 2):
        raise _bad("wav", f"coding {kind}, {channels} channels, {bits} bits")
    if frame != channels * bits // 8 or _u32(said, 8) != rate * frame or not rate:
        raise _bad("wav", "format chunk contradicts itself")
    return rate, frame


def _flac(data: bytes) -> Facts:
    if len(data) < 4 + 4 + 34 + 2 or data[4] & 0x7F != 0 or int.from_bytes(data[5:8], "big") != 34:
        raise _bad("flac", "no stream information")
    packed = int.from_bytes(data[18:26], "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    if not rate or not samples:
        raise _bad("flac", "length is not given")
    return "flac", rate, round(samples / rate, 6)


def _ogg(data: bytes) -> Facts:
    """Pages one after the other without a gap, of one stream; the last one's position is the length."""
    at, stream, first, position = 0, None, b"", 0
    while at < len(data):
        if data[at : at + 4] != b"OggS" or at + 27 > len(data) or data[at + 4]:
            raise _bad("ogg", "a page does not begin where the one before ends")
        pieces = data[at + 26]
        body = at + 27 + pieces
        end = body + sum(data[at + 27 : body])
        if end > len(data) or body > len(data):
            raise _bad("ogg", "a page ends behind the file")
        if stream not in (None, data[at + 14 : at + 18]):
            raise _bad("ogg", "more than one stream")
        stream = data[at + 14 : at + 18]
        first = first or data[body:end]
        said = int.from_bytes(data[at + 6 : at + 14], "little", signed=True)
        position, at = max(position, said), end
    if first[:8] == b"OpusHead" and len(first) >= 19:
        samples, rate = position - _u16(first, 10), _OPUS_RATE
    elif first[:7] == b"\x01vorbis" and len(first) >= 30:
        samples, rate = position, _u32(first, 12)
    else:
        raise _bad("ogg", "neither Opus nor Vorbis")
    return "ogg", rate, round(samples / rate, 6) if rate else 0.0


def _mp3(data: bytes) -> Facts:
    """Layer III frames one after the other up to the end, after an ID3v2 tag and before an ID3v1 tag."""
    at, end, samples, rate = 0, len(data), 0, 0
    if data[:3] == b"ID3" and len(data) > 10:
        at = 10 + sum((data[6 + n] & 0x7F) << 7 * (3 - n) for n in range(4))
    if data[-128:-125] == b"TAG":
        end -= 128
    frames = 0
    while at < end:
        frame = _mp3_frame(data[at : at + 4])
        if frame is None:
            if frames:
                raise _bad("mp3", "a frame does not begin where the one before ends")
            raise InputError(
                "not a sound file", hint="give a WAV, MP3, FLAC or Ogg file; convert others with ffmpeg"
            )
        size, count, its_rate = frame
        if rate not in (0, its_rate):
            raise _bad("mp3", "samples a second change")
        at, rate, samples, frames = at + size, its_rate, samples + count, frames + 1
    if at > end or frames < _LEAST_MP3_FRAMES:
        raise _bad("mp3", "last frame is cut short, or there are too few")
    return "mp3", rate, round(samples / rate, 6)


def _mp3_frame(head: bytes) -> tuple[int, int, int] | None:
    """Bytes, samples and samples a second of the frame that begins with these four bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # sync, layer III
        return None
    edition, kbits, rate_at = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if edition not in _MP3_RATES or kbits in (0, 15) or rate_at == 3:
        return None
    rate = _MP3_RATES[edition][rate_at]
    first = edition == 3
    bits = 1000 * (_MP3_KBITS_1 if first else _MP3_KBITS_2)[kbits]
    return (144 if first else 72) * bits // rate + (head[2] >> 1 & 1), 1152 if first else 576, rate


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _bad(kind: str, because: str) -> InputError:
    return InputError(
        "sound file is damaged, or of a kind that is not read", facts={"format": kind, "because": because}
    )
