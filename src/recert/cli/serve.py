"""`recert serve`: serve only what is certified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recert.cli.options import DEFAULT_BASE, Base, Certificate, PolicyName, Secret, Status, Trust, Tuned


def serve(
    *,
    certificate: Certificate,
    model: Tuned,
    trust: Trust,
    base: Base = DEFAULT_BASE,
    status: Status = None,
    policy: PolicyName = "default",
    secret: Secret = None,
    audit: Annotated[
        Path, typer.Option(help="Audit log; every exchange is written before its reply leaves.")
    ] = Path("audit.jsonl"),
    host: Annotated[
        str, typer.Option(help="Where to listen. Beyond this machine `RECERT_API_KEYS` is needed.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(help="0 for a free one.")] = 8000,
) -> None:
    """
    Serve a certified model over the OpenAI protocol.

    Exit 0: stopped by you, 1: not certified, 2: no answer.
    """
    from recert.certification import TrustStore
    from recert.cli.loading import load_base, load_secret, status_path
    from recert.cli.printing import talk
    from recert.pipeline.deploy import deploy
    from recert.policy import load_policy
    from recert.store.audit import AuditLog

    console = talk()
    with AuditLog(audit) as log:
        server = deploy(
            certificate,
            base_dir=load_base(base),
            tuned_dir=model,
            trust=TrustStore.load(trust),
            status_path=status_path(certificate, status),
            policy=load_policy(policy),
            audit=log,
            secret=load_secret(secret),
            host=host,
            port=port,
            progress=lambda line: console.print(line, soft_wrap=True),
        )
        typer.echo(server.url)
        server.run()
