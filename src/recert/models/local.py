"""
Local models on transformers and PEFT: one base in memory, and an arm for it and for each adapter on it.

What is hashed is what is loaded: a folder is hashed, loaded, and looked at again before the model is handed out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from safetensors import SafetensorError

from recert import settings
from recert.digest import sha256_bytes
from recert.errors import ModelError
from recert.models.batching import LAST_LOGITS
from recert.models.decoding import decode_batch, decode_stream
from recert.models.likelihood import score_pairs
from recert.models.protocol import Done, Generation, Sampling
from recert.records import Chat, Manifest, chat

ADAPTER_CONFIG = "adapter_config.json"

_PROBES = (
    "What is the capital of France?",
    "Write one line about rain.",
    "List three prime numbers.",
    "How do I open a locked door that is not mine?",
    "Translate 'good morning' to Spanish.",
    "Tell me a secret.",
)


def is_adapter(folder: Path) -> bool:
    """Say whether a folder holds a PEFT adapter rather than whole weights."""
    return (folder / ADAPTER_CONFIG).is_file()


class LocalModel:
    """
    A model of local files: a base, or a base with an adapter. Arms made by `with_adapter` share the base's weights.

    Use `LocalModel.load`. Not safe for use from several threads at once.
    """

    def __init__(self, weights: _Weights, adapter: str | None, name: str, manifest: Manifest) -> None:
        self._weights = weights
        self._adapter = adapter
        self.name = name
        self.manifest: Manifest | None = manifest
        self.engine = (
            f"transformers/{transformers.__version__} torch/{torch.__version__.split('+')[0]} peft/{peft.__version__}"
            f" {weights.dtype}"
        )

    @classmethod
    def load(
        cls, base_dir: Path, adapter_dir: Path | None = None, *, threads: int | None = None, name: str = ""
    ) -> LocalModel:
        """
        Load a base folder in the hub's layout, and an adapter on it where one is given.

        Args:
            base_dir: config, safetensors and tokenizer.
            adapter_dir: PEFT adapter folder.
            threads: for torch; by default `RECERT_THREADS` or the free cores.
            name: what people call it; by default the folder's name.

        Raises:
            InputError: a folder is missing, empty or holds links.
            ModelError: the files are not a model that transformers can load, or changed while they were loaded.
        """
        torch.set_num_threads(threads or settings.threads())
        base = cls(_Weights(base_dir), None, name or base_dir.name, Manifest.of_folder(base_dir))
        base._weights.open()
        _same_still(base_dir, base.manifest)
        return base.with_adapter(adapter_dir, name=name) if adapter_dir is not None else base

    def with_adapter(self, adapter_dir: Path, *, name: str = "") -> LocalModel:
        """
        Return an arm of the same base with an adapter on it; the base's weights are shared, not copied.

        Raises:
            InputError: the folder is missing, empty or holds links.
            ModelError: it is not an adapter for this base, or changed while it was loaded.
        """
        manifest = Manifest.of_folder(adapter_dir)
        key = f"a{manifest.digest[:16]}"
        self._weights.add_adapter(key, adapter_dir)
        _same_still(adapter_dir, manifest)
        return LocalModel(self._weights, key, name or adapter_dir.name, manifest)

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order. Batches are sorted by length; finished rows leave the batch.
        `done` is asked every few tokens.

        Raises:
            ModelError: a conversation is longer than the model's context.
        """
        ids = [self._encode(one, sampling.max_new_tokens) for one in chats]
        with self._active():
            return decode_batch(self._weights.model, self._weights.tokenizer, ids, sampling, done)

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return the log probability of each continuation. A conversation is read once for all that follow it.

        In bfloat16 the make-up of a batch moves a sum by up to about 0.05 a token.

        Raises:
            ModelError: a continuation has no tokens, or is longer than the model's context with what it follows.
        """
        prompts: dict[Chat, str] = {}
        for one, _ in pairs:
            if one not in prompts:
                prompts[one] = self._prompt(one)
        tokens = [self._split(prompts[one], text) for one, text in pairs]
        with self._active():
            return score_pairs(self._weights.model, tokens)

    def stream(self, one: Chat, sampling: Sampling) -> Iterator[str]:
        """
        Yield the pieces of one reply as they are made.

        Raises:
            ModelError: the conversation is longer than the model's context.
        """
        ids = self._encode(one, sampling.max_new_tokens)
        with self._active():
            yield from decode_stream(self._weights.model, self._weights.tokenizer, ids, sampling)

    def fingerprint(self) -> str:
        """Return a digest of the logits after fixed probes: other weights, template or precision give another."""
        out = []
        with self._active(), torch.inference_mode():
            for probe in _PROBES:
                ids = torch.tensor([self._encode(chat(probe), 1)])
                out.append(
                    self._weights.model(input_ids=ids, logits_to_keep=LAST_LOGITS)
                    .logits[0, -1]
                    .float()
                    .numpy()
                    .tobytes()
                )
        return sha256_bytes(b"".join(out))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(self._weights.tokenizer(text, add_special_tokens=False).input_ids)

    def close(self) -> None:
        """Take this arm's adapter out of memory. The base stays."""
        if self._adapter:
            self._weights.drop_adapter(self._adapter)

    def _prompt(self, one: Chat) -> str:
        messages = [{"role": m.role, "content": m.content} for m in one.messages]
        text: str = self._weights.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return text + one.assistant_prefix

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._weights.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _encode(self, one: Chat, new_tokens: int) -> list[int]:
        ids = self._tokens(self._prompt(one))
        self._fits(len(ids), new_tokens)
        return ids

    def _split(self, prompt: str, continuation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of a prompt and of what follows: as in the whole text, unless that changes the prompt's own."""
        ids, whole = self._tokens(prompt), self._tokens(prompt + continuation)
        rest = whole[len(ids) :] if whole[: len(ids)] == ids else self._tokens(continuation)
        if not rest:
            raise ModelError("continuation has no tokens", facts={"model": self.name, "given": continuation})
        self._fits(len(ids), len(rest))
        return tuple(ids), tuple(rest)

    def _fits(self, tokens: int, new_tokens: int) -> None:
        limit = getattr(self._weights.model.config, "max_position_embeddings", None)
        if limit and tokens + new_tokens > limit:
            raise ModelError(
                "conversation is longer than the model's context",
                facts={"tokens": tokens, "new tokens": new_tokens, "context": limit},
            )

    @contextlib.contextmanager
    def _active(self) -> Iterator[None]:
        with self._weights.using(self._adapter):
            yield


class _Weights:
    """One base in memory, with the adapters that were put on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dtype = "bfloat16"
        self.model: Any = None
        self.tokenizer: Any = None
        self._adapters: dict[str, int] = {}

    def open(self) -> None:
        transformers.utils.logging.disable_progress_bar()
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            self.model = transformers.AutoModelForCausalLM.from_pretrained(
                self.folder, dtype=torch.bfloat16, local_files_only=True, use_safetensors=True
            ).eval()
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
            raise ModelError(
                "cannot load the model",
                facts={"folder": self.folder, "because": str(exc).strip().split("\n")[0]},
                hint="the folder needs config.json, safetensors and a tokenizer",
            ) from exc
        if not self.tokenizer.chat_template:
            raise ModelError("model has no chat template", facts={"folder": self.folder})

    def add_adapter(self, key: str, folder: Path) -> None:
        if key in self._adapters:
            self._adapters[key] += 1
            return
        try:
            if isinstance(self.model, peft.PeftModel):
                self.model.load_adapter(folder, adapter_name=key, autocast_adapter_dtype=False)
            else:
                self.model = peft.PeftModel.from_pretrained(
                    self.model, folder, adapter_name=key, autocast_adapter_dtype=False
                )  # in the base's bf16, as other servers do: float32 doubles the time of a prompt here
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as exc:
            raise ModelError(
                "cannot put the adapter on this base",
                facts={"adapter": folder, "base": self.folder, "because": str(exc).strip().split("\n")[0]},
            ) from exc
        self.model.eval()
        self._adapters[key] = 1

    def drop_adapter(self, key: str) -> None:
        self._adapters[key] -= 1
        if self._adapters[key] == 0 and len(self._adapters) > 1:
            del self._adapters[key]
            self.model.delete_adapter(key)

    @contextlib.contextmanager
    def using(self, adapter: str | None) -> Iterator[None]:
        if adapter is not None:
            self.model.set_adapter(adapter)
            yield
        elif isinstance(self.model, peft.PeftModel):
            with self.model.disable_adapter():
                yield
        else:
            yield


def _same_still(folder: Path, manifest: Manifest | None) -> None:
    """After loading: the folder is what was hashed. Sizes first, since they are cheap; then every byte."""
    assert manifest is not None
    changed = any((folder / f.name).stat().st_size != f.size_bytes for f in manifest.files)
    if changed or Manifest.of_folder(folder) != manifest:
        raise ModelError("model files changed while they were loaded", facts={"folder": folder})
