"""One chat completion, in the order that the design gives: see `Chat.answer`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, Final, Protocol

import orjson

from recert.errors import StoreError
from recert.gateway.access.budgets import Budgets
from recert.gateway.audio.hearing import Heard
from recert.gateway.output.gate import OutputGate
from recert.gateway.output.reply_gate import ReplyGate, whole
from recert.gateway.protocol.errors import HttpError, stopped
from recert.gateway.protocol.exchange_builder import ExchangeBuilder, Tally
from recert.gateway.protocol.http import EVENTS, Http
from recert.gateway.protocol.parse import ChatRequest, parse_chat, read_model, read_object
from recert.gateway.protocol.request_texts import CONVERSATION_HEADER, RequestTexts
from recert.gateway.protocol.responses import DONE, FILTERED, ChatBodies, End, Rating, Said
from recert.gateway.service import Stopped
from recert.gateway.serving.served import ServedModel, ServedModels
from recert.models.chat.prompting import compose_system, with_suffix
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.store.audit.checkpoints import AuditLag
from recert.store.audit.log import AuditLog

log = logging.getLogger("recert.gateway")

_CHARS_A_TOKEN: Final = 3
_TOKENS_A_SECOND: Final = 50
"""Of a clip, at most, for models that hear; people speak slower than that in words."""


class Around(Protocol):
    """What stands around the requests to a model."""

    @property
    def policy(self) -> Policy:
        """The certificate's policy."""

    @property
    def secret(self) -> SecretPrefix | None:
        """Its secret prefix, where it has one."""


def compose(served: Around, request: ChatRequest) -> dict[str, Any]:
    """Return the body for the upstream: made anew, so that only what was understood goes on."""
    secret = served.secret.reveal() if served.secret else None
    system = compose_system(secret, served.policy.gateway.system_instruction, request.system)
    head = [{"role": "system", "content": system}] if system is not None else []
    suffix = served.policy.gateway.immutable_suffix
    return {
        "model": request.model,
        "messages": [*head, *(_with_suffix(message.to_value(), suffix) for message in request.messages)],
        "max_tokens": request.max_new_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        **request.wishes.to_value(),
    }


def estimate(request: ChatRequest) -> int:
    """Return about how many tokens a prompt has, rather too many than too few."""
    written = sum(map(len, request.texts())) // _CHARS_A_TOKEN + 1
    return written + int(_TOKENS_A_SECOND * sum(clip.seconds for clip in request.clips))


