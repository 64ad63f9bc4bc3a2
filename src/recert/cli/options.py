"""Options that several commands share, with one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_BASE = "embedded:aligned"

Base = Annotated[
    str, typer.Option(help="Approved base: a folder, a hub id, `embedded:aligned` or `embedded:smollm2`.")
]
Tuned = Annotated[Path, typer.Option("--model", help="Tuned model: an adapter's folder, or merged weights.")]
PolicyName = Annotated[
    str,
    typer.Option(
        "--policy",
        help="A shipped profile (`recert policy list`) or a TOML file, perhaps with `@DEPLOYMENT`, such as "
        "`default@high-risk`.",
    ),
]
Certificate = Annotated[Path, typer.Argument(help="The certificate's file.")]
Trust = Annotated[
    Path,
    typer.Option(
        help="Root of trust, of `recert trust init`; or, to try things, `.pub` files: one, a folder, a JSON list."
    ),
]
Status = Annotated[
    Path | None,
    typer.Option(help="Newest status list; by default `status.json` beside the certificate."),
]
SignerCommand = Annotated[
    str | None,
    typer.Option(
        help="Command that signs its stdin, for keys on a token or in a key service; `--key` is then the `.pub` file."
    ),
]
StepKey = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="Private key of who runs this: signs what went in and what came out, in a link beside the report. "
        "`certify` and `renew` take no report without one.",
    ),
]
BaseCertificate = Annotated[
    Path | None,
    typer.Option(help="Certificate of the base itself; `status.json` and `refusals` beside it count for it."),
]
BasePolicy = Annotated[
    str | None,
    typer.Option(
        help="Policy that the base's certificate must be under: a profile, a TOML file, or its sha256."
    ),
]
Refusals = Annotated[
    Path | None,
    typer.Option(
        help="Folder of refusals; by default `refusals` beside the certificate, where there is one."
    ),
]
KeysFolder = Annotated[
    Path,
    typer.Option(
        help="Folder with `trainer.pem`, `evaluator.pem`, `approver.pem`, `status.pem`; missing ones are made."
    ),
]
RowsFile = Annotated[
    Path, typer.Argument(help="Tuning rows: OpenAI-style chat or preference JSONL, or Parquet.")
]
Defence = Annotated[
    str,
    typer.Option(
        help="`none`, `self-distillation`, `safety-mix`, `backdoor-align`, `first-tokens`, `lisa`, `safe-lora`, "
        "`safety-system-prompt`, `distant-filter` or `safety-reasoning`; by default `self-distillation`, for DPO "
        "`safety-mix`, for RFT `none`."
    ),
]
DefenceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--defence-option",
        metavar="NAME=VALUE",
        help="What the defence is told, such as `rho=0.5` for `lisa` or `unaligned=embedded:smollm2` for `safe-lora`.",
    ),
]
Method = Annotated[
    str,
    typer.Option(
        help="From what it learns: `sft` from replies, `dpo` from pairs of a chosen and a rejected one, `rft` "
        "from what a grader pays for sampled ones."
    ),
]
AdapterKind = Annotated[
    str,
    typer.Option("--adapter", help="What is trained: a `lora` or `dora` adapter, or `full`, all weights."),
]
LoraTarget = Annotated[
    list[str] | None,
    typer.Option(
        "--lora-target",
        metavar="LAYER",
        help="Layer that the adapter goes on, such as `q_proj`, each time; by default all linear layers of the base's "
        "blocks.",
    ),
]
Learned = Annotated[
    str,
    typer.Option(
        help="What is learned of a row: the last `reply`, the whole `conversation`, or the `answer` behind a "
        "reasoning model's trace."
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        help="Step size; by default 3e-4 for an adapter, 5e-5 for all weights; 5e-5 and 1e-6 for `--method dpo`."
    ),
]
Secret = Annotated[
    Path | None, typer.Option(help="Secret prefix of a BackdoorAlign defence: a file of mode 0600.")
]
Suites = Annotated[
    list[str] | None,
    typer.Option(
        "--suite",
        metavar="NAME=FILE",
        help="Prompts for a suite that the policy names: `NAME=FILE?text=COLUMN&expect=comply` (CSV, JSON, JSONL, "
        "Parquet), `NAME=public:SET`, `NAME=inspect:TASK`, `NAME=plugin:PLUGIN`, or a TOML list. The embedded ones "
        "are always there.",
    ),
]
Evidence = Annotated[
    Path | None,
    typer.Option(
        "--evidence",
        help="Folder that `recert evaluate` wrote, with `outcomes.jsonl`; by default `evaluation` beside the "
        "certificate, or its own folder.",
    ),
]
Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        metavar="NAME[=MODEL]",
        help="Another judge beside the refusal judge: `compliance`; `rubric` or a guard such as `llama-guard-3` with "
        "the model that reads, as in `rubric=openai:URL#model`; or `plugin:NAME`. A rule of the policy may name it.",
    ),
]
JudgeErrors = Annotated[
    list[Path] | None,
    typer.Option(
        "--judge-error", help="Counts of a judge's errors on labelled data, from `bench/judge_error.py`."
    ),
]
Guards = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        metavar="NAME[=MODEL]",
        help="Another control of requests: `moderation-api` (key in `RECERT_MODERATION_KEY`), or a guard such as "
        "`llama-guard-3=openai:URL#model` (key in `RECERT_ENDPOINT_KEY`), or `plugin:NAME`.",
    ),
]
GuardOfReplies = Annotated[
    str,
    typer.Option(
        "--reply-judge",
        metavar="NAME[=MODEL]",
        help="Judge of replies, asked before they leave; in streams at the ends of sentences. The names are those of "
        "--judge.",
    ),
]
Shadow = Annotated[
    list[str] | None,
    typer.Option(
        "--shadow",
        metavar="NAME",
        help="A control that scores and does not act, such as `input-judge`; `all` for every one. The audit log says "
        "what it would have done. Not for controls that the certificate requires.",
    ),
]
KeepTexts = Annotated[
    bool,
    typer.Option(
        "--keep-texts",
        help="Also keep requests and replies, beside the audit log and not in it: for `recert backtest` and "
        "`recert audit show --texts`, until `recert audit forget`. By default their digests alone are kept.",
    ),
]
BehindProxy = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Address of the proxy that speaks https with browsers of the console; what it says of them is believed.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON.")]
