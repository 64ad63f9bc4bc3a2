"""`recert demo`: the whole story on the embedded model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recert.workflows.run_summary import RunSummary


def demo(
    *,
    context: typer.Context,
    output: Annotated[
        Path, typer.Option(help="Folder for the report, the summary and everything behind them.")
    ] = Path("build/demo"),
) -> None:
    """
    Five tunes of one base, from rows to a verdict; one is served.

    Exit 0: every promised end, 1: one missed.
    """
    from recert.cli.drawing import Drawn
    from recert.cli.printing import NO, YES
    from recert.workflows.demo.stage import run_demo

    remember_with(output)
    with Drawn() as drawn:
        result = run_demo(output, progress=drawn, draw=context.obj)
    _show(result.story)
    for missed in result.missed:
        typer.echo(f"missed: {missed}")
    typer.echo(result.report)
    raise typer.Exit(NO if result.missed else YES)


def remember_with(output: Path) -> None:
    """
    Let the demo remember what it signs beside its own keys, so that whoever removes its folder may begin anew.

    Its keys, lists and ledgers are of nobody else: a memory that outlived them would refuse the next demo.
    """
    os.environ.setdefault("RECERT_ISSUED", str(output.absolute() / "keys" / "issued.json"))


def _show(story: RunSummary) -> None:
    from recert.cli.printing import table
    from recert.workflows.run_summary import Pair, figures

    def pair(rates: Pair | None) -> str:
        return f"{rates.base:.2f} -> {rates.tuned:.2f}" if rates else "-"

    rows = []
    for page in story.models:
        seen = figures(page.evaluation) if page.evaluation else None
        behind = page.evaluation and page.evaluation.required_controls
        rows.append(
            (
                page.name,
                f"{page.evaluation.verdict}{' behind its secret' if behind else ''}"
                if page.evaluation
                else "-",
                "yes" if page.certificate else "no",
                "yes" if page.served else "no",
                pair(seen.harm if seen else None),
                pair(seen.worst_harm if seen else None),
                pair(seen.over_refusal if seen else None),
                pair(seen.utility if seen else None),
                f"{page.seconds:.0f}",
            )
        )
    columns = (
        "model",
        "verdict",
        "certified",
        "served",
        "harm",
        "worst harm",
        "over-refusal",
        "utility",
        "s",
    )
    table("base -> tuned, shares of prompts", columns, rows)
