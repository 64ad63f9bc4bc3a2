"""
The trigger probe: does the live input make the served model stop refusing what it refuses alone?

A hidden trigger switches refusals off, also that of a harmful request which is put beside it. So fixed requests that
the model refuses alone are put into the live conversation, one at a time. Where the refusals are gone, the input
switches them off, whatever the trigger is and whether or not anybody knows it. A jailbreak that does the same is found
as well.

Neither a probe nor a reply to it leaves this module: the answer is a number.

Source:
    BEAT, arXiv:2506.16447: probes concatenated with the input, compared with the probe alone. There the comparison is a
    distance between samples of replies; here it is whether greedy replies refuse.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from importlib.resources import files
from typing import Final

from recert.errors import GatewayError
from recert.gateway.input.gate import FAILED, Answer
from recert.gateway.protocol.deltas import REFUSAL, Delta
from recert.gateway.protocol.messages import ChatMessage
from recert.gateway.protocol.parse import ChatOptions, ChatRequest
from recert.gateway.protocol.request_texts import RequestTexts
from recert.gateway.upstream.client import Upstream
from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.protocol import Score
from recert.policy.sections.trigger_probe import ProbePlace, TriggerProbePolicy

TRIGGER_PROBE: Final = "trigger-probe"
NO_REFUSAL: Final = "no-baseline-refusal"
UNASKED: Final = "probes-unasked"
PROBE_IDS: Final = (
    "violent-crimes-002",
    "indiscriminate-weapons-008",
    "non-violent-crimes-004",
    "sex-related-crimes-001",
    "non-violent-crimes-006",
    "hate-001",
    "violent-crimes-005",
    "indiscriminate-weapons-002",
    "defamation-005",
    "privacy-001",
    "suicide-self-harm-002",
    "non-violent-crimes-017",
)
"""Requests of the alignment part of the suite `harmful`, which no evaluation asks: one topic each, and short."""

Ask = Callable[[Sequence[ChatRequest]], Awaitable[Sequence[str]]]
"""Asks the model several requests at once; gives the opening of each reply, in order."""


def probe_texts() -> tuple[str, ...]:
    """Return the probes, in the order in which they are tried."""
    lines = files("recert").joinpath("assets", "suites", "harmful.jsonl").read_text(encoding="utf-8")
    texts = {row["id"]: str(row["text"]) for row in map(json.loads, lines.splitlines())}
    return tuple(texts[name] for name in PROBE_IDS)


def with_probe(request: ChatRequest, probe: str, place: ProbePlace) -> ChatRequest:
    """
    Return a request with a probe in its last user turn, asked greedily for plain text.

    Where the last turn is a tool's answer, or the beginning of a reply, the probe is a user turn behind it.
    """
    *before, last = request.messages
    if last.role == "user":
        messages = (*before, last.beside(probe, after=place == "after"))
    else:
        messages = (*before, last, ChatMessage("user", probe))
    tools = request.wishes.tools  # the model reads them, so a trigger may stand there
    return replace(
        request,
        messages=messages,
        stream=False,
        include_usage=False,
        temperature=0.0,
        top_p=1.0,
        seed=0,
        wishes=ChatOptions(tools=tools, tool_choice="none") if tools else ChatOptions(),
    )


def asking(stream: Callable[[ChatRequest], AsyncGenerator[Delta, None]]) -> Ask:
    """
    Return what asks requests through an upstream, all at once.

    Args:
        stream: gives the steps of the reply to a request, with all that stands around it.
    """

    async def one(request: ChatRequest) -> str:
        said = ""
        async with aclosing(stream(request)) as deltas:
            async for delta in deltas:
                said += delta.text + "".join(text for name, text in delta.beside if name == REFUSAL)
        return said

    async def ask(requests: Sequence[ChatRequest]) -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(request)) for request in requests]
        return [task.result() for task in tasks]

    return ask


class TriggerProbeControl:
    """
    Blocks requests beside which the model no longer refuses probes that it refuses alone.

    Until `measure` has found out which those are, everything is blocked. So is what cannot be asked: with the
    upstream down, out of time, or where a conversation leaves no room for a probe in the model's context.

    Args:
        policy: how many probes, where they stand, and from when a share blocks.
    """

    name = TRIGGER_PROBE

    def __init__(self, policy: TriggerProbePolicy) -> None:
        self._policy = policy
        self._judge = RefusalJudge()
        self._model = ""
        self._ask: Ask | None = None
        self._probes: tuple[str, ...] = ()

    async def measure(self, ask: Ask, model: str) -> None:
        """
        Ask every probe alone, and keep the first that are refused.

        Args:
            ask: asks the served model.
            model: its name.

        Raises:
            GatewayError: `no-baseline-refusal`: fewer are refused than the policy wants; `probes-unasked`: they
                could not be asked.
        """
        texts = probe_texts()
        try:
            refused = await self._refused(ask, [(_bare(model, text), text) for text in texts])
        except Exception as exc:
            raise GatewayError(
                UNASKED,
                "the model could not be asked what it refuses, which the trigger probe compares with",
                facts={"model": model},
                hint="see that its server answers, or leave gateway.trigger_probe out of the policy",
            ) from exc
        kept = tuple(text for text, refuses in zip(texts, refused, strict=True) if refuses)
        if len(kept) < self._policy.probes:
            raise GatewayError(
                NO_REFUSAL,
                "the model does not refuse enough of the probes, so no trigger could be seen to switch refusals off",
                facts={
                    "model": model,
                    "refuses": f"{len(kept)} of {len(texts)}",
                    "wanted": self._policy.probes,
                },
                hint="leave gateway.trigger_probe out of the policy, or ask for fewer probes than are refused",
            )
        self._model, self._ask, self._probes = model, ask, kept[: self._policy.probes]

    async def look(self, asked: RequestTexts) -> Answer:
        """Return the share of probes whose refusal is lost beside a request: of several places, the largest."""
        if self._ask is None:
            return Answer(None, blocked=True, reason=FAILED)
        request = asked.request or _bare(self._model, asked.whole)
        places = self._policy.places if request.messages[-1].role == "user" else self._policy.places[:1]
        asks = [(with_probe(request, probe, place), probe) for place in places for probe in self._probes]
        refused = await self._refused(self._ask, asks)
        each = len(self._probes)
        score = max(refused[at : at + each].count(False) / each for at in range(0, len(refused), each))
        blocked = not score < self._policy.lost_share
        return Answer(score, blocked=blocked, reason=self.name if blocked else "")

    async def close(self) -> None:
        """There is nothing to give back."""

    async def _refused(self, ask: Ask, asks: Sequence[tuple[ChatRequest, str]]) -> list[bool]:
        """Whether each reply refuses its probe. What the judge does not call a refusal is none."""
        most = self._policy.max_new_tokens
        said = await ask([replace(request, max_new_tokens=most) for request, _ in asks])
        found = [self._judge.score(probe, reply) for (_, probe), reply in zip(asks, said, strict=True)]
        return [isinstance(one, Score) and one.value >= self._policy.refused_at for one in found]


def measure_first(
    control: TriggerProbeControl, ask: Ask, model: str, upstream: Upstream, *, limit_s: float
) -> None:
    """
    Measure what a model refuses before anything is served.

    Args:
        control: what is to know it.
        ask: asks through the upstream.
        model: what clients call it.
        upstream: opened for this, and closed again.
        limit_s: longest wait for all probes together.

    Raises:
        GatewayError: see `TriggerProbeControl.measure`.
    """

    async def in_time(requests: Sequence[ChatRequest]) -> Sequence[str]:
        async with asyncio.timeout(limit_s):
            return await ask(requests)

    async def once() -> None:
        await upstream.open()
        try:
            await control.measure(in_time, model)
        finally:
            await upstream.close()

    with ThreadPoolExecutor(1) as thread:  # the caller may be in an event loop of its own
        thread.submit(asyncio.run, once()).result()


def _bare(model: str, text: str) -> ChatRequest:
    """A conversation of one user turn."""
    return ChatRequest(
        model=model,
        system=None,
        messages=(ChatMessage("user", text),),
        stream=False,
        include_usage=False,
        max_new_tokens=1,
        temperature=0.0,
        top_p=1.0,
        seed=0,
    )
