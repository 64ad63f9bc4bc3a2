"""
An audio language model of local files: a text model that hears clips through an encoder and a projector.

Chats without clips take the very path that they take on the base, so that their logits are the base's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from recert.digest import sha256_bytes
from recert.errors import ModelError
from recert.models.audio.decoding import HeardRows, heard_log_probs
from recert.models.audio.encoder import SpeechEncoder
from recert.models.audio.folder import ADAPTER_FOLDER, AudioConfig, read_config, read_projector
from recert.models.audio.projector import Projector
from recert.models.engines.decoding import decode_batch
from recert.models.engines.local import LocalModel
from recert.models.protocol import Done, Generation, Sampling
from recert.records.data.audio import AudioClip
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Message, chat
from recert.store.files.model_copies import model_files

ReadClip = Callable[[AudioClip], bytes]
"""Gives the bytes of a clip, such as `ClipStore.read`."""

Heard = tuple[list[int], torch.Tensor]
"""A prompt: its tokens, those of clips as far as they were made out, and its embeddings, shape (tokens, numbers)."""

_PROBE_FRAMES = 48


class AudioLM(LocalModel):
    """
    A base that hears, alone or with an adapter. Use `AudioLM.open`.

    `manifest` names the files of projector and adapter; `base_manifest` those of the base, whose digest the
    configuration holds.
    """

    base_manifest: Manifest
    encoder: SpeechEncoder
    projector: Projector
    _read_clip: ReadClip

    @classmethod
    def open(
        cls,
        folder: Path,
        base_dir: Path,
        *,
        encoder: SpeechEncoder,
        read_clip: ReadClip,
        threads: int | None = None,
        name: str = "",
    ) -> AudioLM:
        """
        Load an audio model's folder on its base.

        Args:
            folder: as `write_audio_model` leaves it.
            base_dir: the base in the hub's layout.
            encoder: what hears.
            read_clip: gives the bytes of the clips that chats name.
            threads: for torch; by default `RECERT_THREADS` or the free cores.
            name: what people call it; by default the folder's name.

        Raises:
            InputError: a folder is missing, empty or holds links.
            ModelError: base or encoder are not those that the projector goes with, files cannot be loaded, or changed
                meanwhile.
        """
        with model_files(folder) as files:
            config = read_config(files.folder)
            base = LocalModel.load(base_dir, threads=threads)
            assert base.manifest is not None
            _check(config, base.manifest, encoder)
            inner = files.folder / ADAPTER_FOLDER
            arm = base.with_adapter(inner, copying="none") if inner.is_dir() else base
            model = cls(arm._weights, arm._adapter, name or folder.name, files.manifest)
            model.projector = read_projector(files.folder, config.projector)
        model.base_manifest, model.encoder, model._read_clip = base.manifest, encoder, read_clip
        model.engine = f"{base.engine} hearing {encoder.name}"
        return model

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order: spoken and written ones go in batches of their own, by length.

        Raises:
            ModelError: a clip cannot be heard, or a conversation is longer than the model's context.
        """
        spoken = [i for i, one in enumerate(chats) if is_spoken(one)]
        if not spoken:
            return super().generate(chats, sampling, done=done)
        out: dict[int, Generation] = {}
        written = sorted(set(range(len(chats))) - set(spoken))
        asked = (lambda at, text: done(written[at], text)) if done else None
        out |= zip(written, super().generate([chats[i] for i in written], sampling, done=asked), strict=True)
        heard = [self.hear(chats[i], sampling.max_new_tokens) for i in spoken]
        model, tokens = self._weights.model, self._weights.chats
        asked = (lambda at, text: done(spoken[at], text)) if done else None
        with self._active():
            replies = decode_batch(
                model,
                tokens,
                [ids for ids, _ in heard],
                sampling,
                asked,
                rows_of=lambda places: HeardRows(
                    model, [heard[i][1] for i in places], sampling.max_new_tokens
                ),
            )
        out |= zip(spoken, replies, strict=True)
        return [out[i] for i in range(len(chats))]

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return the log probability of each continuation, after written and spoken conversations.

        Raises:
            ModelError: a clip cannot be heard, a continuation has no tokens, or the whole is longer than the context.
        """
        spoken = [i for i, (one, _) in enumerate(pairs) if is_spoken(one)]
        if not spoken:
            return super().log_probs(pairs)
        out: dict[int, float] = {}
        written = sorted(set(range(len(pairs))) - set(spoken))
        out |= zip(written, super().log_probs([pairs[i] for i in written]), strict=True)
        chats = self._weights.chats
        following = [chats.tokens(chats.said(pairs[i][1])) for i in spoken]
        if not all(following):
            raise ModelError("continuation has no tokens")
        heard = [self.hear(pairs[i][0], len(f))[1] for i, f in zip(spoken, following, strict=True)]
        with self._active():
            out |= zip(spoken, heard_log_probs(self._weights.model, heard, following), strict=True)
        return [out[i] for i in range(len(pairs))]

    def hear(self, one: Chat, new_tokens: int = 1) -> Heard:
        """
        Return a conversation as the model reads it, each clip at its place inside the chat template.

        Raises:
            ModelError: a clip cannot be heard, the template does not show it, or there is no room in the context.
        """
        clips = [clip for message in one.messages for clip in message.audio or ()]
        pieces = split_at_clips(self._weights.chats.prompt(with_marks(one)), clips)
        states = [self.encoder.states(self._read_clip(clip)) for clip in clips]
        table = self._weights.model.get_input_embeddings()
        with torch.inference_mode():
            said = self.projector.embeddings(states, table.weight) if states else []
            ids: list[int] = []
            parts: list[torch.Tensor] = []
            for at, piece in enumerate(pieces):
                if read := self._weights.chats.tokens(piece):
                    ids += read
                    parts.append(table(torch.tensor(read)))
                if at < len(said):
                    ids += said[at][0]
                    parts.append(said[at][1].to(table.weight.dtype))
        self._weights.chats.fits(len(ids), new_tokens)
        return ids, torch.cat(parts)

    def heard_text(self, clips: Sequence[AudioClip]) -> list[str]:
        """Return the words that the projector makes out in each clip. They say what it heard, and decide nothing."""
        states = [self.encoder.states(self._read_clip(clip)) for clip in clips]
        with torch.inference_mode():
            said = self.projector.embeddings(states, self._weights.model.get_input_embeddings().weight)
        return [self._weights.chats.text(ids) for ids, _ in said]

    def fingerprint(self) -> str:
        """Return a digest of logits after fixed probes, written ones and one of made-up states: heard, not spoken."""
        steps = torch.arange(_PROBE_FRAMES)[:, None] * (1 + torch.arange(self.encoder.width)[None])
        with self._active(), torch.inference_mode():
            model = self._weights.model
            logits = self.projector(self.projector.stack([torch.sin(steps.float())])[0])
            said = self.projector.embeddings([torch.sin(steps.float())], model.get_input_embeddings().weight)
            rows = HeardRows(model, [said[0][1].to(model.dtype)], 1)
            heard = rows.read()[0, -1].float()
        made = [super().fingerprint().encode(), logits.numpy().tobytes(), heard.numpy().tobytes()]
        return sha256_bytes(b"".join([*made, self.encoder.digest.encode()]))


def is_spoken(one: Chat) -> bool:
    """Say whether a conversation holds a clip."""
    return any(message.audio for message in one.messages)


def spoken_chat(*clips: AudioClip, text: str = "", system: str | None = None) -> Chat:
    """Return a conversation of one user message that is spoken, with an optional text before and system prompt."""
    head = chat("", system=system).messages[:-1]
    return Chat(messages=(*head, Message(role="user", content=text, audio=clips)))


def with_marks(one: Chat) -> Chat:
    """Return a written conversation with a mark where each clip is heard: after the text of its message."""
    messages = []
    for message in one.messages:
        marks = "".join(map(_mark, message.audio or ()))
        text = f"{message.content}\n{marks}" if marks and message.content else message.content + marks
        messages.append(message.model_copy(update={"content": text, "audio": None}))
    return one.model_copy(update={"messages": tuple(messages)})


def split_at_clips(prompt: str, clips: Sequence[AudioClip]) -> list[str]:
    """
    Return the pieces of a prompt between its marks, one more than clips.

    Raises:
        ModelError: the marks do not stand in it once each and in order, for one because the text holds one itself.
    """
    pieces, rest = [], prompt
    for clip in clips:
        before, found, rest = rest.partition(_mark(clip))
        if not found:
            raise ModelError("the chat template does not show a clip", facts={"clip": clip.sha256})
        pieces.append(before)
    pieces.append(rest)
    if any(_mark(clip) in piece for clip in clips for piece in pieces):
        raise ModelError("a conversation holds the mark of a clip as text")
    return pieces


def _mark(clip: AudioClip) -> str:
    return f"\ue000{clip.sha256}\ue001"


def _check(config: AudioConfig, base: Manifest, encoder: SpeechEncoder) -> None:
    for what, expected, found in (
        ("base", config.base_digest, base.digest),
        ("speech encoder", config.encoder_digest, encoder.digest),
    ):
        if expected != found:
            raise ModelError(
                f"the projector goes with another {what}", facts={"expected": expected, "found": found}
            )
