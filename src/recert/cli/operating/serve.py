"""`recert serve`: serve only what is certified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from recert.cli.operating import serve_options as only
from recert.cli.options import (
    DEFAULT_BASE,
    Base,
    GuardOfReplies,
    Guards,
    KeepTexts,
    PolicyName,
    Secret,
    Shadow,
    Status,
)

if TYPE_CHECKING:
    from recert.workflows.deploy.stage import Deployment


def serve(
    *,
    certificate: only.Certificate = None,
    model: only.Tuned = None,
    trust: only.Trust = None,
    base: Base = DEFAULT_BASE,
    status: Status = None,
    policy: PolicyName = "default",
    secret: Secret = None,
    judges: Guards = None,
    reply_judge: GuardOfReplies = "",
    shadow: Shadow = None,
    transcriber: only.Listener = "",
    clips_at_once: only.ClipsAtOnce = 2,
    models: only.Models = None,
    upstream: only.Engine = "embedded",
    engine_argument: only.EngineArguments = None,
    engine_program: only.EngineProgram = "",
    fingerprint: only.Fingerprint = None,
    probes: only.Probes = None,
    unsafe_declared_upstream: only.UnsafeDeclared = "",
    audit: only.Audit = "audit.jsonl",
    audit_key: only.AuditKey = None,
    checkpoints: only.Checkpoints = None,
    audit_rotate_mib: only.RotateMib = None,
    keep_texts: KeepTexts = False,
    state: only.State = None,
    copies: only.Copies = None,
    keys: only.Keys = None,
    limits: only.Limits = None,
    tls_certificate: only.TlsCertificate = None,
    tls_key: only.TlsKey = None,
    origins: only.AllowOrigins = None,
    metrics: only.Metrics = "",
    traces: only.Traces = False,
    guardrail: only.ForLiteLLM = False,
    host: only.Host = "127.0.0.1",
    port: only.Port = 8000,
) -> None:
    """
    Serve certified models over the OpenAI protocol: one certificate, or several with --models.

    Exit 0: stopped by you, 1: not certified, 2: no answer.
    """
    from recert.cli.loading import load_audit, load_edge_config
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.gateway.serving.telemetry import log_to_stderr
    from recert.store.places import is_url
    from recert.workflows.deploy.models_file import AliasesOf, read_models, transcriber_at, upstream_of
    from recert.workflows.deploy.stage import deploy_models

    if models is not None and certificate is not None:
        raise InputError("give a certificate or --models, not both")
    more = {"metrics": metrics, "traces": traces, "guardrail": guardrail}
    front = load_edge_config(limits, keys, tls_certificate, tls_key, origins, **more)
    log_to_stderr()
    console = talk()
    with load_audit(audit, audit_key, checkpoints, audit_rotate_mib, keep_texts=keep_texts) as log:
        engine = (upstream, tuple(engine_argument or ()), engine_program, unsafe_declared_upstream)
        server = deploy_models(
            read_models(models) if models is not None else [
                _deployment(
                    certificate, model, trust, status, base, policy, secret, judges or [], reply_judge,
                    shadow=shadow or (), transcriber=transcriber_at(transcriber, clips_at_once),
                    upstream=upstream_of(*engine, fingerprint=fingerprint, probes=probes),
                )
            ],
            audit=log,
            read_aliases=AliasesOf(models) if models is not None else list,
            state=state or (Path() if is_url(audit) else Path(audit).parent) / "recert-state",
            copies=copies,
            front=front,
            host=host,
            port=port,
            progress=lambda line: console.print(line, soft_wrap=True),
        )  # fmt: skip
        typer.echo(server.url)
        server.run()


def _deployment(
    certificate: Path | None,
    model: Path | None,
    trust: Path | None,
    status: Path | None,
    base: str,
    policy: str,
    secret: Path | None,
    judges: list[str],
    reply_judge: str,
    **more: Any,
) -> Deployment:
    from recert.certification.trust.store import TrustFiles
    from recert.cli.certifying.signing import say_unsafe
    from recert.cli.loading import load_base, load_guards, load_secret, status_path
    from recert.errors import InputError
    from recert.policy import load_policy
    from recert.workflows.deploy.models_file import reply_judge_at
    from recert.workflows.deploy.stage import Deployment

    if certificate is None or model is None or trust is None:
        raise InputError("say what to serve", hint="CERTIFICATE, --model and --trust; or --models FILE")
    bounds, trusted = load_policy(policy), TrustFiles(trust)
    say_unsafe(trusted())
    return Deployment(
        certificate,
        base_dir=load_base(base),
        tuned_dir=model,
        trust=trusted,
        status=status_path(certificate, status),
        policy=bounds,
        secret=load_secret(secret),
        guards=load_guards(judges, bounds),
        reply_judge=reply_judge_at(reply_judge),
        **more,
    )
