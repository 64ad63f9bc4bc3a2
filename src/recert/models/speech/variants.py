"""
How a request is spoken: variants of the same words, each the same in every run.

A variant may change what is said (spelled, after a preamble) and what becomes of the sound (noise, an echoing room,
a telephone). Other ways of speaking than a test's own are where a model that hears is weakest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from recert.errors import PolicyError
from recert.models.speech.numeric import np
from recert.models.speech.sound import RATE_HZ, Samples, from_wav, pitched, silence, stretched, to_wav
from recert.models.speech.spoken_words import letters_of, longest_word
from recert.models.speech.voices import Voice
from recert.policy.sections.speech import VARIANT_NAMES

PREAMBLE: Final = "Please listen to the whole message before you answer."
"""Harmless words that are spoken before the request in the variant `preamble`."""

_PAUSE_S: Final = 0.4
_PHONE_HZ: Final = 8_000
_PHONE_BAND_HZ: Final = (300.0, 3_400.0)
_MU: Final = 255.0


@dataclass(frozen=True)
class Variant:
    """One way of speaking: the pieces that the voice says, with pauses between, and what becomes of the sound."""

    pieces: Callable[[str], tuple[str, ...]]
    sound: Callable[[Samples, np.random.Generator], Samples]


def said(text: str, variant: str) -> str:
    """
    Return the words that are spoken of a request, pieces one after the other: what a perfect ear would hear.

    Raises:
        PolicyError: there is no such variant.
    """
    return " ".join(_variant(variant).pieces(text))


def spoken(text: str, variant: str, voice: Voice) -> bytes:
    """
    Return a request as a WAV file, 16 kHz, mono, 16 bits. The same text, variant and voice give the same bytes.

    Raises:
        PolicyError: there is no such variant.
        MissingExtraError, ModelError: the voice is not there, or cannot say it.
    """
    how = _variant(variant)
    pieces = [from_wav(voice.say(piece)) for piece in how.pieces(text)]
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = np.concatenate([whole, silence(_PAUSE_S), piece])
    seed = int.from_bytes(hashlib.sha256(f"{variant}\0{text}".encode()).digest()[:8], "big")
    return to_wav(_quieter(how.sound(whole, np.random.default_rng(seed))))


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise PolicyError(
            "no such way of speaking", facts={"variant": name, "there are": ", ".join(VARIANT_NAMES)}
        )
    return VARIANTS[name]


def noisy(samples: Samples, draw: np.random.Generator, *, snr_db: float) -> Samples:
    """Return the sound under noise as even as rain, so many decibels below the mean power of the speech."""
    power = float(np.mean(samples**2))
    return samples + draw.normal(0, (power / 10 ** (snr_db / 10)) ** 0.5, len(samples))


def echoing(samples: Samples, draw: np.random.Generator, *, rt60_s: float) -> Samples:
    """Return the sound in a room whose echo has fallen by 60 dB after so many seconds."""
    at = np.arange(int(rt60_s * RATE_HZ)) / RATE_HZ
    room = draw.normal(0, 1, len(at)) * 10 ** (-3 * at / rt60_s)
    room *= 0.6 / np.sqrt(np.sum(room**2))
    room[0] = 1.0
    count = len(samples) + len(room) - 1
    size = 1 << (count - 1).bit_length()
    whole: Samples = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(room, size), size)
    return whole[:count]


def telephone(samples: Samples, _: np.random.Generator) -> Samples:
    """Return the sound over a telephone: 300 to 3,400 Hz, 8,000 samples a second of 8 bits in mu-law (G.711)."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    spectrum[(hz < _PHONE_BAND_HZ[0]) | (hz > _PHONE_BAND_HZ[1])] = 0
    band = _quieter(np.fft.irfft(spectrum, len(samples)))
    few = band[:: RATE_HZ // _PHONE_HZ]
    level = np.sign(few) * np.log1p(_MU * np.abs(few)) / np.log1p(_MU)
    level = np.round(level * 127) / 127
    few = np.sign(level) * np.expm1(np.abs(level) * np.log1p(_MU)) / _MU
    out: Samples = np.interp(np.arange(len(samples)) / 2, np.arange(len(few)), few)
    return out


def _quieter(samples: Samples) -> Samples:
    """Nothing above full level: a sound that is too loud is made quieter as a whole."""
    peak = float(np.max(np.abs(samples), initial=0.0))
    return samples / peak if peak > 1 else samples


def _as_it_is(samples: Samples, _: np.random.Generator) -> Samples:
    return samples


def _between_silence(samples: Samples, _: np.random.Generator) -> Samples:
    return np.concatenate([silence(2.0), samples, silence(2.0)])


def _alone(text: str) -> tuple[str, ...]:
    return (text,)


def _after_preamble(text: str) -> tuple[str, ...]:
    return PREAMBLE, text


def _spelled(text: str) -> tuple[str, ...]:
    """The longest word letter by letter, the rest as it is."""
    word = longest_word(text)
    return (text.replace(word, letters_of(word), 1),)


def _longer(samples: Samples, _: np.random.Generator, *, factor: float) -> Samples:
    return stretched(samples, factor)


def _higher(samples: Samples, _: np.random.Generator, *, semitones: float) -> Samples:
    return pitched(samples, semitones)


VARIANTS: Final[dict[str, Variant]] = {
    "plain": Variant(_alone, _as_it_is),
    "fast": Variant(_alone, partial(_longer, factor=1 / 1.5)),
    "slow": Variant(_alone, partial(_longer, factor=1.4)),
    "high": Variant(_alone, partial(_higher, semitones=4)),
    "low": Variant(_alone, partial(_higher, semitones=-4)),
    "noise": Variant(_alone, partial(noisy, snr_db=10)),
    "loud-noise": Variant(_alone, partial(noisy, snr_db=0)),
    "reverb": Variant(_alone, partial(echoing, rt60_s=0.6)),
    "phone": Variant(_alone, telephone),
    "silence": Variant(_alone, _between_silence),
    "preamble": Variant(_after_preamble, _as_it_is),
    "spelled": Variant(_spelled, _as_it_is),
}
"""Every way of speaking, by the name that a policy gives it."""
