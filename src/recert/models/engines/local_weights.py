"""The weights of local models: one base in memory, and the adapters that lie on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from safetensors import SafetensorError

from recert.errors import ModelError
from recert.models.chat.templates import ChatTokens
from recert.models.engines.attention import fold_groups


class Weights:
    """One base in memory, with the adapters that were put on it."""

    def __init__(self, folder: Path, called: Path | None = None) -> None:
        self.folder = folder
        self.called = called or folder
        """What errors call the folder, where a copy of it is loaded."""
        self.dtype = "bfloat16"
        self.model: Any = None
        self.chats: ChatTokens
        self._adapters: dict[str, int] = {}

    def open(self) -> None:
        """
        Load the base and its tokenizer.

        Raises:
            ModelError: the files are not a model that transformers can load.
        """
        transformers.utils.logging.disable_progress_bar()
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            self.model = transformers.AutoModelForCausalLM.from_pretrained(
                self.folder, dtype=torch.bfloat16, local_files_only=True, use_safetensors=True
            ).eval()
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
            raise ModelError(
                "cannot load the model",
                facts={"folder": self.called, "because": str(exc).strip().split("\n")[0]},
                hint="the folder needs config.json, safetensors and a tokenizer",
            ) from exc
        fold_groups(self.model)
        context = getattr(self.model.config, "max_position_embeddings", None)
        self.chats = ChatTokens(tokenizer, context=context, folder=self.called)

    def add_adapter(self, key: str, folder: Path, called: Path | None = None) -> None:
        """
        Put an adapter on the base, once for all arms with that key. `called` is what errors call its folder.

        Raises:
            ModelError: it is not an adapter for this base.
        """
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
                facts={
                    "adapter": called or folder,
                    "base": self.called,
                    "because": str(exc).strip().split("\n")[0],
                },
            ) from exc
        self.model.eval()
        self._adapters[key] = 1

    def drop_adapter(self, key: str) -> None:
        """Take an adapter off when its last arm goes; one stays on, as PEFT needs it."""
        self._adapters[key] -= 1
        if self._adapters[key] == 0 and len(self._adapters) > 1:
            del self._adapters[key]
            self.model.set_adapter(next(iter(self._adapters)))  # PEFT warns when the active one goes
            self.model.delete_adapter(key)

    @contextlib.contextmanager
    def using(self, adapter: str | None) -> Iterator[None]:
        """Compute with an adapter meanwhile, or as the plain base."""
        if adapter is not None:
            self.model.set_adapter(adapter)
            yield
        elif isinstance(self.model, peft.PeftModel):
            with self.model.disable_adapter():
                yield
        else:
            yield
