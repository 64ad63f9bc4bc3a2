"""
Serve only what is certified.

`serve()` takes a `VerifiedCertificate`, which only verification can make, and runs until it is stopped. The
steps are in `prepare()`; what happens to a request is in `chat.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from recert.errors import GatewayError, VerificationError
from recert.gateway.app import GatewayApp
from recert.gateway.chat import Chat
from recert.gateway.controls import SECRET_PREFIX, Controls
from recert.gateway.keys import ApiKeys, require_keys_beyond_loopback
from recert.gateway.launch import EmbeddedEngine
from recert.gateway.served import Served, ServedModels
from recert.gateway.server import GatewayServer
from recert.gateway.service import Service
from recert.gateway.upstream import HttpUpstream, UnsafeDeclaredUpstream
from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.models.secret import SecretPrefix
from recert.policy import Policy
from recert.records import Certificate, Verdict, VerifiedCertificate
from recert.store.audit import AuditLog

log = logging.getLogger("recert.gateway")

DEFAULT_PORT: Final = 8000


def serve(
    certificate: VerifiedCertificate,
    *,
    recheck: Callable[[], VerifiedCertificate],
    policy: Policy,
    audit: AuditLog,
    secret: SecretPrefix | None = None,
    request_judge: RequestJudge | None = None,
    reply_judge: ReplyJudge | None = None,
    upstream: UnsafeDeclaredUpstream | None = None,
    keys: ApiKeys | None = None,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Serve a certified model over the OpenAI protocol until interrupted; for the arguments see `prepare`."""
    server = prepare(
        certificate,
        recheck=recheck,
        policy=policy,
        audit=audit,
        secret=secret,
        request_judge=request_judge,
        reply_judge=reply_judge,
        upstream=upstream,
        keys=keys,
        host=host,
        port=port,
        progress=progress,
    )
    if progress:
        progress(f"serving {certificate.certificate.model_name} on {server.url}")
    server.run()


def prepare(
    certificate: VerifiedCertificate,
    *,
    recheck: Callable[[], VerifiedCertificate],
    policy: Policy,
    audit: AuditLog,
    secret: SecretPrefix | None = None,
    request_judge: RequestJudge | None = None,
    reply_judge: ReplyJudge | None = None,
    upstream: UnsafeDeclaredUpstream | None = None,
    keys: ApiKeys | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    progress: Callable[[str], None] | None = None,
) -> GatewayServer:
    """
    Return a gateway that is ready to run: checked, with its engine up and its socket bound.

    Args:
        certificate: what `verify()` gave.
        recheck: verifies again. Called about every second (`policy.gateway.recheck_s`) in a thread; it should
            answer within a second. Whatever it raises stops service within 5 s, running streams included.
        policy: the policy that the certificate names.
        audit: where every exchange is written before its reply leaves.
        secret: the BackdoorAlign secret, when the certificate requires `secret-prefix`.
        request_judge: scores what clients write.
        reply_judge: scores replies.
        upstream: a server that is only declared to run the model. By default the embedded engine is started
            on the certified folders.
        keys: who may ask; by default those of `RECERT_API_KEYS`.
        host: where to listen. Beyond this machine keys are needed.
        port: 0 for a free one.
        progress: called with a sentence at each step of the start.

    Raises:
        VerificationError: `not-verified`: the certificate did not come from `verify()`.
        GatewayError: a control that the certificate requires is missing, the policy is another one, the
            engine refuses the files, or the address cannot be used; `reason` says which.
    """
    if not isinstance(certificate, VerifiedCertificate):
        raise VerificationError(
            "not-verified",
            "serve takes a VerifiedCertificate",
            facts={"given": type(certificate).__name__},
            hint="call recert.certification.verify first",
        )
    keys = ApiKeys.configured() if keys is None else keys
    require_keys_beyond_loopback(host, keys)
    _require_policy(certificate.certificate, policy)
    _require_secret(certificate.certificate, secret)
    controls = Controls(policy.gateway, secret=secret, request_judge=request_judge, reply_judge=reply_judge)
    _require_controls(certificate.certificate, controls)

    running = _start(certificate, upstream, limit_s=policy.gateway.upstream_timeout_s, progress=progress)
    engine = running if isinstance(running, EmbeddedEngine) else None
    try:
        service = Service(certificate, recheck, recheck_s=policy.gateway.recheck_s, engine_down=running.down)
        models = ServedModels([Served(service, controls, running, policy, secret)])
        app = GatewayApp(models, Chat(models, audit), keys)
        return GatewayServer(app, host, port, on_end=engine.end if engine else lambda: None)
    except BaseException:
        if engine:
            engine.end()
        raise


def _start(
    certificate: VerifiedCertificate,
    upstream: UnsafeDeclaredUpstream | None,
    *,
    limit_s: float,
    progress: Callable[[str], None] | None,
) -> HttpUpstream:
    """The engine on the certified folders; or, where one was declared, a server that nothing checks."""
    if upstream is None:
        engine = EmbeddedEngine(certificate, limit_s=limit_s, progress=progress)
        engine.start()
        return engine
    log.warning("upstream %s is only declared to run the certified model: nothing checks it", upstream.url)
    return HttpUpstream(upstream.url, label="unsafe-declared", api_key=upstream.api_key, limit_s=limit_s)


def _require_policy(certificate: Certificate, policy: Policy) -> None:
    if policy.digest != certificate.policy_sha256:
        raise GatewayError(
            "wrong-policy",
            "the policy is not the one that the certificate names",
            facts={
                "certified": f"{certificate.policy_id} sha256:{certificate.policy_sha256}",
                "given": f"{policy.id} sha256:{policy.digest}",
            },
            hint="serve with the policy that the model was certified under",
        )
    decides = certificate.verdict_safeguarded if certificate.required_controls else certificate.verdict_raw
    if decides is not Verdict.PASS:
        raise GatewayError("not-passed", "the certificate's verdict is no pass", facts={"verdict": decides})


def _require_secret(certificate: Certificate, secret: SecretPrefix | None) -> None:
    required = SECRET_PREFIX in certificate.required_controls
    if required and secret is None:
        raise GatewayError(
            "secret-missing",
            "the certificate requires the secret prefix",
            hint="give the secret file that tuning wrote",
        )
    if secret is None:
        return
    if not required:
        raise GatewayError(
            "secret-not-required",
            "the certificate was given without a secret prefix",
            hint="serve without the secret: what was evaluated is the model without it",
        )
    if secret.sha256 != certificate.secret_sha256:
        raise GatewayError(
            "wrong-secret",
            "the secret is not the one that the certificate names",
            facts={"certified": f"sha256:{certificate.secret_sha256}", "given": f"sha256:{secret.sha256}"},
        )


def _require_controls(certificate: Certificate, controls: Controls) -> None:
    missing = sorted(set(certificate.required_controls) - set(controls.active))
    if missing:
        raise GatewayError(
            "control-missing",
            "a control that the certificate requires is not active",
            facts={"missing": ", ".join(missing), "active": ", ".join(controls.active) or "none"},
        )