class Chat:
    """Answers chat completions of certified models, the one that the request names."""

    def __init__(self, models: ServedModels, audit: AuditLog, budgets: Budgets | None = None) -> None:
        self._models = models
        self._audit = audit
        self._budgets = budgets or Budgets()
        self._max_body_bytes = max(served.max_body_bytes for served in models)

    @property
    def audit_lag(self) -> AuditLag | None:
        """How far signed checkpoints are behind the audit log; None where none are made."""
        return self._audit.lag

    async def answer(self, http: Http, client: str) -> None:
        """
        Answer one request of an authenticated client.

        model → certificate → parse → budget → hearing what is spoken → input controls → secret and instruction
        → upstream → output controls → audit line → reply.
        Whatever goes wrong ends in an audit line and an error.
        """
        draft = http.draft = ExchangeBuilder(http.request_id, client, self._audit.keeps_texts)
        error: HttpError | None = None
        try:
            served, value = await self._choose(http, draft)
            error = await self._within_limits(served, http, draft, value)
        except Stopped as exc:
            error = stopped(exc.reason)
        except HttpError as exc:
            error = exc.with_traceback(None)  # what raised it holds this frame, and this frame it: a ring
        except Exception as exc:
            log.error(orjson.dumps({"request_id": draft.request_id, "error": type(exc).__name__}).decode())
            error = HttpError("the gateway failed", status=500, code="internal")
        finally:
            http.stop_watching()
            if draft.taken:
                self._budgets.settle(draft.taken, draft.tally.tokens)
        if error:
            await self._fail(http, draft, error)

    async def _choose(self, http: Http, draft: ExchangeBuilder) -> tuple[ServedModel, dict[str, Any]]:
        """Read the body; return the model that it names, and what it says."""
        if self._models.only:
            _names(draft, http, self._models.only)
        self._models.require_any()
        body = await http.body(self._max_body_bytes)
        draft.read(body)
        value = read_object(body)
        name = read_model(value)
        may_ask = http.grant.may_ask
        served = self._models.find(name, draft.client) if may_ask(name) else None
        if served is None:
            raise HttpError(
                f"this gateway serves {self._models.names(may_ask) or 'nothing that this key may ask'} only",
                status=404, kind="invalid_request_error", param="model", code="model_not_found",
            )  # fmt: skip
        _names(draft, http, served)
        if len(body) > served.max_body_bytes:
            raise http.too_large(served.max_body_bytes)
        draft.body_bytes = len(body)
        return served, value

    async def _within_limits(
        self, served: ServedModel, http: Http, draft: ExchangeBuilder, value: dict[str, Any]
    ) -> HttpError | None:
        """Answer within the time limit, or until service stops; return why it was cut short."""
        try:
            async with asyncio.timeout(served.policy.gateway.upstream_timeout_s) as deadline:
                with served.service.running(deadline):
                    await self._answer(served, http, draft, value, deadline)
        except TimeoutError:
            if http.gone:
                return HttpError("the client went away", code="client-gone")
            if served.service.reason:
                return stopped(served.service.reason)
            return HttpError("the model did not answer in time", status=504, code="upstream-timeout")
        return None

    async def _answer(
        self,
        served: ServedModel,
        http: Http,
        draft: ExchangeBuilder,
        value: dict[str, Any],
        deadline: asyncio.Timeout,
    ) -> None:
        served.service.require()
        request = _read(served, http, draft, value)
        draft.asked, draft.streamed = request, request.stream
        http.end_when_gone(deadline)
        most = estimate(request) + request.max_new_tokens * request.wishes.choices
        draft.taken = await self._budgets.take(http.grant, most)
        http.extra += draft.taken.headers
        created = int(draft.received_at.timestamp())
        levels = served.policy.gateway.levels
        reply = ChatBodies(draft.request_id, draft.model, created, draft.serial, levels)
        heard = await _hear(served, draft, request) if request.clips else None
        if heard is None or not heard.score.blocked:
            request, apart = (heard.request, heard.apart) if heard else (request, ())
            draft.scores += await served.controls.check_request(_asked(http, draft, request, apart))
        blocked = next((score.reason for score in draft.scores if score.blocked), "")
        served.service.require()
        if blocked:
            draft.decision, draft.reason = "blocked-input", blocked
            await self._send_blocked(http, draft, request, reply)
        elif request.stream:
            await self._stream(served, http, draft, request, reply)
        else:
            await self._plain(served, http, draft, request, reply)

    async def _plain(
        self, served: ServedModel, http: Http, draft: ExchangeBuilder, request: ChatRequest, reply: ChatBodies
    ) -> None:
        gate = _gate(served, draft, request)
        draft.tally = tally = Tally(estimate(request))
        steps = []
        async with aclosing(served.upstream.stream(compose(served, request))) as deltas:
            async for delta in deltas:
                tally.add(delta)
                said = await gate.feed(delta)
                if said:
                    steps.append(said)
                if gate.over:
                    break
        steps += await gate.finish()
        served.service.require()
        ends = _decide(draft, gate)
        released = [draft.release(said) for said in whole(steps, ends)]
        await self._write_line(draft, draft.decision)
        await http.reply(200, reply.completion(released, ends, tally.usage()))

    async def _stream(
        self, served: ServedModel, http: Http, draft: ExchangeBuilder, request: ChatRequest, reply: ChatBodies
    ) -> None:
        gate = _gate(served, draft, request)
        draft.tally = tally = Tally(estimate(request))
        # on its way to disk while the model is asked
        opened = self._audit.submit(draft.exchange("opened"), draft.texts())
        opening = reply.opening(request.wishes.choices)
        async with aclosing(served.upstream.stream(compose(served, request))) as deltas:
            async for delta in deltas:
                tally.add(delta)
                said = await gate.feed(delta)
                if said:
                    await self._release(served, http, opened, opening, reply.piece(draft.release(said)))
                if gate.over:
                    break
        rest = b"".join([reply.piece(draft.release(said)) for said in await gate.finish()])
        await self._release(served, http, opened, opening, rest)
        ends = _decide(draft, gate)
        await self._write_line(draft, draft.decision)
        await _end_stream(http, request, reply, ends, tally.usage())

    async def _release(
        self, served: ServedModel, http: Http, opened: Future[int], opening: bytes, data: bytes
    ) -> None:
        """Send what may leave; before the first, status and headers, once the audit line is on disk."""
        if not http.started:
            await self._on_disk(opened)
            served.service.require()
            await http.start(200, EVENTS)
            data = opening + data
        served.service.require()
        if data:
            await http.write(data)

    async def _send_blocked(
        self, http: Http, draft: ExchangeBuilder, request: ChatRequest, reply: ChatBodies
    ) -> None:
        ratings = tuple(Rating(score) for score in draft.scores)
        ends = [End(FILTERED, draft.reason, ratings)] * request.wishes.choices
        draft.finish_reasons = (FILTERED,) * len(ends)
        await self._write_line(draft, draft.decision)
        if request.stream:
            await http.start(200, EVENTS)
            await http.write(reply.opening(len(ends)))
            await _end_stream(http, request, reply, ends, Tally().usage())
        else:
            nothing = [Said(at, {}) for at in range(len(ends))]
            await http.reply(200, reply.completion(nothing, ends, Tally().usage()))

    async def _fail(self, http: Http, draft: ExchangeBuilder, error: HttpError) -> None:
        refused = error.status < 500 or error.status == 503
        draft.decision, draft.reason = ("refused" if refused else "failed"), error.code
        try:
            await self._write_line(draft, draft.decision)
        except HttpError as exc:
            error = exc.with_traceback(None)
        if not http.gone:
            await http.error(error)

    async def _write_line(self, draft: ExchangeBuilder, decision: str) -> None:
        """Wait until the exchange's line is on disk: no reply leaves without it."""
        await self._on_disk(self._audit.submit(draft.exchange(decision), draft.texts()))

    @staticmethod
    async def _on_disk(line: Future[int]) -> None:
        try:
            await asyncio.wrap_future(line)
        except StoreError as exc:
            raise stopped("audit-unavailable") from exc


