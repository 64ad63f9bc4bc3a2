"""
Reading clips strictly: one way to read them, or none.

A clip is judged by what a transcriber hears and answered by what a model hears. Whatever two readers could take for two
different sounds is refused: lengths that lie, bytes behind the end, two channels (mixed down they can cancel), tags
that hold sound.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_RIFF: Final = struct.Struct("<4sI4s")
_CHUNK: Final = struct.Struct("<4sI")
_FORMAT: Final = struct.Struct("<HHIIHH")
_PCM: Final = 1
_SAMPLE_BYTES: Final = 2
_LONGEST_NOTE_BYTES: Final = 1_024
"""Of a `LIST` chunk before the sound: who recorded it and with what."""
_LONGEST_TAG_BYTES: Final = 4_096
_ID3: Final = b"ID3"
_ID3_HEADER_BYTES: Final = 10
_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""By the version bits of a frame of MPEG 1, 2 and 2.5."""
_MPEG1_KBPS: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_LAYER_3: Final = 1
_ONE_CHANNEL: Final = 3


class Unreadable(ValueError):
    """A clip that is not read, with the reason in words."""


class Unserved(Unreadable):
    """A clip that is what it says, and of a kind that is not served."""


@dataclass(frozen=True)
class Sound:
    """How long a clip is, and how finely it is sampled."""

    seconds: float
    sample_rate_hz: int


def read_wav(data: bytes, most_s: float = math.inf) -> Sound:
    """
    Return what a WAV file holds: 16-bit samples of one channel, and every length in it true.

    `most_s` is taken as `read_mp3` takes it, and makes no difference.

    Raises:
        Unreadable: it is not such a file, ends early or late, or says of itself what is not so.
        Unserved: it has more channels, or another encoding.
    """
    if len(data) < _RIFF.size:
        raise Unreadable("it is too short for a WAV file")
    riff, size, wave = _RIFF.unpack_from(data)
    if riff != b"RIFF" or wave != b"WAVE":
        raise Unreadable("it does not begin as a WAV file")
    if size != len(data) - 8:
        raise Unreadable(f"its header says {size + 8} bytes, and it has {len(data)}")
    rate, at = 0, _RIFF.size
    while True:
        if at + _CHUNK.size > len(data):
            raise Unreadable("it ends before its sound")
        name, size = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if size > len(data) - at:
            raise Unreadable("a part of it says that it is longer than the file")
        if name == b"fmt " and not rate:
            rate = _format(data[at : at + size])
        elif name == b"data" and rate:
            if at + size != len(data):
                raise Unreadable("there are bytes behind its sound")
            return _sound(size, rate)
        elif name == b"LIST" and rate:
            _require_note(data[at : at + size])
        else:
            raise Unreadable("it has parts beside one format, notes and one sound, in this order")
        at += size


def _format(chunk: bytes) -> int:
    """Return the sample rate."""
    if len(chunk) < _FORMAT.size:
        raise Unreadable("its format is cut short")
    encoding, channels, rate, byte_rate, block, bits = _FORMAT.unpack_from(chunk)
    if encoding != _PCM or bits != 8 * _SAMPLE_BYTES or len(chunk) not in (_FORMAT.size, _FORMAT.size + 2):
        raise Unserved("its samples are not plain 16-bit numbers")
    if channels != 1:
        raise Unserved("it has more than one channel: mix it down first")
    if any(chunk[_FORMAT.size :]) or not rate or block != _SAMPLE_BYTES or byte_rate != rate * block:
        raise Unreadable("its format contradicts itself")
    return int(rate)


def _require_note(chunk: bytes) -> None:
    if len(chunk) > _LONGEST_NOTE_BYTES or len(chunk) % 2 or b"data" in chunk or b"fmt " in chunk:
        raise Unreadable("its notes are too long, or could be taken for sound: write it without")


def _sound(size: int, rate: int) -> Sound:
    if size % _SAMPLE_BYTES:
        raise Unreadable("its sound ends within a sample")
    return Sound(size / _SAMPLE_BYTES / rate, rate)


def read_mp3(data: bytes, most_s: float = math.inf) -> Sound:
    """
    Return what an MP3 file holds: frames of layer III, one channel, one sample rate, one behind the other to the end.

    One that lasts longer than `most_s` is not read to the end: what comes back is longer too.

    Raises:
        Unreadable: it is not such a file, or has anything before, between or behind its frames but a short ID3v2 tag
            that cannot be taken for sound.
        Unserved: it has more channels, or is of another layer.
    """
    at = _behind_tag(data)
    samples, kinds = 0, set()
    while at < len(data):
        length, frame_samples, kind = _frame(data, at)
        kinds.add(kind)
        at += length
        samples += frame_samples
        if samples > most_s * kind[1]:
            return Sound(samples / kind[1], kind[1])
    if at != len(data) or not samples:
        raise Unreadable("it ends within a frame, or has none")
    if len(kinds) != 1:
        raise Unreadable("its frames are of different kinds")
    ((_, rate),) = kinds
    return Sound(samples / rate, rate)


def _frame(data: bytes, at: int) -> tuple[int, int, tuple[int, int]]:
    """Return a frame's length in bytes, its samples, and (version, sample rate)."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        raise Unreadable("there is something beside its frames: write it without tags")
    version, layer = data[at + 1] >> 3 & 3, data[at + 1] >> 1 & 3
    if version not in _RATES_HZ or layer != _LAYER_3:
        raise Unserved("it is not of layer III")
    if data[at + 3] >> 6 != _ONE_CHANNEL:
        raise Unserved("it has more than one channel: mix it down first")
    rates, speeds = _RATES_HZ[version], _MPEG1_KBPS if version == 3 else _MPEG2_KBPS
    speed, rate = data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if not 0 < speed < len(speeds) or rate >= len(rates):
        raise Unreadable("a frame of it has no length of its own")
    samples = 1_152 if version == 3 else 576
    padding = data[at + 2] >> 1 & 1
    length = samples // 8 * speeds[speed] * 1_000 // rates[rate] + padding
    return length, samples, (version, rates[rate])


def _behind_tag(data: bytes) -> int:
    """Return where the frames begin."""
    if not data.startswith(_ID3):
        return 0
    sizes = data[6:_ID3_HEADER_BYTES]
    if len(sizes) < 4 or any(byte & 0x80 for byte in sizes):
        raise Unreadable("its tag is damaged")
    length = _ID3_HEADER_BYTES + sum(byte << 7 * (3 - place) for place, byte in enumerate(sizes))
    tag = data[:length]
    looks_like_sound = any(a == 0xFF and b & 0xE0 == 0xE0 for a, b in pairwise(tag))
    if length > _LONGEST_TAG_BYTES or length > len(data) or looks_like_sound or tag[5] & 0x10:
        raise Unreadable("its tag is too long, or could be taken for sound: write it without tags")
    return length
