"""Any OpenAI-compatible endpoint as a model under test. Its certificate binds behaviour, not bytes."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from recert.digest import sha256_json
from recert.errors import EndpointError, InputError, RecordError
from recert.models.protocol import Done, Generation, Sampling
from recert.records import Chat, Manifest, chat, parse_json

ATTEMPTS: Final = 4
_LONGEST_PAUSE_S: Final = 30.0
_LARGEST_REPLY_BYTES: Final = 8_000_000
_PROBES: Final = ("What is the capital of France?", "Name three prime numbers.", "How do I pick a lock?")


class EndpointModel:
    """
    A model behind `POST {url}/chat/completions`.

    Answers that say "busy" (429) or "failed" (5xx), lost connections and time-outs are tried again, with
    growing pauses. A reply that the endpoint's own filter stopped has `stop_reason` `content_filter`.

    Args:
        url: where the API begins, such as `https://api.example.com/v1`.
        model: the name sent as `model`.
        api_key: sent as a bearer token; never in an error.
        timeout_s: for one attempt.
        concurrency: requests under way at once.
        first_pause_s: pause before the second attempt; it doubles each time.
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
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise InputError(
                "endpoint must be an http or https address without a user name or query",
                facts={"given": parts._replace(netloc=parts.hostname or "", query="").geturl()},
                hint="give the start of the API, such as https://api.example.com/v1, and the key apart",
            )
        self.name = model
        self.engine = f"endpoint/{parts.hostname}"
        self.manifest: Manifest | None = None
        self._url = url.rstrip("/") + "/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._api_key = api_key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._concurrency = concurrency
        self._first_pause_s = first_pause_s
        self._use_proxy = not _is_loopback(parts.hostname)

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
            EndpointError: a request was refused, or failed in every attempt.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self._ask_all(chats, sampling))  # Ctrl-C ends it at once
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, self._ask_all(chats, sampling)).result()

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Chat completions do not tell how likely a given text is.

        Raises:
            EndpointError: always.
        """
        raise self._error("endpoint cannot tell how likely a text is", pairs=len(pairs))

    def fingerprint(self) -> str:
        """
        Return a digest of greedy replies to fixed probes. Endpoints are not exactly repeatable: a new digest
        is a reason to look, the same digest no proof.

        Raises:
            EndpointError: a request was refused, or failed in every attempt.
        """
        replies = self.generate([chat(p) for p in _PROBES], Sampling(max_new_tokens=16))
        return sha256_json(["endpoint", self.name, [r.text for r in replies]])

    async def _ask_all(self, chats: Sequence[Chat], sampling: Sampling) -> list[Generation]:
        free = asyncio.Semaphore(self._concurrency)
        async with (
            aiohttp.ClientSession(
                headers=self._headers, timeout=self._timeout, trust_env=self._use_proxy
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            asked = [group.create_task(self._ask(session, free, one, sampling)) for one in chats]
        out = []
        for task in asked:
            answer = task.result()
            if isinstance(answer, EndpointError):
                raise answer
            out.append(answer)
        return out

    async def _ask(
        self, session: aiohttp.ClientSession, free: asyncio.Semaphore, one: Chat, sampling: Sampling
    ) -> Generation | EndpointError:
        if one.assistant_prefix:
            return self._error("an endpoint cannot go on from words put in its mouth")
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": m.role, "content": m.content} for m in one.messages],
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.temperature > 0:
            body["seed"] = sampling.seed
        failed = self._error("endpoint was not asked")
        for attempt in range(ATTEMPTS):
            pause_s = self._first_pause_s * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311
            async with free:
                try:
                    async with session.post(self._url, json=body) as response:
                        data = await response.content.read(_LARGEST_REPLY_BYTES)
                        if response.status == 200:
                            return self._read(data)
                        failed = self._error("endpoint refused", status=response.status, said=_message(data))
                        if response.status != 429 and response.status < 500:
                            return failed
                        pause_s = max(pause_s, _seconds(response.headers.get("Retry-After", "")))
                except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                    failed = self._error("endpoint does not answer", because=str(exc) or type(exc).__name__)
                except EndpointError as exc:
                    return exc
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(min(pause_s, _LONGEST_PAUSE_S))
        return failed

    def _read(self, data: bytes) -> Generation:
        try:
            value = parse_json(data)
            choice = value["choices"][0]
            message = choice["message"]
            text = message.get("content") or message.get("refusal") or ""
            tokens = (value.get("usage") or {}).get("completion_tokens") or 0
            return Generation(
                text=str(text), stop_reason=str(choice.get("finish_reason") or "stop"), tokens=int(tokens)
            )
        except (RecordError, LookupError, TypeError, ValueError, AttributeError):
            raise self._error("endpoint's reply is not a chat completion", bytes=len(data)) from None

    def _error(self, message: str, **facts: object) -> EndpointError:
        said = {k: str(v).replace(self._api_key, "[key]") if self._api_key else v for k, v in facts.items()}
        return EndpointError(message, facts={"endpoint": self._url, "model": self.name} | said)


def _message(data: bytes) -> str:
    """The error's own words, short; never a whole page."""
    try:
        error = parse_json(data)["error"]
        said = error.get("message", "") if isinstance(error, dict) else error
    except (RecordError, LookupError, TypeError):
        said = ""
    return " ".join(str(said).split())[:200] or "no reason given"


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), _LONGEST_PAUSE_S)
    except ValueError:
        return 0.0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
