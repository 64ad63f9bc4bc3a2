"""
From conversations with clips to what an audio model of transformers reads: chat template, tokens and features of sound.

Nothing is left out silently: a clip that the template does not show, or that would be heard in part, is an error.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
import torch
import transformers

from recert.errors import InputError, MissingExtraError, ModelError
from recert.models.chat.control_text import holds_control, parted
from recert.models.chat.templates import ChatTokens
from recert.models.chat.thinking import begun, switch_of
from recert.models.speech.numeric import NDArray, np
from recert.models.speech.sound import from_wav
from recert.records.data.audio import AudioClip
from recert.records.data.suite import Chat, Message
from recert.store.files.clip_headers import read_header

Sound = NDArray[np.float32]
"""One channel of sound, at the rate that the model hears."""

_LONGEST_S: Final = 30.0
"""Most seconds of a clip where a processor does not say how much it hears."""
_SHORTEST_S: Final = 0.1
"""Least seconds of a clip: of a shorter one an encoder may make no state at all."""
_OF_TEXT: Final = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})


class SoundChats(ChatTokens):
    """
    The processor of an audio model: its tokenizer, chat template and what turns sound into features.

    Args:
        processor: of transformers, with a tokenizer and a feature extractor.
        context: most tokens of a conversation and its reply; None where there is no such limit.
        folder: where it lies, for errors.
        dtype: in which the model computes.

    Raises:
        ModelError: there is no chat template, or the processor does not say at which rate it hears.
    """

    def __init__(self, processor: Any, *, context: int | None, folder: Path, dtype: torch.dtype) -> None:
        template = getattr(processor, "chat_template", None)
        if isinstance(template, dict):
            template = template.get("default")
        tokenizer = getattr(processor, "tokenizer", None)
        extractor = getattr(processor, "feature_extractor", None)
        rate = getattr(extractor, "sampling_rate", None)
        if tokenizer is None or not rate:
            raise ModelError(
                "the folder's processor does not hear",
                facts={"folder": folder, "processor": type(processor).__name__},
                hint="it needs a tokenizer, and a feature extractor with a sampling rate",
            )
        if template:
            tokenizer.chat_template = template
        super().__init__(tokenizer, context=context, folder=folder)
        self._processor, self._dtype, self.rate_hz = processor, dtype, int(rate)
        self._mark: str | None = getattr(processor, "audio_token", None)
        self._mark_id = tokenizer.convert_tokens_to_ids(self._mark) if self._mark else None
        self.longest_s = _longest_s(processor, extractor, self.rate_hz)

    def prompt(self, one: Chat) -> str:
        """
        Return the text that the model goes on from, with the template's mark where each clip is heard.

        Raises:
            ModelError: the template does not show what is said, or each clip once; or a message holds words that the
                model's processor would read as tokens of control.
        """
        self._plain(one)
        known = switch_of(self.tokenizer.chat_template, one.thinking)
        because = "words of a message are missing"
        for in_parts in (True, False):
            try:
                text: str = self._processor.apply_chat_template(
                    [_message(m, in_parts=in_parts) for m in one.messages],
                    chat_template=self.tokenizer.chat_template,
                    tokenize=False,
                    add_generation_prompt=True,
                    **known,
                )
            except (jinja2.TemplateError, TypeError, ValueError, KeyError) as exc:
                because = str(exc)
                continue
            if all(m.content.strip() in text for m in one.messages if m.role != "assistant"):
                self._marked(text, one)
                return begun(text, one, switched=bool(known))
        raise ModelError("the chat template does not show what is said", facts={"because": because})

    def inputs(self, one: Chat, sounds: Sequence[Sound], new_tokens: int) -> dict[str, torch.Tensor]:
        """
        Return what the model's forward pass takes for one conversation, its clips already read.

        Raises:
            ModelError: a clip cannot be heard whole or does not reach the model, or there is no room in the context.
        """
        for sound in sounds:
            seconds = len(sound) / self.rate_hz
            if not _SHORTEST_S <= seconds <= self.longest_s:
                raise ModelError(
                    "clip is shorter or longer than the model hears",
                    facts={"seconds": round(seconds, 3), "at least": _SHORTEST_S, "at most": self.longest_s},
                )
        heard = {"audio": list(sounds), "sampling_rate": self.rate_hz} if sounds else {}
        try:
            made = self._processor(
                text=[self.prompt(one)], return_tensors="pt", add_special_tokens=False, **heard
            )
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as exc:
            raise ModelError(
                "the model's processor cannot read the conversation",
                facts={"clips": len(sounds), "because": str(exc).strip().split("\n")[0]},
            ) from exc
        tensors = {k: v for k, v in made.items() if isinstance(v, torch.Tensor)}
        marks = int((tensors["input_ids"] == self._mark_id).sum()) if self._mark else len(sounds)
        if sounds and (marks < len(sounds) or not set(tensors) - _OF_TEXT):
            raise ModelError("clips do not reach the model", facts={"clips": len(sounds)})
        self.fits(tensors["input_ids"].shape[1], new_tokens)
        return {k: v.to(self._dtype) if v.is_floating_point() else v for k, v in tensors.items()}

    def following(self, one: Chat, continuation: str) -> list[int]:
        """
        Return the tokens of what follows a conversation: as in the whole text, unless the prompt's own would change.

        Raises:
            ModelError: nothing follows.
        """
        text, continuation = self.prompt(one), self.said(continuation)
        ids, whole = self.tokens(text), self.tokens(text + continuation)
        rest = whole[len(ids) :] if whole[: len(ids)] == ids else self.tokens(continuation)
        if not rest:
            raise ModelError("continuation has no tokens", facts={"given": continuation})
        return rest

    def _plain(self, one: Chat) -> None:
        """A processor puts a whole text into tokens, so that nothing can be read as letters that spells a token."""
        said = [(m.role, m.content) for m in one.messages]
        for role, text in (*said, ("assistant", one.assistant_prefix)):
            if parted(text, role, self.control) != text:
                raise ModelError(
                    "a message holds words that this model would read as control",
                    facts={"role": role, "word": holds_control(text, self.control)},
                    hint="leave them out of the conversation",
                )

    def _marked(self, text: str, one: Chat) -> None:
        clips = sum(len(m.audio or ()) for m in one.messages)
        if self._mark is not None and text.count(self._mark) != clips:
            raise ModelError(
                "the chat template does not show each clip once, or a message holds the mark of a clip as text",
                facts={"clips": clips, "marks": text.count(self._mark)},
            )


def _longest_s(processor: Any, extractor: Any, rate_hz: int) -> float:
    """Seconds of which nothing is cut off: in whole windows where a processor hears several, or one window."""
    most, window = getattr(processor, "max_audio_len", None), getattr(extractor, "chunk_length", None)
    samples = getattr(extractor, "n_samples", None)
    if most:
        return float(most // window * window if window else most)
    return float(samples / rate_hz if samples else _LONGEST_S)


def open_processor(folder: Path) -> Any:
    """Return the processor in a folder, from its files alone."""
    return transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)


def sound_of(clip: AudioClip, data: bytes, rate_hz: int) -> Sound:
    """
    Return the samples of a clip at a rate. WAV files of 16 bits are read here, all others by faster-whisper's decoder.

    Raises:
        MissingExtraError: that decoder is needed and not installed.
        ModelError: it cannot be read as sound.
    """
    try:
        read_header(data)
        try:
            return from_wav(data, rate_hz=rate_hz).astype(np.float32)
        except InputError:  # another format, or other bits a sample
            return _decoded(data, rate_hz)
    except InputError as exc:
        raise ModelError(
            "cannot read the clip as sound", facts={"clip": clip.sha256, "because": exc}
        ) from exc


def _decoded(data: bytes, rate_hz: int) -> Sound:
    try:
        from faster_whisper.audio import decode_audio
    except ImportError as exc:
        raise MissingExtraError(
            "only WAV of 16 bits is read without faster-whisper",
            facts={"missing": exc},
            hint="run `pip install 'recert[audio]'`",
        ) from exc
    try:
        return np.asarray(decode_audio(io.BytesIO(data), sampling_rate=rate_hz), dtype=np.float32)
    except Exception as exc:  # the decoder's own errors are many, and each means that nothing was heard
        raise InputError("sound cannot be decoded", facts={"because": exc}) from exc


def _message(message: Message, *, in_parts: bool) -> dict[str, Any]:
    """A message as templates take it: a clip always as a part, text as a part or as it is."""
    if not message.audio and not in_parts:
        return {"role": message.role, "content": message.content}
    parts: list[dict[str, str]] = [{"type": "text", "text": message.content}] if message.content else []
    parts += [{"type": "audio"} for _ in message.audio or ()]
    return {"role": message.role, "content": parts}
