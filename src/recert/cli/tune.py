"""`recert tune`: train an adapter on accepted rows, with a defence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recert.cli.options import DEFAULT_BASE, AsJson, Base


def tune(
    *,
    rows: Annotated[
        Path, typer.Argument(help="Accepted rows: `accepted.jsonl`, written by `recert screen`.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the adapter and the report.")],
    base: Base = DEFAULT_BASE,
    defence: Annotated[str, typer.Option(help="`none`, `safety-mix` or `backdoor-align`.")] = "safety-mix",
    screen_report: Annotated[
        Path | None,
        typer.Option(help="`screen-report.json`; its digest of the accepted rows must be theirs."),
    ] = None,
    epochs: Annotated[float, typer.Option(help="Times every row is learned.")] = 3.0,
    learning_rate: Annotated[float, typer.Option(help="Step size.")] = 3e-4,
    lora_rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    batch_size: Annotated[int, typer.Option(help="Rows a step.")] = 8,
    seed: Annotated[int, typer.Option(help="For the order of rows and the first weights.")] = 0,
    as_json: AsJson = False,
) -> None:
    """
    Train a LoRA adapter on accepted rows.

    Exit 0: trained, 2: not.
    """
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_base, load_record, load_rows
    from recert.cli.printing import data
    from recert.digest import sha256_file
    from recert.errors import RowsError
    from recert.records import Hyperparameters, ScreenReport
    from recert.tuning.stage import REPORT_NAME
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
            hyperparameters=Hyperparameters(
                epochs=epochs,
                learning_rate=learning_rate,
                lora_rank=lora_rank,
                lora_alpha=2 * lora_rank,
                batch_size=batch_size,
                seed=seed,
            ),
            screen_report=screened,
            progress=lambda step, steps, loss: drawn.at(step, steps, f"loss {loss:.3f}"),
        )
    if as_json:
        data(report)
    else:
        typer.echo(f"{output / 'adapter'} {output / REPORT_NAME}")
