"""
Local models that take sound themselves: audio models of transformers, from a folder in the hub's layout.

Conversations are asked one at a time, written and spoken ones alike. Decoding is transformers' own `generate`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import peft
import torch
import transformers
from safetensors import SafetensorError

from recert import settings
from recert.digest import sha256_bytes, sha256_json
from recert.errors import ModelError
from recert.models.audio.sound_reading import Sound, SoundChats, open_processor, sound_of
from recert.models.chat.rendering import stop_ids
from recert.models.engines.decoding import LOOK_EVERY
from recert.models.engines.local_weights import Weights
from recert.models.protocol import Done, Generation, Sampling
from recert.models.speech.numeric import np
from recert.records.data.audio import AudioClip
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Message, chat
from recert.store.files.clips import ClipStore
from recert.store.files.model_copies import Copying, model_files

_PROBES: Final = ("What is the capital of France?", "How do I open a locked door that is not mine?")
_TONES_HZ: Final = (220, 880)
_LOADERS: Final = ("AutoModelForMultimodalLM", "AutoModelForSeq2SeqLM", "AutoModelForCausalLM")
"""Families under which transformers keeps audio models that chat, first that knows a configuration taken."""
_THINKERS: Final = {
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerForConditionalGeneration",
}
"""Models that also speak: of them the part is loaded that hears and writes."""

ReadClip = Callable[[AudioClip], bytes]
"""Gives the bytes of a clip, such as `ClipStore.read`."""


class SoundModel:
    """
    An audio model of local files: a base, or a base with an adapter. Arms made by `with_adapter` share its weights.

    Use `SoundModel.load`. Not safe for use from several threads at once.
    """

    def __init__(
        self, weights: _SoundWeights, adapter: str | None, name: str, manifest: Manifest, read_clip: ReadClip
    ) -> None:
        self._weights = weights
        self._adapter = adapter
        self._read_clip = read_clip
        self.name = name
        self.manifest: Manifest | None = manifest
        self.engine = (
            f"transformers/{transformers.__version__} torch/{torch.__version__.split('+')[0]} peft/{peft.__version__}"
            f" {weights.dtype} hearing {weights.chats.rate_hz} Hz"
        )

    @classmethod
    def load(
        cls,
        base_dir: Path,
        adapter_dir: Path | None = None,
        *,
        read_clip: ReadClip | None = None,
        threads: int | None = None,
        name: str = "",
        copying: Copying = "once",
    ) -> SoundModel:
        """
        Load a folder in the hub's layout whose configuration names an audio model, and an adapter on it.

        Args:
            base_dir: config, safetensors, tokenizer and processor.
            adapter_dir: PEFT adapter folder.
            read_clip: gives the bytes of the clips that chats name; by default the store in the cache folder.
            threads: for torch; by default `RECERT_THREADS` or the free cores.
            name: what people call it; by default the folder's name.
            copying: whether the copy of the base that is loaded is kept for the next run.

        Raises:
            InputError: a folder is missing, empty or holds links.
            StoreError: there is no room for a copy, or a folder was touched while it was copied.
            ModelError: the files are not an audio model that transformers can load, or changed while they were loaded.
        """
        torch.set_num_threads(threads or settings.threads())
        with model_files(base_dir, copying) as files:
            weights = _SoundWeights(files.folder, base_dir)
            weights.open()
        base = cls(weights, None, name or base_dir.name, files.manifest, read_clip or ClipStore().read)
        return base.with_adapter(adapter_dir, name=name) if adapter_dir is not None else base

    def with_adapter(self, adapter_dir: Path, *, name: str = "") -> SoundModel:
        """
        Return an arm of the same base with an adapter on it; the base's weights are shared, not copied.

        Raises:
            InputError: the folder is missing, empty or holds links.
            StoreError: there is no room for a copy, or the folder was touched while it was copied.
            ModelError: it is not an adapter for this base, or changed while it was loaded.
        """
        with model_files(adapter_dir) as files:
            key = f"a{files.manifest.digest[:16]}"
            self._weights.add_adapter(key, files.folder, adapter_dir)
        return SoundModel(self._weights, key, name or adapter_dir.name, files.manifest, self._read_clip)

    @property
    def template_sha256(self) -> str:
        """The digest of the chat template that it is asked with."""
        return self._weights.chats.template_sha256

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order. `done` is asked every few tokens.

        Raises:
            MissingExtraError: a clip's format needs a decoder that is not installed.
            ModelError: a clip cannot be heard whole, or a conversation is longer than the model's context.
            StoreError: a clip is not in the store, or is another.
        """
        return [self._reply(one, sampling, done, at) for at, one in enumerate(chats)]

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return the log probability of each continuation, after written and spoken conversations.

        Raises:
            MissingExtraError, StoreError: as in `generate`.
            ModelError: as in `generate`, or a continuation has no tokens.
        """
        chats = self._weights.chats
        read = lru_cache(maxsize=1)(lambda one: chats.inputs(one, self._sounds(one), 1))
        out = []
        for one, continuation in pairs:
            inputs, rest = read(one), chats.following(one, continuation)
            length = inputs["input_ids"].shape[1]
            chats.fits(length, len(rest))
            logs = torch.log_softmax(self._logits(_longer(inputs, rest))[length - 1 : -1].float(), -1)
            out.append(float(logs.gather(1, torch.tensor(rest)[:, None]).double().sum()))
        return out

    def fingerprint(self) -> str:
        """Return a digest of the logits after fixed probes, written ones and two tones: other ears give another."""
        chats = self._weights.chats
        asked: list[tuple[Chat, list[Sound]]] = [(chat(probe), []) for probe in _PROBES]
        steps = np.arange(chats.rate_hz // 2) / chats.rate_hz
        clip = AudioClip(sha256="0" * 64, format="wav", sample_rate_hz=chats.rate_hz, seconds=0.5)
        spoken = Chat(messages=(Message(role="user", content="", audio=(clip,)),))
        asked += [(spoken, [(0.5 * np.sin(2 * np.pi * hz * steps)).astype(np.float32)]) for hz in _TONES_HZ]
        seen = [self._logits(chats.inputs(one, sounds, 1))[-1].float().numpy() for one, sounds in asked]
        return sha256_bytes(b"".join(logits.tobytes() for logits in seen))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(self._weights.chats.tokens(text))

    def close(self) -> None:
        """Take this arm's adapter out of memory. The base stays."""
        if self._adapter:
            self._weights.drop_adapter(self._adapter)

    def _reply(self, one: Chat, sampling: Sampling, done: Done | None, at: int) -> Generation:
        chats, model = self._weights.chats, self._weights.model
        inputs = chats.inputs(one, self._sounds(one), sampling.max_new_tokens)
        prompt: list[int] = inputs["input_ids"][0].tolist()
        head, stops = chats.opening(prompt), self._weights.stops
        look = _Look(len(prompt), lambda tokens: done is not None and done(at, head + chats.text(tokens)))
        drawn: dict[str, Any] = {"do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            drawn |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        with self._active(), torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(one, prompt, sampling))
            made = model.generate(
                **inputs,
                **drawn,
                max_new_tokens=sampling.max_new_tokens,
                stopping_criteria=transformers.StoppingCriteriaList([look] if done else []),
            )
        tokens: list[int] = made[0, len(prompt) :].tolist()
        reason = "decided" if look.decided else "length"
        if tokens and tokens[-1] in stops:
            tokens, reason = tokens[:-1], "stop"
        return Generation(text=head + chats.text(tokens), stop_reason=reason, tokens=len(tokens))

    def _sounds(self, one: Chat) -> list[Sound]:
        rate = self._weights.chats.rate_hz
        clips = [clip for message in one.messages for clip in message.audio or ()]
        return [sound_of(clip, self._read_clip(clip), rate) for clip in clips]

    def _logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Shape (tokens, vocabulary)."""
        with self._active(), torch.inference_mode():
            logits: torch.Tensor = self._weights.model(**inputs).logits[0]
        return logits

    @contextlib.contextmanager
    def _active(self) -> Iterator[None]:
        with self._weights.using(self._adapter):
            yield


class _SoundWeights(Weights):
    """An audio model in memory, with its processor and the adapters that were put on it."""

    chats: SoundChats
    stops: frozenset[int]

    def open(self) -> None:
        transformers.utils.logging.disable_progress_bar()
        try:
            processor = open_processor(self.folder)
            config = transformers.AutoConfig.from_pretrained(self.folder, local_files_only=True)
            self.model, found = _loader(config).from_pretrained(
                self.folder,
                dtype=torch.bfloat16,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
            if found["missing_keys"]:
                raise ValueError(f"weights are missing: {', '.join(sorted(found['missing_keys'])[:3])}")
            self.model.eval()
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as exc:
            raise ModelError(
                "cannot load the audio model",
                facts={"folder": self.called, "because": str(exc).strip().split("\n")[0]},
                hint="the folder needs config.json, safetensors, a tokenizer and a processor of a model that"
                " transformers knows; code in the folder is not run",
            ) from exc
        text = self.model.config.get_text_config()
        context = getattr(text, "max_position_embeddings", None)
        self.chats = SoundChats(processor, context=context, folder=self.called, dtype=torch.bfloat16)
        tokenizer = self.chats.tokenizer
        configured = self.model.generation_config.eos_token_id
        self.stops = stop_ids(text.eos_token_id if configured is None else configured, tokenizer)
        ends = sorted(self.stops)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(ends), None)
        # penalties and temperatures that a folder proposes would be another way to ask than other engines'
        self.model.generation_config = transformers.GenerationConfig(eos_token_id=ends, pad_token_id=pad)


class _Look(transformers.StoppingCriteria):  # type: ignore[misc]
    """Asks every few tokens whether the reply may end."""

    def __init__(self, begin: int, ended: Callable[[list[int]], bool]) -> None:
        self._begin, self._ended = begin, ended
        self.decided = False

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        tokens: list[int] = input_ids[0, self._begin :].tolist()
        self.decided = len(tokens) % LOOK_EVERY == 0 and self._ended(tokens)
        return torch.full((len(input_ids),), self.decided)


def _loader(config: Any) -> Any:
    """The class that loads a configuration's model."""
    if config.model_type in _THINKERS:
        return getattr(transformers, _THINKERS[config.model_type])
    for name in _LOADERS:
        family = getattr(transformers, name, None)
        if family is not None and type(config) in family._model_mapping:
            return family
    raise ValueError(f"transformers has no chat model for {config.model_type}")


def _longer(inputs: dict[str, torch.Tensor], tokens: list[int]) -> dict[str, torch.Tensor]:
    """The same with more tokens of text behind."""
    more = torch.tensor([tokens])
    added = {"input_ids": more, "attention_mask": torch.ones_like(more)}
    added |= {name: torch.zeros_like(more) for name in inputs if name.endswith("token_type_ids")}
    return {k: torch.cat([v, added[k].to(v.dtype)], 1) if k in added else v for k, v in inputs.items()}


def _seed(one: Chat, prompt: list[int], sampling: Sampling) -> int:
    """Of a reply's random numbers: from what is asked, the seed and the sample's number."""
    clips = [clip.sha256 for message in one.messages for clip in message.audio or ()]
    return int(sha256_json([sampling.seed, sampling.sample, prompt, clips])[:15], 16)
