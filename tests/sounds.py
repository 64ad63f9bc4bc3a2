"""Small sound files for tests, made byte by byte: tones as WAV, and the shortest files of the other formats."""

from __future__ import annotations

import math
import struct


def wav_of(samples: list[int], *, rate: int = 16_000) -> bytes:
    """Return a mono WAV file of 16 bits a sample."""
    sound = struct.pack(f"<{len(samples)}h", *samples)
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tone(seconds: float = 0.1, *, hz: float = 440, rate: int = 16_000) -> bytes:
    """Return a sine tone as a WAV file."""
    count = int(seconds * rate)
    return wav_of([int(8_000 * math.sin(2 * math.pi * hz * n / rate)) for n in range(count)], rate=rate)


def flac_head(samples: int = 16_000, *, rate: int = 16_000) -> bytes:
    """Return a FLAC file's stream information and the beginning of a frame."""
    packed = (rate << 44) | (0 << 41) | (15 << 36) | samples
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + bytes([0x80]) + len(info).to_bytes(3, "big") + info + b"\xff\xf8"


def ogg_opus(samples: int = 48_000) -> bytes:
    """Return an Ogg file with an Opus header and one page of sound."""
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 312, 16_000, 0, 0)
    return _page(head, 0, 0) + _page(b"OpusTags" + bytes(8), 0, 1) + _page(b"\xfc" * 40, samples + 312, 2)


def mp3_frames(frames: int = 4) -> bytes:
    """Return MPEG-1 layer III frames of 128 kbit/s at 44.1 kHz, without sound in them."""
    return (b"\xff\xfb\x90\x00" + bytes(413)) * frames


def _page(body: bytes, position: int, number: int) -> bytes:
    lengths = [*[255] * (len(body) // 255), len(body) % 255]
    head = b"OggS" + struct.pack("<BBqIIIB", 0, 0, position, 7, number, 0, len(lengths))
    return head + bytes(lengths) + body
