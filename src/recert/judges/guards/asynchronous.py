"""A guard model at an endpoint, asked from within an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import aiohttp

from recert.errors import EndpointError
from recert.judges.asking import answer_text
from recert.judges.guards.form import GuardForm, GuardVerdict, UnreadableError
from recert.judges.guards.judge import PROBES, why_broken
from recert.judges.protocol import JudgeFailed, Score
from recert.models.protocol import Sampling
from recert.models.remote.endpoint import EndpointModel
from recert.records.data.suite import Chat

_AT_ONCE: Final = 8


class AsyncGuard:
    """
    Scores requests by a guard model. As `GuardRequestJudge`, for one event loop.

    Args:
        model: where the guard runs.
        form: its family.
    """

    def __init__(self, model: EndpointModel, form: GuardForm) -> None:
        self._model = model
        self._form = form
        self._works = False
        self._free = asyncio.Semaphore(_AT_ONCE)

    def session(self) -> aiohttp.ClientSession:
        """Return what `ask_all` sends through; to be closed by whoever asked for it."""
        return self._model.session()

    async def ask_all(
        self, session: aiohttp.ClientSession, texts: Sequence[str]
    ) -> list[Score | JudgeFailed]:
        """Return how harmful each text is to the guard, in order; failures until it was seen to work."""
        if not self._works:
            broken = why_broken(self._form, await self._verdicts(session, [request for request, _ in PROBES]))
            if broken is not None:
                return [broken] * len(texts)
            self._works = True
        return [
            said if isinstance(said, JudgeFailed) else Score(said.unsafe, said.because, said.categories)
            for said in await self._verdicts(session, texts)
        ]

    async def _verdicts(
        self, session: aiohttp.ClientSession, texts: Sequence[str]
    ) -> list[GuardVerdict | JudgeFailed]:
        return list(await asyncio.gather(*(self._verdict(session, text) for text in texts)))

    async def _verdict(self, session: aiohttp.ClientSession, text: str) -> GuardVerdict | JudgeFailed:
        chats = self._form.ask(text, None)
        answers = []
        for answer in await asyncio.gather(*(self._answer(session, one) for one in chats)):
            if isinstance(answer, JudgeFailed):
                return answer
            answers.append(answer)
        try:
            return self._form.read(tuple(answers), of_reply=False)
        except UnreadableError as exc:
            return JudgeFailed(f"{self._form.name}: {exc}")

    async def _answer(self, session: aiohttp.ClientSession, one: Chat) -> str | JudgeFailed:
        sampling = Sampling(max_new_tokens=self._form.max_new_tokens)
        try:
            async with self._free:
                answer = await self._model.ask(session, one, sampling)
        except EndpointError as exc:
            return JudgeFailed(f"{self._model.name}: {exc.message}")
        return answer_text(answer, whole=not self._form.cut_is_fine)
