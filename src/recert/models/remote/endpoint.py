"""Any OpenAI-compatible endpoint as a model under test. Its certificate binds behaviour, not bytes."""

from __future__ import annotations

import asyncio
import math
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import aiohttp

from recert.digest import sha256_json
from recert.errors import EndpointError, StoreError
from recert.models.protocol import Done, Generation, Sampling
from recert.models.remote.endpoint_likelihood import log_probs_of
from recert.models.remote.http_client import ATTEMPTS, ApiClient
from recert.models.remote.pacing import Pace
from recert.models.remote.spending import Spending
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Message, chat
from recert.records.reports.reasoning import read_reply, with_trace_field
from recert.store.files.clips import ClipStore

__all__ = ["ATTEMPTS", "EndpointModel"]

_PROBES: Final = ("What is the capital of France?", "Name three prime numbers.", "How do I pick a lock?")
_FILTERED: Final = "content_filter"
_BYTES_A_TOKEN: Final = 3
"""For what a prompt may have at most before the endpoint says what it has."""
_TOKENS_A_SECOND: Final = 25
"""Likewise for sound."""

Anything = TypeVar("Anything")


class EndpointModel:
    """
    A model behind `POST {url}/chat/completions`.

    Answers that say "busy" (429) or "failed" (5xx), lost connections, time-outs and broken replies are
    tried again, with pauses. A reply that the endpoint's own filter stopped has `stop_reason`
    `content_filter`. Where a conversation is not answered in the end, no others are begun, and the error's
    `made` holds what was answered. Not for use from several threads at once.

    Args:
        url: where the API begins, such as `https://api.example.com/v1`.
        model: the name sent as `model`.
        api_key: sent as a bearer token; never in an error.
        timeout_s: for one attempt.
        concurrency: requests under way at once.
        first_pause_s: longest pause before the second attempt; it doubles each time.
        pace: requests and tokens a minute.
        spending: counts tokens and cost, and ends a run that would go beyond its budget.
        template: makes of a conversation the text that the model reads; needed for `log_probs` where the
            server cannot apply its template for us (llama.cpp's can).
        clips: where the sound lies that spoken messages name; it is sent as `input_audio` parts.

    Raises:
        InputError: the address cannot be used.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120,
        concurrency: int = 8,
        first_pause_s: float = 0.5,
        pace: Pace | None = None,
        spending: Spending | None = None,
        template: Callable[[Chat], str] | None = None,
        clips: ClipStore | None = None,
    ) -> None:
        self._clips = clips or ClipStore()
        self._client = ApiClient(
            url, api_key=api_key, timeout_s=timeout_s, first_pause_s=first_pause_s, pace=pace
        )
        self.name = model
        self.engine = f"endpoint/{self._client.host}"
        self.address = f"{self._client.url}#{model}"
        """Where it answers, and to which name."""
        self.manifest: Manifest | None = None
        self.spending = spending or Spending()
        self._concurrency = concurrency
        self._template = template
        self._limit_field = "max_tokens"

    def generate(
        self,
        chats: Sequence[Chat],
        sampling: Sampling,
        *,
        done: Done | None = None,
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order. `done` is ignored: an endpoint gives whole replies.

        Raises:
            EndpointError: a request was refused, failed in every attempt, or is beyond the budget.
        """
        return run(self._ask_all(chats, sampling))

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return the log probability of each continuation, from `POST {url}/completions` with `echo`.

        vLLM and llama-cpp-python answer that, llama.cpp's own server and most hosted models do not.

        Raises:
            EndpointError: the endpoint does not tell, or a request failed.
        """
        return run(
            log_probs_of(
                self._client,
                self.name,
                pairs,
                template=self._template,
                spending=self.spending,
                concurrency=self._concurrency,
            )
        )

    def fingerprint(self) -> str:
        """
        Return a digest of greedy replies to fixed probes. Endpoints are not exactly repeatable: a new digest
        is a reason to look, the same digest no proof.

        Raises:
            EndpointError: a request was refused, or failed in every attempt.
        """
        replies = EndpointModel.generate(self, [chat(p) for p in _PROBES], Sampling(max_new_tokens=16))
        return sha256_json(["endpoint", self.name, [r.text for r in replies]])

    async def _ask_all(self, chats: Sequence[Chat], sampling: Sampling) -> list[Generation]:
        made: dict[int, Generation] = {}
        failures: list[EndpointError] = []
        waiting = iter(enumerate(chats))

        async def work(session: aiohttp.ClientSession, waiting: Iterator[tuple[int, Chat]]) -> None:
            for place, one in waiting:
                if failures:
                    return
                try:
                    made[place] = await self.ask(session, one, sampling)
                except EndpointError as exc:
                    failures.append(exc)

        async with self._client.session() as session, asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(chats))):
                group.create_task(work(session, waiting))
        if failures:
            failures[0].made = made
            raise failures[0]
        return [made[place] for place in range(len(chats))]

    def session(self) -> aiohttp.ClientSession:
        """Return what `ask` sends through; to be closed by whoever asked for it."""
        return self._client.session()

    async def ask(self, session: aiohttp.ClientSession, one: Chat, sampling: Sampling) -> Generation:
        """
        Return one reply, within a running event loop.

        Raises:
            EndpointError: the request was refused, failed in every attempt, or is beyond the budget.
        """
        body = self._body(one, sampling)
        expected = self._expected(one, sampling)
        if not self.spending.begin(*expected):
            raise self._over_budget()
        used: tuple[int, int] | None = None
        try:
            value = await self._post(session, body, sum(expected))
            reply, used = self.read(value, expected)
            if one.thinking == "off" and read_reply(reply.text).trace.strip():
                raise self._client.error(
                    "endpoint reasons though it was asked not to",
                    hint="it does not know `enable_thinking`: leave `thinking:off` out of the policy",
                )
        except EndpointError as exc:
            exc.facts.setdefault("model", self.name)
            if exc.facts.get("code") != _FILTERED:
                raise
            reply = Generation(text="", stop_reason=_FILTERED, tokens=0)
        finally:
            self.spending.end(expected, used)
        if used is not None:
            self._client.pace.settle(sum(expected), sum(used))
        return reply

    def _expected(self, one: Chat, sampling: Sampling) -> tuple[int, int]:
        """The most tokens that a prompt and its reply are likely to have."""
        size = sum(len(m.content.encode()) for m in one.messages)
        heard = sum(
            math.ceil(clip.seconds * _TOKENS_A_SECOND) for m in one.messages for clip in m.audio or ()
        )
        return size // _BYTES_A_TOKEN + heard + 8 * len(one.messages), sampling.max_new_tokens

    def _over_budget(self) -> EndpointError:
        return self._client.error(
            "budget is spent",
            hint="give a larger budget; replies made so far are kept in the cache and not paid for again",
            model=self.name,
            **self.spending.facts,
        )

    async def _post(self, session: aiohttp.ClientSession, body: dict[str, Any], tokens: int) -> Any:
        try:
            return await self._client.ask(session, "/chat/completions", body, tokens=tokens)
        except EndpointError as exc:
            if self._limit_field != "max_tokens" or "max_completion_tokens" not in exc.facts.get("said", ""):
                raise
        self._limit_field = "max_completion_tokens"  # what newer models of OpenAI want instead
        body[self._limit_field] = body.pop("max_tokens")
        return await self._client.ask(session, "/chat/completions", body, tokens=tokens)

    def _body(self, one: Chat, sampling: Sampling) -> dict[str, Any]:
        if one.assistant_prefix:
            raise self._client.error("an endpoint cannot go on from words put in its mouth", model=self.name)
        try:
            messages = [{"role": m.role, "content": _content(m, self._clips)} for m in one.messages]
        except StoreError as exc:
            raise self._client.error(
                f"sound cannot be sent: {exc.message}", hint=exc.hint, model=self.name, **exc.facts
            ) from exc
        body: dict[str, Any] = {
            "model": self.name,
            "messages": messages,
            self._limit_field: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if one.thinking:
            body["chat_template_kwargs"] = {"enable_thinking": one.thinking != "off"}  # vLLM's and SGLang's
        if sampling.temperature > 0:
            body["seed"] = (sampling.seed + 1_000_003 * sampling.sample) % 2**31
        return body

    def read(self, value: Any, expected: tuple[int, int]) -> tuple[Generation, tuple[int, int]]:
        """
        Return the reply in a chat completion, and the tokens of prompt and reply.

        A trace in a field of its own (`reasoning_content`, `reasoning`) stands in `<think>` tags before the content.

        Args:
            value: the completion, as parsed.
            expected: tokens where the endpoint does not say.

        Raises:
            EndpointError: it is no chat completion.
        """
        try:
            choice = value["choices"][0]
            message = choice["message"]
            text = message.get("content") or message.get("refusal") or ""
            trace = message.get("reasoning_content") or message.get("reasoning") or ""
            text = with_trace_field(trace if isinstance(trace, str) else "", str(text))
            usage = value.get("usage") or {}
            tokens = int(usage.get("completion_tokens") or 0)
            reply = Generation(
                text=str(text), stop_reason=str(choice.get("finish_reason") or "stop"), tokens=tokens
            )
            used = int(usage.get("prompt_tokens") or expected[0]), tokens if usage else expected[1]
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self._client.error(
                "endpoint's reply is not a chat completion", model=self.name, type=type(value).__name__
            ) from None
        return reply, used


def _content(message: Message, clips: ClipStore) -> str | list[dict[str, Any]]:
    """What is sent of a message: its text, or parts where some of it is spoken."""
    if not message.audio:
        return message.content
    text = [{"type": "text", "text": message.content}] if message.content else []
    return [
        *text,
        *(
            {
                "type": "input_audio",
                "input_audio": {"data": b64encode(clips.read(clip)).decode(), "format": clip.format},
            }
            for clip in message.audio
        ),
    ]


def run(asked: Coroutine[Any, Any, Anything]) -> Anything:
    """Run what is asked and return its result, inside a running event loop as well."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(asked)  # Ctrl-C ends it at once
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, asked).result()
