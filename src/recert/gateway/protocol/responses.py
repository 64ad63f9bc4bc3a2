"""What clients get of one reply: OpenAI-shaped bodies and stream events of chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

import orjson

from recert.gateway.protocol.deltas import CONTENT, REFUSAL, TOOL_CALLS, LogProbs
from recert.gateway.protocol.messages import ToolCall
from recert.policy.thresholds import HarmLevels
from recert.records.live.exchange import ControlScore

DONE: Final = b"data: [DONE]\n\n"
FILTERED: Final = "content_filter"


class Said(NamedTuple):
    """What may leave of one choice, whole or the next step: texts by field, calls, log probabilities."""

    choice: int
    texts: Mapping[str, str]
    calls: tuple[ToolCall, ...] = ()
    logprobs: LogProbs = ()


class Rating(NamedTuple):
    """What a control said of a field of a choice; of the request, where there is no field."""

    score: ControlScore
    choice: int = 0
    field: str = ""


class End(NamedTuple):
    """How one choice ended. `ratings` say why, where what follows was kept back: then `blocked` is the reason."""

    finish_reason: str
    blocked: str = ""
    ratings: tuple[Rating, ...] = ()


@dataclass
class ChatBodies:
    """
    The bodies of one reply.

    Args:
        request_id: also the reply's.
        model: its certified name.
        created: seconds since 1970.
        serial: of the certificate that answers.
        levels: from scores to levels of harm.
    """

    request_id: str
    model: str
    created: int
    serial: str
    levels: HarmLevels = field(default_factory=HarmLevels)
    _around: dict[tuple[int, str], tuple[bytes, bytes]] = field(default_factory=dict)

    prefix: ClassVar[str] = "chatcmpl-"
    whole: ClassVar[str] = "chat.completion"
    step: ClassVar[str] = "chat.completion.chunk"

    def completion(self, said: Sequence[Said], ends: Sequence[End], usage: dict[str, int]) -> bytes:
        """Return the body of a plain reply."""
        frame = self._frame(self.whole)
        frame["choices"] = [
            {**self.choice_value(one), "finish_reason": end.finish_reason}
            for one, end in zip(said, ends, strict=True)
        ]
        frame["usage"] = usage
        frame["recert"] = self._note(ends)
        return orjson.dumps(frame)

    def opening(self, choices: int) -> bytes:
        """Return the first events of a stream."""
        return b"".join(
            self._event({"index": at, "delta": {"role": "assistant", "content": ""}, "logprobs": None})
            for at in range(choices)
        )

    def text(self, choice: int, name: str, text: str) -> bytes:
        """Return the event that carries a piece of one field. Once a token: the rest of it is made once."""
        around = self._around.get((choice, name))
        if around is None:
            before, _, after = self._event(self.step_value(Said(choice, {name: ""}))).rpartition(b'""')
            around = self._around[choice, name] = before, after
        return around[0] + orjson.dumps(text) + around[1]

    def piece(self, said: Said) -> bytes:
        """Return the event that carries what may leave of a choice; nothing where that is nothing."""
        if said.calls or said.logprobs:
            return self._event(self.step_value(said))
        return b"".join([self.text(said.choice, name, text) for name, text in said.texts.items()])

    def ending(self, ends: Sequence[End]) -> bytes:
        """Return the events that end each choice of a stream."""
        return b"".join(
            self._event(
                {**self.step_value(Said(at, {})), "finish_reason": end.finish_reason}, self._note([end])
            )
            for at, end in enumerate(ends)
        )

    def usage(self, usage: dict[str, int]) -> bytes:
        """Return the event that carries the token counts of a stream."""
        return event({**self._frame(self.step), "choices": [], "usage": usage})

    def choice_value(self, said: Said) -> dict[str, Any]:
        """Return a choice of a plain reply."""
        content = said.texts.get(CONTENT, "")
        message: dict[str, Any] = {"role": "assistant", CONTENT: content, REFUSAL: None, **said.texts}
        if said.calls:
            message[CONTENT] = content or None
            message[TOOL_CALLS] = [call.to_value() for call in said.calls]
        return {"index": said.choice, "message": message, "logprobs": _logprobs(said.logprobs)}

    def step_value(self, said: Said) -> dict[str, Any]:
        """Return a choice of a stream event."""
        delta: dict[str, Any] = dict(said.texts)
        if said.calls:
            delta[TOOL_CALLS] = [{"index": at, **call.to_value()} for at, call in enumerate(said.calls)]
        return {"index": said.choice, "delta": delta, "logprobs": _logprobs(said.logprobs)}

    def _event(self, choice: dict[str, Any], note: dict[str, Any] | None = None) -> bytes:
        frame = {**self._frame(self.step), "choices": [{"finish_reason": None, **choice}]}
        return event({**frame, "recert": note} if note else frame)

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"{self.prefix}{self.request_id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.serial,
        }

    def _note(self, ends: Sequence[End]) -> dict[str, Any]:
        """The certificate; and where something was blocked, why, and what each control that acts said."""
        note: dict[str, Any] = {"certificate": self.serial}
        blocked = next((end.blocked for end in ends if end.blocked), "")
        if blocked:
            ratings = [self._rating(one) for end in ends for one in end.ratings if not one.score.shadow]
            note["blocked"] = blocked
            note["ratings"] = [one for at, one in enumerate(ratings) if one not in ratings[:at]]
        return note

    def _rating(self, one: Rating) -> dict[str, Any]:
        said = one.score
        rating: dict[str, Any] = {
            "control": said.control,
            "direction": said.direction,
            "blocked": said.blocked,
        }
        if one.field:
            rating |= {"choice": one.choice, "field": one.field}
        if said.category:
            rating["category"] = said.category
        if said.score is not None:
            rating |= {"level": self.levels.level(said.score), "score": round(said.score, 2)}
        return {**rating, "reason": said.reason} if said.reason else rating


def _logprobs(logprobs: LogProbs) -> dict[str, Any] | None:
    if not logprobs:
        return None
    tokens = [
        {"token": token, "logprob": number, "bytes": list(token.encode()), "top_logprobs": []}
        for token, number in logprobs
    ]
    return {CONTENT: tokens, REFUSAL: None}


def event(value: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"
