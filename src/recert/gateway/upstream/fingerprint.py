"""
A server elsewhere that answers as the certified model does: compared at the start, and ever since.

Probes go out as ordinary requests do: the same connections, headers, fields and values as of a request that names
nothing but its text, at moments drawn by chance. Where probabilities are compared, every ordinary request asks for
them too. See `docs/concepts/fingerprint.md` for how far that hides them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import orjson

from recert.errors import GatewayError
from recert.gateway.engines.probing import read_beginning
from recert.gateway.protocol.deltas import Delta
from recert.gateway.protocol.errors import HttpError
from recert.gateway.protocol.parse import parse_chat
from recert.gateway.serving.chat import compose
from recert.gateway.upstream.client import HttpUpstream, read_body
from recert.models.chat.secret import SecretPrefix
from recert.models.probes import Probe, ProbeSet
from recert.policy import Policy
from recert.records.record import Moment, now
from recert.records.signed.fingerprint import Fingerprint

log = logging.getLogger("recert.gateway")

DIFFERS: Final = "fingerprint-differs"
UNREAD: Final = "fingerprint-unread"
STALE: Final = "fingerprint-stale"
WEAKER: Final = (
    "weaker than managed: it answered probes as the certified model does; none of its files was hashed"
)
_TOGETHER: Final = 4
_PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0)
"""Before each attempt to ask a probe: a server that is busy for a moment is no other model."""
AGAIN_S: Final = 5.0
"""From a comparison that could not be read to the next."""


@dataclass(frozen=True)
class Serving:
    """
    What stands around every request to the model.

    Args:
        called: the name that clients ask by.
        policy: the certificate's.
        secret: its secret prefix, where it has one.
    """

    called: str
    policy: Policy
    secret: SecretPrefix | None = None


class FingerprintUpstream(HttpUpstream):
    """
    An OpenAI-compatible server that is known by its answers to secret probes.

    A comparison in which too many probes are unlike stops it for good: `fingerprint-differs`. One that could not be
    read stops it until another is: `fingerprint-unread`.

    Args:
        url: where its API begins, with or without `/v1`.
        fingerprint: what `read_fingerprint` accepted.
        probes: the secret probes that it names.
        serving: what stands around every request.
        model: what the server calls the model; by default the name that the client asked by.
        api_key: sent as a bearer token, if any.
        draw: source of chance; by default the system's.

    Raises:
        GatewayError: `other-probes`: the fingerprint was made of another set.
    """

    def __init__(
        self,
        url: str,
        fingerprint: Fingerprint,
        probes: ProbeSet,
        serving: Serving,
        *,
        model: str = "",
        api_key: str = "",
        draw: random.Random | None = None,
    ) -> None:
        if probes.sha256 != fingerprint.probes_sha256:
            raise GatewayError(
                "other-probes",
                "the probes are not those of the fingerprint",
                facts={"fingerprint": fingerprint.probes_sha256, "given": probes.sha256},
            )
        gateway = serving.policy.gateway
        super().__init__(
            url.rstrip("/").removesuffix("/v1"),
            label="fingerprint",
            api_key=api_key,
        )
        self._limit_s = gateway.upstream_timeout_s
        self._fingerprint = fingerprint
        self._probes = tuple(probes)
        self._serving = serving
        self._model = model
        self._draw = draw or secrets.SystemRandom()
        self._every_s = gateway.fingerprint.every_s
        self._uses = [0] * len(self._probes)
        self._refused = UNREAD
        self._good_until = 0.0
        self._compared: tuple[Moment, int] | None = None
        self._task: asyncio.Task[None] | None = None

    def compare(self) -> None:
        """
        Compare now, all probes at once: before anything is served.

        Raises:
            GatewayError: it is another model (`fingerprint-differs`), or could not be compared (`fingerprint-unread`).
        """

        async def once() -> None:
            try:
                await self._compare(0)
            finally:
                await HttpUpstream.close(self)

        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, once()).result()
        if self._refused:
            raise GatewayError(
                self._refused,
                "the upstream does not answer as the certified model does"
                if self._refused == DIFFERS
                else "the upstream could not be compared with the fingerprint",
                facts={"upstream": self._url},
                hint="serve the certified files there"
                if self._refused == DIFFERS
                else "it must answer greedy chat completions"
                + (
                    f" with {self._fingerprint.top} top_logprobs"
                    * (self._fingerprint.compares == "log-probs")
                ),
            )

    def down(self) -> str:
        """Return why it is not taken for the certified model now, or an empty text."""
        return self._refused or (STALE if time.monotonic() > self._good_until else "")

    async def open(self) -> None:
        """Make the connection pool, and begin to compare."""
        await super().open()
        self._task = asyncio.create_task(self._compare_forever())

    async def close(self) -> None:
        """Stop comparing, and close the connection pool."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await super().close()

    def stream(self, body: dict[str, Any]) -> AsyncGenerator[Delta, None]:
        """Yield the steps of a reply; see `Upstream`."""
        return super().stream(self._asked(body))

    def describe(self) -> dict[str, Any]:
        """Return what `/status` says of the comparison."""
        found = self._fingerprint
        at, unlike = self._compared or (None, 0)
        return {
            "note": WEAKER,
            "compares": found.compares,
            "compared_at": at.isoformat() if at else None,
            "asked": found.asked,
            "unlike": unlike,
            "alarm_at": found.alarm_at,
            "false_alarm": found.false_alarm,
            "miss": found.miss,
            "every_s": self._every_s,
            "probes": found.probes,
            "most_asked": max(self._uses),
        }

    def _asked(self, body: dict[str, Any]) -> dict[str, Any]:
        """A body as it goes out, of a client's request and of a probe alike."""
        wished: dict[str, Any] = {"model": self._model} if self._model else {}
        if self._fingerprint.compares == "log-probs":
            wished |= {"logprobs": True, "top_logprobs": self._fingerprint.top}
        return {**body, **wished}

    async def _compare_forever(self) -> None:
        while self._refused != DIFFERS:
            if self._refused:
                await asyncio.sleep(min(AGAIN_S, self._every_s))
            try:
                await self._compare(0 if self._refused else self._every_s)
            except Exception as exc:  # whatever it is, it was not a yes
                self._refused = UNREAD
                log.error("fingerprint of %s: %s", self._serving.called, type(exc).__name__)

    async def _compare(self, spread_s: float) -> None:
        """Ask the probes of one comparison, spread over some time; the result stands as soon as it is sure."""
        places = self._next()
        moments = [self._draw.uniform(0, spread_s) for _ in places]
        free, unlike = asyncio.Semaphore(_TOGETHER), 0

        async def ask(place: int, after_s: float) -> float:
            await asyncio.sleep(after_s)
            async with free:
                return await self._distance(self._probes[place])

        tasks = [asyncio.create_task(ask(p, m)) for p, m in zip(places, moments, strict=True)]
        try:
            for done in asyncio.as_completed(tasks):
                unlike += await done > self._fingerprint.max_unlike
                if unlike >= self._fingerprint.alarm_at:
                    self._refused = DIFFERS
                    break
            else:
                self._refused = ""
                self._good_until = time.monotonic() + 2 * (self._every_s + self._limit_s)
        except HttpError as exc:
            self._refused = UNREAD
            log.error("fingerprint of %s could not be compared: %s", self._serving.called, exc.code)
            return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._compared = now(), unlike
        said = "is ANOTHER MODEL" if self._refused else "answers as certified"
        log.log(
            logging.ERROR if self._refused else logging.INFO,
            "fingerprint of %s: the upstream %s, %d of %d probes unlike, alarm at %d",
            self._serving.called, said, unlike, len(places), self._fingerprint.alarm_at,
        )  # fmt: skip

    def _next(self) -> Sequence[int]:
        """Those asked least often so far, by chance among equals: a request that comes again gives itself away."""
        places = list(range(len(self._probes)))
        self._draw.shuffle(places)
        places = sorted(places, key=self._uses.__getitem__)[: self._fingerprint.asked]
        for place in places:
            self._uses[place] += 1
        return places

    async def _distance(self, probe: Probe) -> float:
        for pause_s in _PAUSES_S:
            await asyncio.sleep(pause_s)
            try:
                return probe.unlike(await self._begin(probe))
            except HttpError as exc:
                failed = exc
        raise failed

    async def _begin(self, probe: Probe) -> Any:
        said = {"model": self._serving.called, "messages": [{"role": "user", "content": probe.prompt}]}
        body = self._asked(compose(self._serving, parse_chat(said, self._serving.policy.gateway)))
        try:
            async with asyncio.timeout(self._limit_s):
                reply = await self._client.post(orjson.dumps(body))
                try:
                    data = await read_body(reply)
                finally:
                    reply.let_go()
        except TimeoutError as exc:
            raise HttpError("the upstream does not answer", status=502, code="upstream-unreachable") from exc
        if reply.status != 200:
            raise HttpError("the upstream refused", status=502, code="upstream-refused")
        return read_beginning(
            data,
            stream=reply.content_type != "application/json",
            compares=self._fingerprint.compares,
            steps=self._fingerprint.steps,
        )
