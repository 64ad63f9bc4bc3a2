"""Voices: what says a text aloud. Two are known here; others come as plugins by the entry point `recert.voices`."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final, Protocol

from recert.errors import InputError

GROUP: Final = "recert.voices"
"""Entry points of this group name classes that are made without arguments and are a `Voice`."""


class Voice(Protocol):
    """Says a text aloud, the same in every run."""

    @property
    def name(self) -> str:
        """What a policy calls it."""

    @property
    def engine(self) -> str:
        """What speaks, with version: another one may sound otherwise."""

    def say(self, text: str) -> bytes:
        """
        Return a text as a WAV file of 16 bits a sample.

        Raises:
            MissingExtraError: what speaks is not installed.
            ModelError: it failed.
        """


def open_voice(name: str) -> Voice:
    """
    Return a voice by its name: `espeak-ng`, `hibari`, or one of a plugin.

    Raises:
        InputError: there is no such voice, or a plugin cannot be loaded.
        MissingExtraError: the voice is not installed.
    """
    if name == "espeak-ng":
        from recert.models.speech.espeak import EspeakVoice

        return EspeakVoice()
    if name == "hibari":
        from recert.models.speech.hibari_voice import HibariVoice

        return HibariVoice()
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise InputError(
            "no such voice",
            facts={"voice": name, "there are": ", ".join(("espeak-ng", "hibari", *sorted(found)))},
        )
    try:
        made: Voice = found[name].load()()
    except (ImportError, AttributeError, TypeError) as exc:
        raise InputError("voice of a plugin cannot be loaded", facts={"voice": name, "because": exc}) from exc
    return made
