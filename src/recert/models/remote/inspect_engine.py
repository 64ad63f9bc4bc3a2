"""Hosted vendors through Inspect AI's providers: `openai/...`, `anthropic/...`, `google/...` and some twenty others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

from recert.digest import sha256_json
from recert.errors import EndpointError, InputError, MissingExtraError
from recert.models.chat.prompting import text_only
from recert.models.protocol import Done, Generation, Sampling
from recert.models.remote.endpoint import run
from recert.models.remote.spending import Spending
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, chat
from recert.records.reports.reasoning import with_trace_field

_PROBES: Final = ("What is the capital of France?", "Name three prime numbers.", "How do I pick a lock?")
_STOPS: Final = {"max_tokens": "length", "model_length": "length"}
_BYTES_A_TOKEN: Final = 3


class InspectModel:
    """
    A model that Inspect AI can reach. Keys lie where its provider looks for them, such as `OPENAI_API_KEY`.

    Args:
        model: `provider/model`, as for `inspect eval --model`.
        concurrency: requests under way at once.
        retries: how often Inspect asks again after the first time.
        timeout_s: for one request with all its retries.
        spending: counts tokens and cost, and ends a run that would go beyond its budget.
        options: of the provider, such as `base_url`.

    Raises:
        InputError: there is no provider in the name.
        MissingExtraError: Inspect AI is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        concurrency: int = 8,
        retries: int = 4,
        timeout_s: int = 300,
        spending: Spending | None = None,
        **options: Any,
    ) -> None:
        provider, _, rest = model.partition("/")
        if not provider or not rest:
            raise InputError("an Inspect model is given as provider/model", facts={"given": model})
        try:
            import inspect_ai
        except ImportError as exc:
            raise MissingExtraError(
                "Inspect AI is not installed", hint="run `pip install 'recert[inspect]'`"
            ) from exc
        self.name = model
        self.engine = f"inspect/{inspect_ai.__version__} {provider}"
        self.manifest: Manifest | None = None
        self.spending = spending or Spending()
        self._concurrency = concurrency
        self._config = {"max_connections": concurrency, "max_retries": retries, "timeout": timeout_s}
        self._options = options

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order. `done` is ignored: providers give whole replies.

        Raises:
            EndpointError: the provider failed, or the budget is spent; `made` holds what was answered.
        """
        return run(self._ask_all(chats, sampling))

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Providers do not tell how likely a given text is.

        Raises:
            EndpointError: always.
        """
        raise EndpointError(
            "provider cannot tell how likely a text is",
            facts={"model": self.name, "pairs": len(pairs)},
            hint="evaluate on a local engine, or on an endpoint that echoes prompts",
        )

    def fingerprint(self) -> str:
        """
        Return a digest of greedy replies to fixed probes. A new digest is a reason to look, the same no proof.

        Raises:
            EndpointError: the provider failed.
        """
        replies = self.generate([chat(p) for p in _PROBES], Sampling(max_new_tokens=16))
        return sha256_json(["inspect", self.name, [r.text for r in replies]])

    async def _ask_all(self, chats: Sequence[Chat], sampling: Sampling) -> list[Generation]:
        from inspect_ai.model import GenerateConfig, get_model

        made: dict[int, Generation] = {}
        failures: list[EndpointError] = []
        waiting = iter(enumerate(chats))
        try:  # anew each time: a client belongs to the event loop in which it was made
            model = get_model(
                self.name, config=GenerateConfig(**self._config), memoize=False, **self._options
            )
        except Exception as exc:  # providers raise what they like, for a missing key or package as well
            raise self._failed(exc) from exc

        async def work(waiting: Iterator[tuple[int, Chat]]) -> None:
            for place, one in waiting:
                if failures:
                    return
                try:
                    made[place] = await self._ask(model, one, sampling)
                except EndpointError as exc:
                    failures.append(exc)

        async with model, asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(chats))):
                group.create_task(work(waiting))
        if failures:
            failures[0].made = made
            raise failures[0]
        return [made[place] for place in range(len(chats))]

    async def _ask(self, model: Any, one: Chat, sampling: Sampling) -> Generation:
        from inspect_ai.model import GenerateConfig

        messages = self._messages(one)
        size = sum(len(m.content.encode()) for m in one.messages)
        expected = size // _BYTES_A_TOKEN + 8 * len(messages), sampling.max_new_tokens
        if not self.spending.begin(*expected):
            raise EndpointError(
                "budget is spent",
                facts={"model": self.name, **self.spending.facts},
                hint="give a larger budget; replies made so far are kept in the cache and not paid for again",
            )
        drawn = (sampling.seed + 1_000_003 * sampling.sample) % 2**31
        config = GenerateConfig(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.temperature > 0 else None,
            seed=drawn if sampling.temperature > 0 else None,
        )
        used: tuple[int, int] | None = None
        try:
            output = await model.generate(messages, config=config, cache=False)
            reply, used = self._read(output, expected)
        except EndpointError:
            raise
        except Exception as exc:
            raise self._failed(exc) from exc
        finally:
            self.spending.end(expected, used)
        return reply

    def _messages(self, one: Chat) -> list[Any]:
        from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

        kinds: dict[str, Any] = {
            "system": ChatMessageSystem,
            "developer": ChatMessageSystem,
            "user": ChatMessageUser,
            "assistant": ChatMessageAssistant,
        }
        if one.thinking:
            raise EndpointError(
                "a provider is not told whether to reason", facts={"model": self.name, "asked": one.thinking}
            )
        if one.assistant_prefix:
            raise EndpointError(
                "a provider cannot go on from words put in its mouth", facts={"model": self.name}
            )
        try:
            return [kinds[m["role"]](content=m["content"]) for m in text_only(one.messages)]
        except KeyError as exc:
            raise EndpointError(
                "a provider is not asked with messages of this role",
                facts={"model": self.name, "role": exc.args[0]},
            ) from exc

    def _read(self, output: Any, expected: tuple[int, int]) -> tuple[Generation, tuple[int, int]]:
        if output.empty:
            raise EndpointError(
                "provider gave no reply",
                facts={"model": self.name, "because": output.error or "no reason given"},
            )
        usage = output.usage
        used = expected
        if usage is not None:
            cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
            used = usage.input_tokens + cached, usage.output_tokens
        stop_reason = _STOPS.get(output.stop_reason, str(output.stop_reason))
        tokens = used[1] if usage is not None else 0
        content = output.message.content
        parts = [] if isinstance(content, str) else content
        trace = "".join(one.reasoning for one in parts if one.type == "reasoning")
        text = with_trace_field(trace, str(output.completion))
        return Generation(text=text, stop_reason=stop_reason, tokens=tokens), used

    def _failed(self, exc: Exception) -> EndpointError:
        because = (str(exc).strip() or type(exc).__name__).split("\n")[0][:200]
        return EndpointError("provider failed", facts={"model": self.name, "because": because})
