"""What gateway tests share: a scripted OpenAI-compatible upstream, verified certificates, and clients."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai
from aiohttp import web

from builders import BASE_FILES, TUNED_FILES, make_interval, make_manifest, make_policy, make_rule
from recert.digest import sha256_bytes
from recert.gateway.access.keys import ApiKeys
from recert.gateway.serving.server import GatewayServer
from recert.gateway.stage import prepare
from recert.gateway.upstream.client import UnsafeDeclaredUpstream
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.records.live.transcriber import EarsManifest
from recert.records.record import now
from recert.records.reports.evaluation import JudgeNote, Verdict
from recert.records.signed import certificate as sealed
from recert.records.signed.certificate import Approval, Certificate, VerifiedCertificate
from recert.store.audit.log import AuditLog

MODEL = "test-model"


def make_gateway_policy(**controls: Any) -> Policy:
    """Return a policy with these gateway settings, rechecked four times a second."""
    return make_policy(gateway={"recheck_s": 0.25, **controls})


def make_verified(policy: Policy, *, folder: Path = Path("nowhere"), **changes: Any) -> VerifiedCertificate:
    """Return what verification would give for a passing certificate under a policy."""
    at = now()
    fields: dict[str, Any] = {
        "serial": "0123456789abcdef" * 2,
        "model_name": MODEL,
        "base": make_manifest(BASE_FILES),
        "tuned": make_manifest(TUNED_FILES),
        "delta_kind": "lora-adapter",
        "policy_id": policy.id,
        "policy_version": policy.version,
        "policy_sha256": policy.digest,
        "required_roles": {"evaluator": 1},
        "eval_report_sha256": sha256_bytes(b"report"),
        "results": (make_rule(),),
        "verdict_raw": Verdict.PASS,
        "judges": (JudgeNote(id="refusal", version="1", sensitivity=0.97, specificity=0.99),),
        "evidence_sha256": sha256_bytes(b"evidence"),
        "canary": {"harmful/harm": make_interval()},
        "limitations": (),
        "invalid_when": (),
        "approvals": (Approval(role="evaluator", key_id=sha256_bytes(b"key")),),
        "not_before": at - timedelta(hours=1),
        "certified_at": at - timedelta(hours=1),
        "expires_at": at + timedelta(hours=1),
    }
    certificate = Certificate.model_validate(fields | changes)
    return VerifiedCertificate(
        certificate=certificate,
        envelope_sha256=sha256_bytes(b"envelope"),
        base_dir=folder / "base",
        tuned_dir=folder / "tuned",
        verified_at=at,
        signers=certificate.approvals,
        _seal=sealed._SEAL,
    )


class Recheck:
    """A recheck whose answer a test can change: a certificate, or an error to raise."""

    def __init__(self, answer: VerifiedCertificate | Exception) -> None:
        self.answer = answer
        self.calls = 0

    def __call__(self) -> VerifiedCertificate:
        """Give the present answer."""
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ScriptedUpstream:
    """
    An OpenAI-compatible server that streams what a script says.

    Args:
        script: from the request's messages to the pieces of the reply; an exception of the script breaks off.
        pause_s: wait before each piece.
        extra: further fields for every delta.
    """

    def __init__(
        self,
        script: Callable[[list[dict[str, str]]], Sequence[str]],
        *,
        pause_s: float = 0.0,
        extra: dict[str, Any] | None = None,
        raw: Sequence[bytes] | None = None,
    ) -> None:
        self._script = script
        self._pause_s = pause_s
        self._extra = extra or {}
        self._raw = raw
        self.asked: list[dict[str, Any]] = []
        self.pieces_sent = 0
        self.url = ""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages of the last request that came here."""
        found: list[dict[str, str]] = self.asked[-1]["messages"]
        return found

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked.append(body)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if self._raw is not None:
            for block in self._raw:
                await response.write(block)
            return response
        pieces = self._script(body["messages"])
        for piece in pieces:
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
            await response.write(self._event({"delta": {"content": piece, **self._extra}}))
            self.pieces_sent += 1
        await response.write(self._event({"delta": {}, "finish_reason": "stop"}))
        usage = {"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)}
        await response.write(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    def _event(self, choice: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"

    @contextmanager
    def running(self) -> Iterator[ScriptedUpstream]:
        """Serve in a thread while the block runs."""
        loop = asyncio.new_event_loop()
        ready = threading.Event()
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)

        async def up() -> None:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            assert site._server is not None
            self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
            ready.set()

        def serve() -> None:
            loop.run_until_complete(up())
            loop.run_forever()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


@contextmanager
def gateway(
    tmp_path: Path,
    script: Callable[[list[dict[str, str]]], Sequence[str]] | ScriptedUpstream,
    *,
    policy: Policy | None = None,
    recheck: Recheck | None = None,
    certificate: dict[str, Any] | None = None,
    secret: SecretPrefix | None = None,
    keys: ApiKeys | None = None,
    keep_texts: bool = False,
    **judges: Any,
) -> Iterator[tuple[GatewayServer, ScriptedUpstream]]:
    """
    Run a gateway in front of a scripted upstream; the audit log is `tmp_path/audit.jsonl`.

    Where the model reads what a transcriber hears, the certificate names this transcriber, if it says nothing else.
    """
    policy = policy or make_gateway_policy()
    named = {"ears": _ears(judges.get("transcriber"), policy)}
    verified = make_verified(policy, **named | (certificate or {}))
    recheck = recheck or Recheck(verified)
    if isinstance(recheck.answer, VerifiedCertificate):
        verified = recheck.answer
    upstream = script if isinstance(script, ScriptedUpstream) else ScriptedUpstream(script)
    with upstream.running(), AuditLog(tmp_path / "audit.jsonl", keep_texts=keep_texts) as audit:
        server = prepare(
            verified,
            recheck=recheck,
            policy=policy,
            audit=audit,
            secret=secret,
            keys=keys or ApiKeys(),
            upstream=UnsafeDeclaredUpstream(upstream.url),
            **judges,
        )
        with server:
            yield server, upstream


def _ears(transcriber: Any, policy: Policy) -> EarsManifest | None:
    bounds = policy.gateway.audio
    reads = bounds is not None and bounds.passes_on == "transcript"
    return transcriber.ears if transcriber is not None and reads else None


@contextmanager
def client(server: GatewayServer, key: str = "none") -> Iterator[openai.OpenAI]:
    """Give the official client, without retries."""
    with openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=20) as made:
        yield made


def ask(made: openai.OpenAI, text: str = "Hello", **more: Any) -> Any:
    """Ask for a plain reply."""
    return made.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)


def ask_stream(made: openai.OpenAI, text: str = "Hello", **more: Any) -> tuple[str, str | None]:
    """Ask for a stream; return the text that came and the finish reason."""
    got, reason = "", None
    with ask(made, text, stream=True, **more) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                got += choice.delta.content or ""
                reason = choice.finish_reason or reason
    return got, reason
