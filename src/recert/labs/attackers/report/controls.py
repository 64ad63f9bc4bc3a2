"""A gateway's own controls, asked about the turns of an attack."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from recert.digest import sha256_json
from recert.gateway.controls import Controls
from recert.gateway.protocol.request_texts import RequestTexts
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.models.chat.secret import SecretPrefix
from recert.policy.policy import GatewayPolicy
from recert.records.data.suite import Chat

_CLIENT = "attack"


class GatewayScreen:
    """
    Blocks what a gateway with this policy would block; use it as a context manager.

    Requests are looked at with everything that stands before them, replies whole. The risk of a conversation is that of
    the history that the target is shown, at one moment: so a run that is resumed is blocked where it would have been.
    A gateway in service also remembers turns that an attacker took back, and forgets with time.

    Args:
        policy: of the gateway.
        secret: the secret whose echo is blocked; None for none.
        request_judge: scores requests; by default the embedded one, as in `recert serve`.
        reply_judge: scores replies; None for none, as in `recert serve`.

    Raises:
        GatewayError: the policy's controls cannot be made.
    """

    def __init__(
        self,
        policy: GatewayPolicy,
        *,
        secret: SecretPrefix | None = None,
        request_judge: RequestJudge | None = None,
        reply_judge: ReplyJudge | None = None,
    ) -> None:
        self._controls = Controls(
            policy.model_copy(update={"trigger_probe": None}),
            secret=secret,
            request_judge=request_judge or EmbeddedRequestJudge(),
            reply_judge=reply_judge,
            clock=lambda: 0.0,
        )
        self._runner = asyncio.Runner()

    @property
    def names(self) -> tuple[str, ...]:
        """Controls that act."""
        return self._controls.acting

    def requests(self, chats: Sequence[Chat]) -> list[str]:
        """Return for each conversation which control blocks it; empty for none."""
        return [self._runner.run(self._request(one)) for one in chats]

    def replies(self, chats: Sequence[Chat], replies: Sequence[str]) -> list[str]:
        """Return for each reply which control blocks it; empty for none."""
        return [
            self._runner.run(self._reply(one.messages[-1].content, reply))
            for one, reply in zip(chats, replies, strict=True)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._controls.close())
        self._runner.close()

    async def _request(self, one: Chat) -> str:
        texts = tuple(message.content for message in one.messages)
        turns = tuple(message.content for message in one.messages if message.role == "user")
        # A client for each history: conversations with a turn in common must not add up.
        client = sha256_json([_CLIENT, one.model_dump(mode="json")])
        scores = await self._controls.check_request(RequestTexts(texts, turns, client=client))
        return next((score.control for score in scores if score.blocked), "")

    async def _reply(self, question: str, reply: str) -> str:
        gate = self._controls.gate(question, by_sentence=False)
        await gate.feed(reply)
        await gate.finish()
        if not gate.blocked:
            return ""
        return next((score.control for score in gate.scores if score.blocked), gate.blocked)
