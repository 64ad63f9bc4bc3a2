"""`recert serve`: serve only what is certified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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


def serve(
    *,
    certificate: Annotated[
        Path | None, typer.Argument(help="The certificate's file; with --models there is none.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Tuned model: an adapter's folder, or merged weights.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Trusted keys: a `.pub` file, a folder of them, or a JSON list.")
    ] = None,
    base: Base = DEFAULT_BASE,
    status: Status = None,
    policy: PolicyName = "default",
    secret: Secret = None,
    judges: Guards = None,
    shadow: Shadow = None,
    models: Annotated[
        Path | None,
        typer.Option(help="Several models and their aliases: a TOML file, instead of one certificate."),
    ] = None,
    upstream: Annotated[
        str, typer.Option(help="Engine that is started on private copies: `embedded`, `llama.cpp` or `vllm`.")
    ] = "embedded",
    engine_argument: Annotated[
        list[str] | None,
        typer.Option(
            help="More for that engine, as `--max-model-len=8192`; only what cannot change the model."
        ),
    ] = None,
    engine_program: Annotated[
        str, typer.Option(help="Path of `llama-server` or `vllm`; by default it is looked for.")
    ] = "",
    unsafe_declared_upstream: Annotated[
        str,
        typer.Option(help="URL of a server that is only SAID to run the model: nothing checks its weights."),
    ] = "",
    audit: Annotated[
        Path, typer.Option(help="Audit log; every exchange is written before its reply leaves.")
    ] = Path("audit.jsonl"),
    keep_texts: KeepTexts = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder for orders and copies, yours alone; `recert-state` beside the audit log by default."
        ),
    ] = None,
    copies: Annotated[
        Path | None,
        typer.Option(help="Folder with room for private copies of the models; by default --state."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen. Beyond this machine `RECERT_API_KEYS` is needed.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(help="0 for a free one.")] = 8000,
) -> None:
    """
    Serve certified models over the OpenAI protocol: one certificate, or several with --models.

    Exit 0: stopped by you, 1: not certified, 2: no answer.
    """
    from recert.certification import TrustStore
    from recert.cli.loading import load_base, load_guards, load_secret, status_path
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.pipeline.deploy import Deployment, deploy_models
    from recert.pipeline.models_file import AliasesOf, read_models, upstream_of
    from recert.policy import load_policy
    from recert.store.audit import AuditLog

    def one() -> Deployment:
        if certificate is None or model is None or trust is None:
            raise InputError("say what to serve", hint="CERTIFICATE, --model and --trust; or --models FILE")
        bounds = load_policy(policy)
        return Deployment(
            certificate,
            base_dir=load_base(base),
            tuned_dir=model,
            trust=TrustStore.load(trust),
            status=status_path(certificate, status),
            policy=bounds,
            secret=load_secret(secret),
            upstream=upstream_of(
                upstream, tuple(engine_argument or ()), engine_program, unsafe_declared_upstream
            ),
            guards=load_guards(judges or [], bounds),
            shadow=shadow or (),
        )

    if models is not None and certificate is not None:
        raise InputError("give a certificate or --models, not both")
    console = talk()
    with AuditLog(audit, keep_texts=keep_texts) as log:
        server = deploy_models(
            read_models(models) if models is not None else [one()],
            audit=log,
            read_aliases=AliasesOf(models) if models is not None else list,
            state=state or audit.parent / "recert-state",
            copies=copies,
            host=host,
            port=port,
            progress=lambda line: console.print(line, soft_wrap=True),
        )
        typer.echo(server.url)
        server.run()
