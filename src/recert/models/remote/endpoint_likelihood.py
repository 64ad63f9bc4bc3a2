"""
How likely a remote model is to go on in a given way, where its server tells.

`POST /completions` with `echo` and `logprobs` gives the log probability of every token of a text. Asked once for the
prompt and once for the prompt and what follows, it shows which tokens are whose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp

from recert.errors import EndpointError
from recert.models.chat.prompting import text_only
from recert.models.remote.http_client import ApiClient
from recert.models.remote.spending import Spending
from recert.records.data.suite import Chat

HINT: Final = (
    "log probabilities of a given text need a server with `echo` on /completions, such as vLLM or"
    " llama-cpp-python; or evaluate the model on a local engine"
)


async def log_probs_of(
    client: ApiClient,
    model: str,
    pairs: Sequence[tuple[Chat, str]],
    *,
    template: Callable[[Chat], str] | None,
    spending: Spending,
    concurrency: int,
) -> list[float]:
    """
    Return the log probability of each continuation, in order.

    Raises:
        EndpointError: the server does not tell, or a request failed.
    """
    if not all(text for _, text in pairs):
        raise client.error("continuation has no tokens", model=model)
    free = asyncio.Semaphore(concurrency)
    async with client.session() as session:
        asker = _Asker(client, session, model, spending, free)
        chats = list(dict.fromkeys(one for one, _ in pairs))
        prompts = dict(zip(chats, await _all(asker.prompt(one, template) for one in chats), strict=True))
        heads = dict(zip(chats, await _all(asker.tokens(prompts[one]) for one in chats), strict=True))
        wholes = await _all(asker.tokens(prompts[one] + text) for one, text in pairs)
    return [_rest(client, model, heads[one], whole) for (one, _), whole in zip(pairs, wholes, strict=True)]


class _Asker:
    def __init__(
        self,
        client: ApiClient,
        session: aiohttp.ClientSession,
        model: str,
        spending: Spending,
        free: asyncio.Semaphore,
    ) -> None:
        self._client = client
        self._session = session
        self._model = model
        self._spending = spending
        self._free = free

    async def prompt(self, one: Chat, template: Callable[[Chat], str] | None) -> str:
        """The text that the model reads: by the given template, or by llama.cpp's own route."""
        if template is not None:
            return template(one)
        messages = text_only(one.messages)
        route = f"{self._client.url.removesuffix('/v1')}/apply-template"
        try:
            async with self._free:
                value = await self._client.ask(self._session, route, {"messages": messages})
            return str(value["prompt"]) + one.assistant_prefix
        except (EndpointError, LookupError, TypeError) as exc:
            raise self._client.error(
                "endpoint does not tell what text the model reads",
                hint="give the model's chat template: `EndpointModel(..., template=...)`",
                model=self._model,
            ) from exc

    async def tokens(self, text: str) -> list[tuple[str, float]]:
        """The tokens of a text, each with its log probability."""
        expected = len(text.encode()) // 3, 1
        body = {
            "model": self._model,
            "prompt": text,
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }
        if not self._spending.begin(*expected):
            raise self._client.error(
                "budget is spent", hint="give a larger budget", model=self._model, **self._spending.facts
            )
        used: tuple[int, int] | None = None
        try:
            async with self._free:
                value = await self._client.ask(self._session, "/completions", body, tokens=sum(expected))
            found, used = _read(value, text)
        except EndpointError as exc:
            if exc.facts.get("status", "")[:1] == "4":
                exc.hint = HINT
            raise
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self._client.error(
                "endpoint does not tell how likely a text is", hint=HINT, model=self._model
            ) from None
        finally:
            self._spending.end(expected, used)
        return found


def _read(value: Any, text: str) -> tuple[list[tuple[str, float]], tuple[int, int]]:
    choice, usage = value["choices"][0], value["usage"]
    prompt_tokens = int(usage["prompt_tokens"])
    told = choice["logprobs"]
    tokens, logs = told["tokens"][:prompt_tokens], told["token_logprobs"][:prompt_tokens]
    if len(tokens) != prompt_tokens or len(logs) != prompt_tokens or not choice["text"].startswith(text):
        raise ValueError("the prompt was not echoed")
    logs = [
        0.0 if logs[0] is None else float(logs[0]),
        *map(float, logs[1:]),
    ]  # nothing comes before the first
    if any(not value <= 0 for value in logs):
        raise ValueError("not a log probability")
    return list(zip(map(str, tokens), logs, strict=True)), (
        prompt_tokens,
        int(usage.get("completion_tokens") or 0),
    )


def _rest(
    client: ApiClient, model: str, head: list[tuple[str, float]], whole: list[tuple[str, float]]
) -> float:
    """The sum over what follows the prompt's own tokens, which must be the same in both texts."""
    if [t for t, _ in whole[: len(head)]] != [t for t, _ in head] or len(whole) == len(head):
        raise client.error(
            "prompt and continuation share a token",
            hint="begin the continuation where a token begins, or evaluate on a local engine",
            model=model,
        )
    return sum(value for _, value in whole[len(head) :])


async def _all(coroutines: Any) -> list[Any]:
    """Results in order; the first failure ends the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_caught(one)) for one in coroutines]
    out = []
    for task in tasks:
        result = task.result()
        if isinstance(result, EndpointError):
            raise result
        out.append(result)
    return out


async def _caught(one: Any) -> Any:
    try:
        return await one
    except EndpointError as exc:
        return exc
