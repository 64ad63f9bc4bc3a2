"""Local models behind Inspect's provider interface. Requests that wait together are answered as one batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recert.interop.evaluations.registry import chat_of  # isort: skip - says first that inspect-ai is missing

import anyio
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage
from inspect_ai.tool import ToolChoice, ToolInfo

from recert.errors import ModelError
from recert.models.embedded import resolve
from recert.models.protocol import Generation, Model, Sampling
from recert.records.data.suite import Chat

DEFAULT_BASE: Final = "embedded:aligned"
"""The base of an adapter where `-M base=...` does not name one."""
DEFAULT_TOKENS: Final = 256
_BATCH: Final = 32
_STOPS: Final[dict[str, Any]] = {"stop": "stop", "decided": "stop", "length": "max_tokens"}


class RecertModels(ModelAPI):
    """
    A folder of weights, or of an adapter on a base.

    Args:
        model_name: the folder, `embedded:aligned` or `embedded:smollm2`.
        base_url: not used.
        api_key: not used.
        config: Inspect's generation settings.
        base: the base of an adapter.
        threads: for torch.

    Raises:
        ModelError, InputError: the model cannot be loaded.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        *,
        base: str = DEFAULT_BASE,
        threads: int | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        from recert.models.engines.local import LocalModel, is_adapter

        folder = Path(model_name)
        self._model = (
            LocalModel.load(resolve(base), folder, threads=threads)
            if is_adapter(folder)
            else LocalModel.load(resolve(model_name), threads=threads)
        )
        self._queue = Batches(self._model)

    def max_connections(self) -> int:
        """As many requests as a batch holds may wait."""
        return _BATCH

    def max_tokens(self) -> int:
        """New tokens where nobody says how many."""
        return DEFAULT_TOKENS

    def should_retry(self, ex: BaseException) -> bool:
        """Never: what fails here fails again."""
        return False

    async def count_text_tokens(self, text: str) -> int:
        """Return how many tokens a text has for this model; Inspect's own count would download a tokenizer."""
        return self._model.count_tokens(text)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """
        Return one reply. Greedy unless a temperature is set.

        Raises:
            ModelError: tools, pictures, several choices or stop sequences are asked for, or the model failed.
        """
        unknown = {
            "tools": tools,
            "num_choices": (config.num_choices or 1) > 1,
            "stop_seqs": config.stop_seqs,
        }
        if any(unknown.values()):
            asked = ", ".join(name for name, value in unknown.items() if value)
            raise ModelError("local models cannot do that", facts={"asked for": asked})
        sampling = Sampling(
            max_new_tokens=config.max_tokens or DEFAULT_TOKENS,
            temperature=config.temperature or 0.0,
            top_p=1.0 if config.top_p is None else config.top_p,
            seed=config.seed or 0,
        )
        made = await self._queue.ask(chat_of(input), sampling)
        manifest = self._model.manifest
        output = ModelOutput.from_content(
            model=self.model_name, content=made.text, stop_reason=_STOPS.get(made.stop_reason, "unknown")
        )
        output.usage = ModelUsage(output_tokens=made.tokens, total_tokens=made.tokens)
        output.metadata = {
            "engine": self._model.engine,
            "manifest_sha256": manifest.digest if manifest is not None else "",
        }
        return output


@dataclass(eq=False)
class _Waiting:
    chat: Chat
    sampling: Sampling
    made: Generation | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.made is not None or self.error is not None


class Batches:
    """
    Lets tasks ask a model that must not be used by two at once; whoever waits meanwhile goes into one batch.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._waiting: list[_Waiting] = []
        self._lock: anyio.Lock | None = None

    async def ask(self, chat: Chat, sampling: Sampling) -> Generation:
        """
        Return the reply to one conversation.

        Raises:
            ModelError: the model did not answer.
        """
        if self._lock is None:
            self._lock = anyio.Lock()
        mine = _Waiting(chat, sampling)
        self._waiting.append(mine)
        try:
            async with self._lock:
                if not mine.done:
                    await self._answer(mine)
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        if mine.error is not None:
            raise mine.error
        assert mine.made is not None
        return mine.made

    async def _answer(self, first: _Waiting) -> None:
        alike = [one for one in self._waiting if one.sampling == first.sampling and one is not first]
        batch = [first, *alike[: _BATCH - 1]]
        self._waiting = [one for one in self._waiting if one not in batch]
        try:
            made = await anyio.to_thread.run_sync(
                lambda: self._model.generate([one.chat for one in batch], first.sampling)
            )
        except Exception as exc:  # each of them is told
            for one in batch:
                one.error = exc
            return
        for one, reply in zip(batch, made, strict=True):
            one.made = reply