async def _end_stream(
    http: Http, request: ChatRequest, reply: ChatBodies, ends: Sequence[End], usage: dict[str, int]
) -> None:
    data = reply.ending(ends)
    if request.include_usage:
        data += reply.usage(usage)
    await http.write(data + DONE, more=False)


def _gate(served: ServedModel, draft: ExchangeBuilder, request: ChatRequest) -> ReplyGate:
    def make(prefill: str) -> OutputGate:
        return served.controls.gate(request.question, by_sentence=request.stream, prefill=prefill)

    allow = served.policy.gateway.allow
    return ReplyGate(
        make,
        request.wishes,
        allow,
        request_id=draft.request_id,
        prefill=request.prefill,
        reasoning=served.policy.reasoning,
    )


def _decide(draft: ExchangeBuilder, gate: ReplyGate) -> list[End]:
    draft.scores += gate.scores
    draft.decision, draft.reason = ("blocked-output", gate.blocked) if gate.blocked else ("released", "")
    ends = gate.ends()
    draft.finish_reasons = tuple(end.finish_reason for end in ends)
    return ends


def _read(served: ServedModel, http: Http, draft: ExchangeBuilder, value: dict[str, Any]) -> ChatRequest:
    bounds = served.policy.gateway
    request = parse_chat(value, bounds, served.hearing.bounds if served.hearing else None)
    if draft.body_bytes > bounds.max_body_bytes and not request.clips:  # only clips may take so much
        raise http.too_large(bounds.max_body_bytes)
    return request


async def _hear(served: ServedModel, draft: ExchangeBuilder, request: ChatRequest) -> Heard:
    """Hear the clips of a request, and keep what is known of them."""
    assert served.hearing is not None
    heard = await served.hearing.hear(request)
    draft.heard = heard
    draft.scores.append(heard.score)
    return heard


def _asked(
    http: Http, draft: ExchangeBuilder, request: ChatRequest, apart: tuple[str, ...] = ()
) -> RequestTexts:
    """What input controls look at. The conversation's name counts for this client alone."""
    name = http.header(CONVERSATION_HEADER)
    draft.name_conversation(name)
    return RequestTexts(request.texts(), request.user_turns, draft.client, name, request, apart)


def _with_suffix(message: dict[str, Any], suffix: str) -> dict[str, Any]:
    """A message with the policy's suffix, where a user said it."""
    if suffix and message["role"] == "user":
        said = message["content"]
        if isinstance(said, list):
            said.append({"type": "text", "text": suffix})
        else:
            message["content"] = with_suffix(said, suffix)
    return message


def _names(draft: ExchangeBuilder, http: Http, served: ServedModel) -> None:
    """Name the certificate that answers in the audit line and in the reply's headers."""
    draft.serial = http.serial = served.certificate.serial
    draft.model = served.name
