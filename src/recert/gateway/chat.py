"""One chat completion, in the order that the design gives: see `Chat.answer`."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from recert.digest import sha256_bytes
from recert.errors import StoreError
from recert.gateway.controls import Controls, OutputGate
from recert.gateway.http import EVENTS, Http
from recert.gateway.parse import ChatRequest, parse_chat
from recert.gateway.replies import DONE, HttpError, ReplyId, stopped
from recert.gateway.service import Service, Stopped
from recert.gateway.upstream import Delta, Upstream
from recert.models.prompting import compose_system
from recert.models.secret import SecretPrefix
from recert.policy.policy import GatewayPolicy
from recert.records import ControlScore, Exchange, now
from recert.store.audit import AuditLog

log = logging.getLogger("recert.gateway")


@dataclass
class _Draft:
    """What is known of an exchange so far."""

    request_id: str
    client: str
    serial: str
    model: str
    received_at: datetime = field(default_factory=now)
    started: float = field(default_factory=time.monotonic)
    request_sha256: str = sha256_bytes(b"")
    decision: str = "failed"
    reason: str = ""
    scores: list[ControlScore] = field(default_factory=list)
    streamed: bool = False
    released_chars: int = 0
    reply: Any = field(default_factory=hashlib.sha256)

    def release(self, text: str) -> str:
        self.released_chars += len(text)
        self.reply.update(text.encode())
        return text

    def exchange(self, decision: str) -> Exchange:
        return Exchange(
            request_id=self.request_id,
            client=self.client,
            certificate_serial=self.serial,
            model_name=self.model,
            request_sha256=self.request_sha256,
            reply_sha256=self.reply.hexdigest(),
            decision=decision,
            reason=self.reason,
            scores=tuple(self.scores),
            streamed=self.streamed,
            released_chars=self.released_chars,
            seconds=round(time.monotonic() - self.started, 6),
            received_at=self.received_at,
        )


class Chat:
    """Answers chat completions of one certified model."""

    def __init__(
        self,
        *,
        service: Service,
        controls: Controls,
        upstream: Upstream,
        audit: AuditLog,
        policy: GatewayPolicy,
        secret: SecretPrefix | None,
    ) -> None:
        self._service = service
        self._controls = controls
        self._upstream = upstream
        self._audit = audit
        self._policy = policy
        self._secret = secret

    async def answer(self, http: Http, client: str) -> None:
        """
        Answer one request of an authenticated client.

        certificate → parse → input controls → secret and instruction → upstream → output controls
        → audit line → reply.
        Whatever goes wrong ends in an audit line and an error.
        """
        certificate = self._service.certificate
        draft = _Draft(http.request_id, client, certificate.serial, certificate.model_name)
        error: HttpError | None = None
        try:
            async with asyncio.timeout(self._policy.upstream_timeout_s) as deadline:
                with self._service.running(deadline):
                    await self._answer(http, draft, deadline)
        except TimeoutError:
            error = self._why_cut(http)
        except Stopped as exc:
            error = stopped(exc.reason)
        except HttpError as exc:
            error = exc
        except Exception as exc:
            log.error(orjson.dumps({"request_id": draft.request_id, "error": type(exc).__name__}).decode())
            error = HttpError("the gateway failed", status=500, code="internal")
        finally:
            http.stop_watching()
        if error:
            await self._fail(http, draft, error)
        log.info(orjson.dumps(draft.exchange(draft.decision).to_value()).decode())

    def _why_cut(self, http: Http) -> HttpError:
        if http.gone:
            return HttpError("the client went away", code="client-gone")
        if self._service.reason:
            return stopped(self._service.reason)
        return HttpError("the model did not answer in time", status=504, code="upstream-timeout")

    async def _answer(self, http: Http, draft: _Draft, deadline: asyncio.Timeout) -> None:
        self._service.require()
        body = await http.body(self._policy.max_body_bytes)
        draft.request_sha256 = sha256_bytes(body)
        request = parse_chat(body, self._policy)
        draft.streamed = request.stream
        if request.model != draft.model:
            raise HttpError(
                f"this gateway serves {draft.model} only",
                status=404, kind="invalid_request_error", param="model", code="model_not_found",
            )  # fmt: skip
        http.end_when_gone(deadline)
        reply = ReplyId(draft.request_id, draft.model, int(draft.received_at.timestamp()), draft.serial)
        draft.scores += await self._controls.check_request(request.texts())
        blocked = next((score.reason for score in draft.scores if score.blocked), "")
        self._service.require()
        if blocked:
            draft.decision, draft.reason = "blocked-input", blocked
            await self._send_blocked(http, draft, request, reply)
        elif request.stream:
            await self._stream(http, draft, request, reply)
        else:
            await self._plain(http, draft, request, reply)

    def _compose(self, request: ChatRequest) -> dict[str, Any]:
        """Return the body for the upstream: made anew, so that only what was understood goes on."""
        secret = self._secret.reveal() if self._secret else None
        system = compose_system(secret, self._policy.system_instruction, request.system)
        head = [{"role": "system", "content": system}] if system is not None else []
        return {
            "model": request.model,
            "messages": [*head, *({"role": role, "content": text} for role, text in request.turns)],
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def _plain(self, http: Http, draft: _Draft, request: ChatRequest, reply: ReplyId) -> None:
        gate = self._controls.gate(request.question, by_sentence=False)
        tally = _Tally()
        text = []
        async with aclosing(self._upstream.stream(self._compose(request))) as deltas:
            async for delta in deltas:
                tally.add(delta)
                text.append(await gate.feed(delta.text))
                if gate.blocked:
                    break
        text.append(await gate.finish())
        self._service.require()
        finish_reason = self._decide(draft, gate, tally)
        released = draft.release("" if gate.blocked else "".join(text))
        await self._write_line(draft, draft.decision)
        await http.reply(200, reply.completion(released, finish_reason, tally.usage(), gate.blocked))

    async def _stream(self, http: Http, draft: _Draft, request: ChatRequest, reply: ReplyId) -> None:
        gate = self._controls.gate(request.question, by_sentence=True)
        tally = _Tally()
        await self._write_line(draft, "opened")
        self._service.require()
        await http.start(200, EVENTS)
        await http.write(reply.chunk("", first=True))
        async with aclosing(self._upstream.stream(self._compose(request))) as deltas:
            async for delta in deltas:
                tally.add(delta)
                text = await gate.feed(delta.text)
                if text:
                    self._service.require()
                    await http.write(reply.chunk(draft.release(text)))
                if gate.blocked:
                    break
        rest = await gate.finish()
        self._service.require()
        if rest:
            await http.write(reply.chunk(draft.release(rest)))
        finish_reason = self._decide(draft, gate, tally)
        await self._write_line(draft, draft.decision)
        await self._end_stream(http, request, reply, finish_reason, tally.usage(), reason=gate.blocked)

    async def _send_blocked(self, http: Http, draft: _Draft, request: ChatRequest, reply: ReplyId) -> None:
        await self._write_line(draft, draft.decision)
        if request.stream:
            await http.start(200, EVENTS)
            await http.write(reply.chunk("", first=True))
            await self._end_stream(
                http, request, reply, "content_filter", _Tally().usage(), reason=draft.reason
            )
        else:
            await http.reply(200, reply.completion("", "content_filter", _Tally().usage(), draft.reason))

    async def _end_stream(
        self,
        http: Http,
        request: ChatRequest,
        reply: ReplyId,
        end: str,
        usage: dict[str, int],
        *,
        reason: str,
    ) -> None:
        await http.write(reply.chunk(None, end, reason=reason))
        if request.include_usage:
            await http.write(reply.usage(usage))
        await http.write(DONE, more=False)

    def _decide(self, draft: _Draft, gate: OutputGate, tally: _Tally) -> str:
        draft.scores += gate.scores
        draft.decision, draft.reason = ("blocked-output", gate.blocked) if gate.blocked else ("released", "")
        return "content_filter" if gate.blocked else tally.finish_reason

    async def _fail(self, http: Http, draft: _Draft, error: HttpError) -> None:
        refused = error.status < 500 or error.status == 503
        draft.decision, draft.reason = ("refused" if refused else "failed"), error.code
        try:
            await self._write_line(draft, draft.decision)
        except HttpError as exc:
            error = exc
        if not http.gone:
            await http.error(error)

    async def _write_line(self, draft: _Draft, decision: str) -> None:
        """Wait until the exchange's line is on disk: no reply leaves without it."""
        try:
            await asyncio.wrap_future(self._audit.submit(draft.exchange(decision)))
        except StoreError as exc:
            raise stopped("audit-unavailable") from exc


class _Tally:
    """Token counts and the finish reason of a reply, as the upstream told them."""

    def __init__(self) -> None:
        self.finish_reason = "stop"
        self._usage: dict[str, int] | None = None
        self._steps = 0

    def add(self, delta: Delta) -> None:
        self._steps += bool(delta.text)
        self._usage = delta.usage or self._usage
        if delta.finish_reason:
            self.finish_reason = "length" if delta.finish_reason == "length" else "stop"

    def usage(self) -> dict[str, int]:
        """Return the counts; where the upstream told none, one token a step."""
        return self._usage or {
            "prompt_tokens": 0,
            "completion_tokens": self._steps,
            "total_tokens": self._steps,
        }
