"""Options that only `recert serve` has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Certificate = Annotated[
    Path | None, typer.Argument(help="The certificate's file; with --models there is none.")
]
Tuned = Annotated[
    Path | None, typer.Option("--model", help="Tuned model: an adapter's folder, or merged weights.")
]
Trust = Annotated[
    Path | None, typer.Option(help="Trusted keys: a `.pub` file, a folder of them, or a JSON list.")
]
Models = Annotated[
    Path | None,
    typer.Option(help="Several models and their aliases: a TOML file, instead of one certificate."),
]
Engine = Annotated[
    str,
    typer.Option(
        help="Engine that is started on private copies: `embedded`, `llama.cpp` or `vllm`. Or "
        "`fingerprint=URL#model`, a server elsewhere that is known by its answers only (key in `RECERT_ENDPOINT_KEY`)."
    ),
]
EngineArguments = Annotated[
    list[str] | None,
    typer.Option(help="More for that engine, as `--max-model-len=8192`; only what cannot change the model."),
]
EngineProgram = Annotated[
    str, typer.Option(help="Path of `llama-server` or `vllm`; by default it is looked for.")
]
Fingerprint = Annotated[
    Path | None, typer.Option(help="For a server elsewhere: what `recert fingerprint` signed.")
]
Probes = Annotated[Path | None, typer.Option(help="Its secret probes: a file of mode 0600.")]
UnsafeDeclared = Annotated[
    str,
    typer.Option(help="URL of a server that is only SAID to run the model: nothing checks its weights."),
]
Audit = Annotated[
    str,
    typer.Option(
        metavar="FILE|URL",
        help="Audit log; every exchange is written before its reply leaves. A file, or a PostgreSQL database that "
        "several gateways may share (`postgresql://user@host/recert`; password in `PGPASSWORD` or `~/.pgpass`).",
    ),
]
AuditKey = Annotated[
    Path | None,
    typer.Option(
        help="Private key of the role `audit`: signs where the log stands, every thousand lines or ten seconds and at "
        "the end."
    ),
]
Checkpoints = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FOLDER|URL",
        help="Where signed checkpoints are sent, so that nobody here can cut the log unseen. Bearer token in "
        "`RECERT_CHECKPOINT_TOKEN`. May be repeated.",
    ),
]
RotateMib = Annotated[
    int | None,
    typer.Option(
        "--audit-rotate-mib",
        min=1,
        help="Size from which a log's file is put aside. No file is ever deleted.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        help="Folder for orders and copies, yours alone; `recert-state` beside the audit log by default."
    ),
]
Copies = Annotated[
    Path | None,
    typer.Option(help="Folder with room for private copies of the models; by default --state."),
]
Keys = Annotated[
    Path | None,
    typer.Option(
        help="File of API keys, each with what it may and how much, beside `RECERT_API_KEYS`; `recert keys new` "
        "makes one.",
    ),
]
TlsCertificate = Annotated[
    Path | None,
    typer.Option(
        help="TLS certificate, and those that lead to its authority: PEM. Taken up again on change."
    ),
]
TlsKey = Annotated[Path | None, typer.Option(help="Its private key: PEM, without a passphrase.")]
AllowOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="A web page that may ask from a browser (CORS), as `https://app.example.org`; by default none.",
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        help="Where `/metrics` is answered to everyone who reaches it; by default it is a route for keys that may.",
    ),
]
Traces = Annotated[
    bool,
    typer.Option(
        "--traces",
        help="Send a span of OpenTelemetry for each exchange, where `OTEL_EXPORTER_OTLP_ENDPOINT` says.",
    ),
]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="A bound of connections and their times, as `headers_s=5`; the guide has the table.",
    ),
]
ForLiteLLM = Annotated[
    bool,
    typer.Option(
        "--guardrail", help="Answer LiteLLM's guardrail requests with the controls of what is served."
    ),
]
Listener = Annotated[
    str,
    typer.Option(
        "--transcriber",
        metavar="NAME|FOLDER|openai:URL#MODEL",
        help="Who hears what is spoken, where the policy serves that, in a process of its own: `whisper-tiny`, or a "
        "Whisper model's folder in CTranslate2's form. Or a server elsewhere that speaks OpenAI's transcriptions "
        "(key in `RECERT_ENDPOINT_KEY`).",
    ),
]
ClipsAtOnce = Annotated[
    int, typer.Option(min=1, max=64, help="Clips that the transcriber hears at once; more wait their turn.")
]
Host = Annotated[str, typer.Option(help="Where to listen. Beyond this machine `RECERT_API_KEYS` is needed.")]
Port = Annotated[int, typer.Option(help="0 for a free one.")]
