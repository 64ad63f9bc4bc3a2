"""`recert serve`: serve only what is certified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from recert.cli import serve_options as only
from recert.cli.options import (
    DEFAULT_BASE,
    Base,
    Guards,
    KeepTexts,
    PolicyName,
    Secret,
    Shadow,
    Status,
)

if TYPE_CHECKING:
    from recert.pipeline.deploy import Deployment


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
    shadow: Shadow = None,
    models: only.Models = None,
    upstream: only.Engine = "embedded",
    engine_argument: only.EngineArguments = None,
    engine_program: only.EngineProgram = "",
    fingerprint: only.Fingerprint = None,
    probes: only.Probes = None,
    unsafe_declared_upstream: only.UnsafeDeclared = "",
    audit: only.Audit = Path("audit.jsonl"),
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
    from recert.cli.loading import load_base, load_front, load_guards, load_secret
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.gateway.telemetry import log_to_stderr
    from recert.pipeline.deploy import deploy_models
    from recert.pipeline.models_file import AliasesOf, read_models, upstream_of
    from recert.policy import load_policy
    from recert.store.audit import AuditLog

    def one() -> Deployment:
        bounds = load_policy(policy)
        engine = (upstream, tuple(engine_argument or ()), engine_program, unsafe_declared_upstream)
        return _deployment(
            certificate, model, trust, status,
            base_dir=load_base(base),
            policy=bounds,
            secret=load_secret(secret),
            upstream=upstream_of(*engine, fingerprint=fingerprint, probes=probes),
            guards=load_guards(judges or [], bounds),
            shadow=shadow or (),
        )  # fmt: skip

    if models is not None and certificate is not None:
        raise InputError("give a certificate or --models, not both")
    more = {"metrics": metrics, "traces": traces, "guardrail": guardrail}
    front = load_front(limits, keys, tls_certificate, tls_key, origins, **more)
    log_to_stderr()
    console = talk()
    with AuditLog(audit, keep_texts=keep_texts) as log:
        server = deploy_models(
            read_models(models) if models is not None else [one()],
            audit=log,
            read_aliases=AliasesOf(models) if models is not None else list,
            state=state or audit.parent / "recert-state",
            copies=copies,
            front=front,
            host=host,
            port=port,
            progress=lambda line: console.print(line, soft_wrap=True),
        )
        typer.echo(server.url)
        server.run()


def _deployment(
    certificate: Path | None, model: Path | None, trust: Path | None, status: Path | None, **more: Any
) -> Deployment:
    from recert.certification import TrustStore
    from recert.cli.loading import status_path
    from recert.errors import InputError
    from recert.pipeline.deploy import Deployment

    if certificate is None or model is None or trust is None:
        raise InputError("say what to serve", hint="CERTIFICATE, --model and --trust; or --models FILE")
    where = status_path(certificate, status)
    return Deployment(certificate, tuned_dir=model, trust=TrustStore.load(trust), status=where, **more)
