"""Controls that ask elsewhere: a guard model at an endpoint, or the moderation API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import aiohttp

from recert.gateway.input.gate import FAILED, Answer, answer_of
from recert.gateway.output.thresholds import Thresholds, worst
from recert.gateway.protocol.request_texts import RequestTexts, pieces, readings
from recert.gateway.serving.workers import Workers
from recert.judges.protocol import JudgeFailed, Score
from recert.policy.policy import GatewayPolicy

TOO_DEEP: Final = "encoded-too-deep"
_MOST_TEXTS: Final = 64


class RemoteJudge(Protocol):
    """Scores texts somewhere else, from within an event loop."""

    def session(self) -> aiohttp.ClientSession:
        """Return what it sends through."""

    async def ask_all(
        self, session: aiohttp.ClientSession, texts: Sequence[str]
    ) -> list[Score | JudgeFailed]:
        """Return one score for each text, in order."""


class RemoteControl:
    """
    Blocks requests of which a judge elsewhere finds the question, or all texts together, harmful.

    Or a part of a spoken turn. Each is asked about in every reading, long ones in pieces. What cannot be asked within
    the limit of the gate, and what would take more than 64 questions, blocks.

    Args:
        name: what it is called.
        judge: who is asked.
        policy: thresholds, and how often a text is decoded.
    """

    def __init__(self, name: str, judge: RemoteJudge, policy: GatewayPolicy) -> None:
        self.name = name
        self._judge = judge
        self._thresholds = Thresholds(policy, policy.input_harm_score)
        self._depth = policy.max_encoding_depth
        self._limit_s = policy.control_timeout_s
        self._workers = Workers(1)
        self._session: aiohttp.ClientSession | None = None

    async def look(self, asked: RequestTexts) -> Answer:
        """Return what the thresholds make of the worst answer."""
        texts, deeper = await self._workers.run(lambda: self._texts(asked), self._limit_s)
        if deeper or len(texts) > _MOST_TEXTS:
            return Answer(None, blocked=True, reason=TOO_DEEP if deeper else FAILED)
        if not texts:
            return Answer(0.0, blocked=False)
        if self._session is None:
            self._session = self._judge.session()
        said = await self._judge.ask_all(self._session, texts)
        scores = [one for one in said if isinstance(one, Score)]
        if len(scores) != len(texts) or len(said) != len(texts):
            return Answer(None, blocked=True, reason=FAILED)
        return answer_of(worst(scores), self._thresholds, self.name)

    def _texts(self, asked: RequestTexts) -> tuple[tuple[str, ...], bool]:
        found: dict[str, None] = {}
        for text in dict.fromkeys((asked.whole, *asked.turns[-1:], *asked.apart)):
            views, deeper = readings(text, self._depth)
            if deeper:
                return (), True
            found |= dict.fromkeys(piece for view in views for piece in pieces(view) if piece.strip())
        return tuple(found), False

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
