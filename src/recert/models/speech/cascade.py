"""
A transcriber before a model that reads: how most products hear today.

What the text model is asked is the message's own text, then what was heard in each clip, each in a line of its own and
nothing around it. A request that is only spoken, and heard without an error, is asked exactly as its text would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recert.errors import ModelError
from recert.models.protocol import Done, Generation, Model, Sampling
from recert.models.speech.transcribing import Remembering, Transcriber, Transcript
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Message
from recert.records.live.transcriber import EarsManifest
from recert.store.files.clips import ClipStore

UNHEARD: Final = "unheard"
"""The stop reason of a reply that was not made because a clip was not heard. It is empty, and never counts as safe."""


class CascadeModel:
    """
    Transcribes the clips of each message and asks a text model with what was heard.

    A conversation with a clip in which nothing was heard is not asked: its reply is empty, with the stop reason
    `unheard`, which evaluation counts as no answer and never as a refusal.

    Files and fingerprint are the text model's alone, so that what is certified is the folder that will be served.
    What listens is named apart, by `ears`; the engine names its fingerprint, so that no reply is taken for one that was
    heard otherwise.

    Args:
        transcriber: who hears.
        text_model: who answers.
        clips: where the sound lies that messages name.
    """

    def __init__(
        self, transcriber: Transcriber, text_model: Model, *, clips: ClipStore | None = None
    ) -> None:
        self.transcriber = transcriber if isinstance(transcriber, Remembering) else Remembering(transcriber)
        self.text_model = text_model
        self.ears: EarsManifest | None = self.transcriber.ears
        """What listens, by its files; None where it shows none."""
        self._clips = clips or ClipStore()
        self.name = f"{transcriber.name}+{text_model.name}"
        heard_by = f"{transcriber.engine} ({self.transcriber.fingerprint()})"
        self.engine = f"cascade/2 {heard_by} + {text_model.engine}"

    @property
    def manifest(self) -> Manifest | None:
        """Files of the text model; None where it has none."""
        return self.text_model.manifest

    @property
    def template_sha256(self) -> str | None:
        """The chat template of the text model; None where its engine does not show it."""
        return getattr(self.text_model, "template_sha256", None)

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order.

        Raises:
            ModelError: the text model did not answer.
            StoreError: a clip is not there, or is another one.
        """
        read = self.read(chats)
        asked = [(place, one) for place, one in enumerate(read) if one is not None]
        out = [Generation("", UNHEARD, 0) for _ in chats]
        ended: Done | None = None if done is None else (lambda at, text: done(asked[at][0], text))
        try:
            replies = (
                self.text_model.generate([one for _, one in asked], sampling, done=ended) if asked else []
            )
        except ModelError as exc:
            exc.made = {asked[at][0]: reply for at, reply in exc.made.items()}
            raise
        for (place, _), reply in zip(asked, replies, strict=True):
            out[place] = reply
        return out

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return how likely the text model is to go on like that; minus infinity after a clip that was not heard.

        Raises:
            ModelError: the engine cannot tell, or a continuation has no tokens.
            StoreError: a clip is not there, or is another one.
        """
        read = self.read([one for one, _ in pairs])
        known = [(one, text) for one, (_, text) in zip(read, pairs, strict=True) if one is not None]
        said = iter(self.text_model.log_probs(known) if known else [])
        return [float("-inf") if one is None else next(said) for one in read]

    def fingerprint(self) -> str:
        """
        Return the text model's fingerprint; the transcriber has its own.

        Raises:
            ModelError: the text model did not answer.
        """
        return self.text_model.fingerprint()

    def read(self, chats: Sequence[Chat]) -> list[Chat | None]:
        """
        Return conversations as the text model is asked; None for one with a clip in which nothing was heard.

        Raises:
            StoreError: a clip is not there, or is another one.
        """
        named = {clip.sha256: clip for one in chats for m in one.messages for clip in m.audio or ()}
        heard = self.transcriber.transcribe([self._clips.read(clip) for clip in named.values()])
        texts = {
            key: said.text for key, said in zip(named, heard, strict=True) if isinstance(said, Transcript)
        }
        return [_as_text(one, texts) for one in chats]


def _as_text(one: Chat, heard: dict[str, str]) -> Chat | None:
    messages = []
    for message in one.messages:
        spoken = [heard.get(clip.sha256, "") for clip in message.audio or ()]
        if not all(text.strip() for text in spoken):
            return None
        own = [message.content] if message.content else []
        messages.append(Message(role=message.role, content="\n".join([*own, *spoken])))
    return Chat(messages=tuple(messages), assistant_prefix=one.assistant_prefix)
