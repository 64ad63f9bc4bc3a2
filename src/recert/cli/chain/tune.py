"""`recert tune`: train an adapter on accepted rows, with a defence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import (
    DEFAULT_BASE,
    AdapterKind,
    AsJson,
    Base,
    Defence,
    DefenceOption,
    Learned,
    LearningRate,
    LoraTarget,
    Method,
    SignerCommand,
    StepKey,
)

if TYPE_CHECKING:
    from recert.records.reports.grader import GraderReport
    from recert.records.reports.screening import ScreenReport
    from recert.records.reports.tuning import Hyperparameters, TuneReport


def tune(
    *,
    rows: Annotated[
        Path, typer.Argument(help="Accepted rows: `accepted.jsonl`, written by `recert screen`.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the adapter and the report.")],
    base: Base = DEFAULT_BASE,
    defence: Defence = "",
    defence_option: DefenceOption = None,
    method: Method = "sft",
    adapter: AdapterKind = "lora",
    learned: Learned = "reply",
    screen_report: Annotated[
        Path | None,
        typer.Option(help="`screen-report.json`; its digest of the accepted rows must be theirs."),
    ] = None,
    grader: Annotated[
        Path | None, typer.Option(help="RFT: the grader that pays, JSON in the form of OpenAI's service.")
    ] = None,
    grader_report: Annotated[
        Path | None, typer.Option(help="RFT: the report of `recert screen --grader` that accepted it.")
    ] = None,
    grader_unaudited: Annotated[
        bool, typer.Option("--grader-unaudited", help="RFT: learn from a grader that was not accepted.")
    ] = False,
    judge: Annotated[
        str, typer.Option(metavar="MODEL", help="RFT: model that reads for a `score_model`.")
    ] = "",
    epochs: Annotated[float, typer.Option(help="Times every row is learned.")] = 3.0,
    learning_rate: LearningRate = None,
    lora_rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    lora_target: LoraTarget = None,
    batch_size: Annotated[int, typer.Option(help="Rows a step.")] = 8,
    max_tokens: Annotated[int, typer.Option(help="Longest row in tokens; longer ones are cut.")] = 512,
    dpo_beta: Annotated[float, typer.Option(help="DPO: how dearly it is paid to leave the base.")] = 0.1,
    rft_samples: Annotated[int, typer.Option(help="RFT: replies that are sampled to each prompt.")] = 4,
    rft_reply_tokens: Annotated[int, typer.Option(help="RFT: longest reply that is sampled.")] = 96,
    rft_beta: Annotated[float, typer.Option(help="RFT: how dearly it is paid to leave the base.")] = 0.04,
    checkpoint_every: Annotated[
        int, typer.Option(help="Keep a checkpoint after so many steps, each time; 0 for none.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="For the order of rows and the first weights.")] = 0,
    key: StepKey = None,
    signer_command: SignerCommand = None,
    as_json: AsJson = False,
) -> None:
    """
    Train an adapter, or all weights, on accepted rows.

    Exit 0: trained, 2: not.
    """
    from recert.cli.certifying.signing import load_step_key, sign_tuning
    from recert.cli.loading import load_hyperparameters
    from recert.tuning.defences import USUAL

    signer = load_step_key("tune", key, signer_command)
    how = load_hyperparameters(
        method,
        adapter,
        learning_rate,
        epochs=epochs,
        lora_rank=lora_rank,
        lora_alpha=2 * lora_rank,
        lora_targets=tuple(lora_target or ()),
        batch_size=batch_size,
        max_tokens=max_tokens,
        learned=learned,
        dpo_beta=dpo_beta,
        rft_samples=rft_samples,
        rft_reply_tokens=rft_reply_tokens,
        rft_beta=rft_beta,
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    files = _Files(rows, output, screen_report, grader, grader_report)
    defence = defence or USUAL[how.objective]
    report = _tuned(files, base, defence, defence_option or [], how, judge, audited=not grader_unaudited)
    sign_tuning(output, report, signer)
    _tell(report, output, as_json=as_json)


@dataclass(frozen=True)
class _Files:
    rows: Path
    output: Path
    screen_report: Path | None
    grader: Path | None
    grader_report: Path | None


def _tuned(
    files: _Files,
    base: str,
    defence: str,
    defence_options: list[str],
    how: Hyperparameters,
    judge: str,
    *,
    audited: bool,
) -> TuneReport:
    import contextlib

    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_base, load_grader, load_record, pairs_of
    from recert.cli.reading import load_prompts, load_rows
    from recert.policy import load_policy
    from recert.records.reports.grader import GraderReport
    from recert.records.reports.screening import ScreenReport
    from recert.tuning.stage import tune as train

    rewarded = how.objective == "rft"
    screened = load_record(ScreenReport, files.screen_report) if files.screen_report else None
    if screened is not None:
        _must_be_accepted(files.rows, screened)
    audit = load_record(GraderReport, files.grader_report) if files.grader_report else None
    if audit is not None and audited:
        _must_be_read_by(judge, audit)
    told = "reward" if rewarded else "loss"
    with contextlib.ExitStack() as held:
        grader = load_grader(files.grader, judge, load_policy("default")) if files.grader else None
        if grader is not None:
            held.enter_context(grader)
        drawn = held.enter_context(Drawn())
        drawn.start(f"tune ({defence})")
        return train(
            load_base(base),
            load_prompts(files.rows) if rewarded else load_rows(files.rows),
            files.output,
            defence=defence,
            defence_options=pairs_of(defence_options),
            hyperparameters=how,
            screen_report=screened,
            grader=grader,
            grader_report=audit,
            screening_overridden=not audited,
            progress=lambda step, steps, value: drawn.at(step, steps, f"{told} {value:.3f}"),
        )


def _tell(report: TuneReport, output: Path, *, as_json: bool) -> None:
    from recert.cli.printing import data
    from recert.tuning.stage import REPORT_NAME, tuned_folder

    if as_json:
        data(report)
    else:
        made = [tuned_folder(output), *(output / one.folder for one in report.checkpoints)]
        typer.echo(" ".join(map(str, (*made, output / REPORT_NAME))))


def _must_be_read_by(judge: str, audit: GraderReport) -> None:
    from recert.errors import GraderError

    if audit.model != judge:
        raise GraderError(
            "the grader was audited with another model",
            facts={"audited": audit.model or "none", "given": judge or "none"},
            hint="give the same --judge, or run `recert screen --grader` with this one",
        )


def _must_be_accepted(rows: Path, screened: ScreenReport) -> None:
    from recert.digest import sha256_file
    from recert.errors import RowsError

    if sha256_file(rows) != screened.accepted_sha256:
        raise RowsError(
            "these are not the rows that the screen report accepted",
            facts={"accepted": screened.accepted_sha256, "given": sha256_file(rows)},
            hint="give the accepted.jsonl beside the report, or screen again",
        )
