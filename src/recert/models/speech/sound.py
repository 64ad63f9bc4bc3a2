"""Sound as numbers: WAV files to samples and back, other rates, other speeds, other pitches."""

from __future__ import annotations

import io
import wave
from typing import Final

from recert.errors import InputError
from recert.models.speech.numeric import NDArray, np
from recert.store.files.clip_headers import read_header

Samples = NDArray[np.float64]
"""One channel of sound, in [-1, 1]."""

RATE_HZ: Final = 16_000
"""Samples a second of everything that is spoken here, which is what speech models read."""

_WINDOW_S: Final = 0.04
_SEEK_S: Final = 0.01


def from_wav(data: bytes, *, rate_hz: int = RATE_HZ) -> Samples:
    """
    Return the samples of a 16 bit WAV file, both channels as one, at the rate asked for.

    Raises:
        InputError: it is no whole WAV file, or has other than 16 bits a sample.
    """
    read_header(data)
    try:
        with wave.open(io.BytesIO(data)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as exc:
        raise InputError("not a WAV file of whole numbers", facts={"because": exc}) from exc
    if width != 2:
        raise InputError("WAV file needs 16 bits a sample", facts={"bits": 8 * width})
    samples = np.frombuffer(raw, "<i2").astype(np.float64).reshape(-1, channels).mean(axis=1) / 32_768
    return resampled(samples, rate, rate_hz)


def to_wav(samples: Samples) -> bytes:
    """Return samples as a WAV file: 16 kHz, mono, 16 bits; what is too loud is cut off."""
    whole = np.clip(np.round(samples * 32_767), -32_768, 32_767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(whole.tobytes())
    return file.getvalue()


def resampled(samples: Samples, rate_hz: int, to_hz: int) -> Samples:
    """Return the same sound at another number of samples a second; what it cannot hold is left out."""
    if rate_hz == to_hz or not len(samples):
        return samples
    count = max(1, round(len(samples) * to_hz / rate_hz))
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(count // 2 + 1, dtype=np.complex128)
    most = min(len(spectrum), len(kept))
    kept[:most] = spectrum[:most]
    out: Samples = np.fft.irfft(kept, count) * (count / len(samples))
    return out


def stretched(samples: Samples, factor: float) -> Samples:
    """
    Return the sound `factor` times as long, at the same pitch: pieces overlap where they fit best (WSOLA).

    Sounds shorter than two pieces come back as they are.
    """
    window, seek = int(_WINDOW_S * RATE_HZ), int(_SEEK_S * RATE_HZ)
    hop = window // 2
    if factor == 1 or len(samples) < 2 * window:
        return samples
    shape = np.hanning(window)
    count = int(len(samples) * factor) // hop
    out = np.zeros((count + 2) * hop)
    padded = np.concatenate([samples, np.zeros(2 * window + seek)])
    wanted = padded[:window]
    for piece in range(count):
        about = min(int(piece * hop / factor), len(samples) - 1)
        first = max(0, about - seek)
        near = padded[first : about + seek + window]
        fits = np.correlate(near, wanted, mode="valid")
        at = first + int(np.argmax(fits))
        out[piece * hop : piece * hop + window] += padded[at : at + window] * shape
        following = padded[at + hop : at + hop + window]
        wanted = np.concatenate([following, np.zeros(window - len(following))])
    return out[: int(len(samples) * factor)]


def pitched(samples: Samples, semitones: float) -> Samples:
    """Return the sound higher or lower by semitones, as long as before; too short a sound comes back as it is."""
    if len(samples) < 2 * int(_WINDOW_S * RATE_HZ):
        return samples
    ratio = 2 ** (semitones / 12)
    return resampled(stretched(samples, ratio), RATE_HZ, round(RATE_HZ / ratio))


def silence(seconds: float) -> Samples:
    """Return silence."""
    return np.zeros(int(seconds * RATE_HZ))
