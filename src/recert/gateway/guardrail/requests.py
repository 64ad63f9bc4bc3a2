"""
The controls for those who serve elsewhere: LiteLLM's Generic Guardrail API.

LiteLLM posts what it is asked, and what a model said, to `ROUTE`; the answer is `NONE` or `BLOCKED`. Whatever
keeps the controls from answering is `BLOCKED` too, with status 200: LiteLLM can be told to go on after an error.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from urllib.parse import quote

import orjson

from recert.errors import StoreError
from recert.gateway.guardrail.texts import REQUEST, Posted, read_posted
from recert.gateway.output.gate import OutputGate
from recert.gateway.output.trace_gate import HIDDEN_TRACE, TraceGate, holds_hidden_trace, text_gate
from recert.gateway.protocol.errors import BadRequest, HttpError, stopped
from recert.gateway.protocol.exchange_builder import ExchangeBuilder
from recert.gateway.protocol.http import Http
from recert.gateway.protocol.parse import read_object
from recert.gateway.service import Stopped
from recert.gateway.serving.served import ServedModel, ServedModels
from recert.store.audit.log import AuditLog

log = logging.getLogger("recert.gateway")

ROUTE: Final = "/beta/litellm_basic_guardrail_api"
KEY_HEADER: Final = b"x-api-key"
"""Where LiteLLM puts the key of a guardrail."""
_MODELS: Final = "/models/"
_ALLOWED: Final = ("allowed-input", "allowed-output")
_STEP_CHARS: Final = 4_000
"""Others are answered between two pieces of a long reply."""


def is_guardrail(path: str) -> bool:
    """Say whether a path is the guardrail's: `ROUTE`, or `/models/NAME` before it where several are served."""
    before = path.removesuffix(ROUTE)
    return before != path and (not before or (before.startswith(_MODELS) and len(before) > len(_MODELS)))


def path_for(model: str) -> str:
    """Return the path of one model's controls."""
    return f"{_MODELS}{quote(model, safe='')}{ROUTE}"


class Guardrail:
    """
    Answers LiteLLM's guardrail requests with the controls of a certified model.

    Which model that is stands in the address, so that nobody who asks LiteLLM can choose it.
    """

    def __init__(self, models: ServedModels, audit: AuditLog) -> None:
        self._models = models
        self._audit = audit

    async def answer(self, http: Http, client: str) -> None:
        """
        Answer one request of an authenticated client: model → body → certificate → controls → audit line → answer.

        Whatever goes wrong is a line of the audit log and `BLOCKED`.
        """
        draft = http.draft = ExchangeBuilder(http.request_id, client, self._audit.keeps_texts)
        held: list[int] = []
        try:
            held = await self._judge(http, draft)
        except Stopped as exc:
            _refuse(draft, stopped(exc.reason))
        except HttpError as exc:
            _refuse(draft, exc)
        except TimeoutError:
            _refuse(draft, HttpError("the controls did not answer in time", code="control-timeout"))
        except Exception as exc:
            log.error(orjson.dumps({"request_id": draft.request_id, "error": type(exc).__name__}).decode())
            _refuse(draft, HttpError("the gateway failed", code="internal"))
        line = draft.exchange(draft.decision)
        try:
            await asyncio.wrap_future(self._audit.submit(line, draft.texts()))
        except StoreError:
            _refuse(draft, stopped("audit-unavailable"))
        if not http.gone:
            await http.reply(200, _body(draft, held))

    async def _judge(self, http: Http, draft: ExchangeBuilder) -> list[int]:
        """Put the decision into the draft; return how much of each text of a stream is to be held back."""
        served = self._choose(http, draft.client)
        draft.serial = http.serial = served.certificate.serial
        draft.model = served.name
        served.service.require()
        body = await http.body(served.policy.gateway.max_body_bytes)
        draft.read(body)
        posted = read_posted(read_object(body))
        held: list[int] = []
        try:
            async with asyncio.timeout(served.policy.gateway.upstream_timeout_s) as deadline:
                with served.service.running(deadline):
                    if posted.direction == REQUEST:
                        await _judge_request(served, draft, posted)
                    else:
                        held = await _judge_response(served, draft, posted)
        except TimeoutError:
            served.service.require()
            raise
        served.service.require()
        return held

    def _choose(self, http: Http, client: str) -> ServedModel:
        named = http.path.removesuffix(ROUTE).removeprefix(_MODELS)
        found = self._models.find(named, client) if named else self._models.only
        if found is None or not http.grant.may_ask(named or found.name):
            raise BadRequest("no such model: name one in api_base", code="model_not_found", status=404)
        return found


async def _judge_request(served: ServedModel, draft: ExchangeBuilder, posted: Posted) -> None:
    draft.scores += await served.controls.check_request(posted.asked(draft.client))
    blocked = next((score.reason for score in draft.scores if score.blocked), "")
    draft.decision, draft.reason = ("blocked-input", blocked) if blocked else ("allowed-input", "")


async def _judge_response(served: ServedModel, draft: ExchangeBuilder, posted: Posted) -> list[int]:
    """
    Judge each text by itself, trace and answer apart, and all as one: a tool's name and arguments are read together.

    LiteLLM passes texts on as they are or not at all, so one with a trace that users must not see is blocked.
    """
    held: list[int] = []
    reasoning = served.policy.reasoning

    def make_gate(prefill: str) -> OutputGate:
        return served.controls.gate(posted.question, by_sentence=True, prefill=prefill)

    if reasoning is not None and any(holds_hidden_trace(text, reasoning) for text in posted.pieces()):
        draft.decision, draft.reason = "blocked-output", HIDDEN_TRACE
        return []
    whole = "\n".join(posted.texts)
    for number, text in enumerate([*posted.streamed, *posted.texts, whole]):
        if number >= len(posted.streamed) and text in posted.streamed:
            continue
        gate = text_gate(make_gate, "", reasoning)
        out = await _let_through(gate, text)
        if number < len(posted.streamed):
            held.append(len(text) - out)
        await gate.finish()
        draft.scores += gate.scores
        if gate.blocked:
            draft.decision, draft.reason = "blocked-output", gate.blocked
            return []
    draft.decision, draft.reason = "allowed-output", ""
    return held


async def _let_through(gate: OutputGate | TraceGate, text: str) -> int:
    """Feed a gate; return how many characters may leave before more is known."""
    out = 0
    for start in range(0, len(text), _STEP_CHARS):
        out += len(await gate.feed(text[start : start + _STEP_CHARS]))
        await asyncio.sleep(0)
    return out


def _refuse(draft: ExchangeBuilder, error: HttpError) -> None:
    draft.decision, draft.reason = "refused", error.code


def _body(draft: ExchangeBuilder, held: list[int]) -> bytes:
    answer: dict[str, Any]
    if draft.decision in _ALLOWED:
        answer = {"action": "NONE"}
        if held:
            answer["stream_holdback_chars"] = held
    else:
        answer = {"action": "BLOCKED", "blocked_reason": f"blocked by Recert: {draft.reason}"}
    return orjson.dumps(answer | {"recert": {"certificate": draft.serial, "request_id": draft.request_id}})
