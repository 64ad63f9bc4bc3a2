"""The ears that the project ships: Whisper tiny.en, its encoder, and its own requests spoken when they are needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Final

from recert.models.audio.encoder import SpeechEncoder, shared_speech_encoder
from recert.models.audio.states import KeptStates
from recert.models.sentence_encoder import shared_encoder
from recert.models.speech.transcribing import Remembering, WhisperTranscriber
from recert.models.speech.voices import Voice
from recert.records.data.audio import AudioClip
from recert.screening.audio.closeness import HarmfulSpeech, harmful_speech
from recert.screening.audio.rows import Ears, Sentences

REFERENCES: Final = 60
"""Requests of each kind that are spoken, to hold rows against."""


def packaged_ears(read_clip: Callable[[AudioClip], bytes], voice: Voice) -> Ears:
    """
    Return ears of the packaged Whisper. Harmful speech is made by a voice from the project's suites, about 15 s.

    Args:
        read_clip: gives a clip's bytes.
        voice: says the requests that rows are held against.

    Raises:
        MissingExtraError: a model or the voice is not installed.
        ModelError: one of them cannot be loaded.
    """
    encoder, sentences = KeptStates(shared_speech_encoder()), shared_encoder().encode
    held = spoken_references(voice, encoder, sentences)
    return Ears(Remembering(WhisperTranscriber()), read_clip, encoder, sentences, held)


def spoken_references(voice: Voice, encoder: SpeechEncoder, sentences: Sentences) -> HarmfulSpeech:
    """
    Return harmful requests of the alignment part as an encoder hears them from a voice, with ordinary ones beside.

    Raises:
        ModelError: the voice or the encoder failed.
    """
    harmful, ordinary = (_requests(name) for name in ("harmful", "ordinary"))
    heard = [[encoder.states(voice.say(text)) for text in texts] for texts in (harmful, ordinary)]
    return harmful_speech(sentences(harmful), heard[0], heard[1])


def _requests(name: str) -> list[str]:
    text = files("recert").joinpath("assets", "suites", f"{name}.jsonl").read_text(encoding="utf-8")
    rows = [row for row in map(json.loads, text.splitlines()) if row["part"] == "alignment"]
    step = max(1, len(rows) // REFERENCES)
    return [row["text"] for row in rows[::step]][:REFERENCES]
