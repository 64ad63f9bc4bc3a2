"""Conditions in which requests are spoken: the same prompts as in text, heard by both arms from the same bytes."""

from __future__ import annotations

from collections.abc import Callable

from recert.evaluation.measuring.conditions import Condition, ask_plain
from recert.models.speech.variants import spoken
from recert.models.speech.voices import Voice, open_voice
from recert.policy import SPEECH, SpeechPolicy
from recert.records.data.audio import AudioClip
from recert.records.data.suite import Chat, Message, Prompt
from recert.store.files.clips import ClipStore


class Speaker:
    """
    Says prompts aloud, each text and variant once.

    Args:
        policy: the voice, and the ways of speaking.
        clips: where the sound is kept that conversations name.
        voice: instead of the policy's.

    Raises:
        InputError: there is no such voice.
        MissingExtraError: the voice is not installed.
    """

    def __init__(self, policy: SpeechPolicy, clips: ClipStore, *, voice: Voice | None = None) -> None:
        self._policy, self._clips = policy, clips
        self.voice = voice or open_voice(policy.voice)
        self._said: dict[tuple[str, str], AudioClip] = {}

    def clip(self, text: str, variant: str) -> AudioClip:
        """
        Return the clip in which a text is spoken; its bytes are in the store.

        Raises:
            ModelError: the voice failed.
            StoreError: the clip cannot be kept.
        """
        key = text, variant
        if key not in self._said:
            self._said[key] = self._clips.put(spoken(text, variant, self.voice))
        return self._said[key]

    def conditions(self) -> list[Condition]:
        """Return one condition for each way of speaking, `speech:<name>`. System prompt and earlier turns stay text."""
        return [Condition(f"{SPEECH}{name}", self._asking(name)) for name in self._policy.variants]

    def _asking(self, variant: str) -> Callable[[Prompt, int], Chat]:
        def ask(prompt: Prompt, index: int) -> Chat:
            plain = ask_plain(prompt, index)
            said = Message(role="user", content="", audio=(self.clip(prompt.text, variant),))
            return Chat(messages=(*plain.messages[:-1], said), assistant_prefix=plain.assistant_prefix)

        return ask
