"""`recert tune`: train an adapter on accepted rows, with a defence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    Method,
)


def tune(
    *,
    rows: Annotated[
        Path, typer.Argument(help="Accepted rows: `accepted.jsonl`, written by `recert screen`.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the adapter and the report.")],
    base: Base = DEFAULT_BASE,
    defence: Defence = "safety-mix",
    defence_option: DefenceOption = None,
    method: Method = "sft",
    adapter: AdapterKind = "lora",
    learned: Learned = "reply",
    screen_report: Annotated[
        Path | None,
        typer.Option(help="`screen-report.json`; its digest of the accepted rows must be theirs."),
    ] = None,
    epochs: Annotated[float, typer.Option(help="Times every row is learned.")] = 3.0,
    learning_rate: LearningRate = None,
    lora_rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    batch_size: Annotated[int, typer.Option(help="Rows a step.")] = 8,
    max_tokens: Annotated[int, typer.Option(help="Longest row in tokens; longer ones are cut.")] = 512,
    dpo_beta: Annotated[float, typer.Option(help="DPO: how dearly it is paid to leave the base.")] = 0.1,
    checkpoint_every: Annotated[
        int, typer.Option(help="Keep a checkpoint after so many steps, each time; 0 for none.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="For the order of rows and the first weights.")] = 0,
    as_json: AsJson = False,
) -> None:
    """
    Train an adapter, or all weights, on accepted rows.

    Exit 0: trained, 2: not.
    """
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_base, load_hyperparameters, load_record, load_rows, pairs_of
    from recert.cli.printing import data
    from recert.digest import sha256_file
    from recert.errors import RowsError
    from recert.records import ScreenReport
    from recert.tuning.stage import REPORT_NAME, tuned_folder
    from recert.tuning.stage import tune as train

    screened = load_record(ScreenReport, screen_report) if screen_report else None
    if screened and sha256_file(rows) != screened.accepted_sha256:
        raise RowsError(
            "these are not the rows that the screen report accepted",
            facts={"accepted": screened.accepted_sha256, "given": sha256_file(rows)},
            hint="give the accepted.jsonl beside the report, or screen again",
        )
    with Drawn() as drawn:
        drawn.start(f"tune ({defence})")
        report = train(
            load_base(base),
            load_rows(rows),
            output,
            defence=defence,
            defence_options=pairs_of(defence_option or []),
            hyperparameters=load_hyperparameters(
                method,
                adapter,
                learning_rate,
                epochs=epochs,
                lora_rank=lora_rank,
                lora_alpha=2 * lora_rank,
                batch_size=batch_size,
                max_tokens=max_tokens,
                learned=learned,
                dpo_beta=dpo_beta,
                checkpoint_every=checkpoint_every,
                seed=seed,
            ),
            screen_report=screened,
            progress=lambda step, steps, loss: drawn.at(step, steps, f"loss {loss:.3f}"),
        )
    if as_json:
        data(report)
    else:
        made = [tuned_folder(output), *(output / one.folder for one in report.checkpoints)]
        typer.echo(" ".join(map(str, (*made, output / REPORT_NAME))))
