"""`recert import`: what did another tool find?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson

if TYPE_CHECKING:
    from recert.records.reports.imported import ImportedResults, Tool


def import_(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            help="garak's `.report.jsonl`, PyRIT's export or database, promptfoo's `results.json`, samples or results "
            "of lm-evaluation-harness, an Inspect log, or a transcript of Petri or a folder of them. With `--format "
            "oms` an OpenSSF model signature."
        ),
    ],
    output: Annotated[Path, typer.Option(help="File for what was read.")] = Path("imported.json"),
    format: Annotated[
        str,
        typer.Option(
            help="`auto`, `garak`, `pyrit`, `promptfoo`, `lm-evaluation-harness`, `inspect`, `petri`, or `oms` for a "
            "signature."
        ),
    ] = "auto",
    score: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ESTIMAND",
            help="What a score of the tool stands for: `harm`, `over_refusal`, `utility_loss` or `incoherence`, with "
            "`1-` before it where higher is better.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Which model to read, where the file holds several.")] = "",
    folder: Annotated[
        Path | None, typer.Option(help="The base's folder, which a signature (`oms`) is verified against.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The signer's public ECDSA key in PEM, for a signature (`oms`).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Read what another tool measured, or verify who signed the base, as evidence.

    Exit 0: all of it was read, 1: entries or scores are missing, or a signature does not hold, 2: no answer.
    """
    if format == "oms":
        from recert.cli.certifying.import_signature import import_signature

        import_signature(file, output, folder=folder, key=key, as_json=as_json)
        return
    from recert.cli.printing import NO, YES, data
    from recert.interop.importers.stage import import_results
    from recert.store.files.writing import write_atomic

    results = import_results(file, tool=_tool(format), scores=_meanings(score or []), model=model)
    write_atomic(output, results.to_json())
    _show(results)
    if as_json:
        data(results)
    else:
        typer.echo(f"{len(results.outcomes)} outcomes {output}")
    unscored = any(not outcome.scores for outcome in results.outcomes)
    raise typer.Exit(NO if results.unread or unscored else YES)


def _tool(given: str) -> Tool | None:
    from typing import get_args

    from recert.errors import InputError
    from recert.records.reports.imported import Tool

    if given == "auto":
        return None
    for tool in get_args(Tool):
        if given == tool:
            return tool  # type: ignore[no-any-return]
    raise InputError(
        "no such format", facts={"given": given, "there are": ", ".join(("auto", *get_args(Tool), "oms"))}
    )


def _meanings(given: list[str]) -> dict[str, str]:
    from recert.errors import InputError

    meanings = {}
    for entry in given:
        name, found, estimand = entry.rpartition("=")
        if not found or not name or not estimand:
            raise InputError("a score is given as NAME=ESTIMAND", facts={"given": entry})
        meanings[name] = estimand
    return meanings


def _show(results: ImportedResults) -> None:
    """Say on stderr what the scores stand for, and what is missing."""
    from recert.cli.printing import sheet

    unscored = sum(not outcome.scores for outcome in results.outcomes)
    lines = [
        ("model", results.model_name or "not named"),
        *((f"suite {suite.name}", f"{suite.prompts} prompts") for suite in results.suites),
        *((name, f"is {meaning}") for name, meaning in results.mapped.items()),
        *((name, f"stands for nothing, {n} times") for name, n in results.unmapped.items()),
    ]
    if unscored:
        lines.append(("without a score", f"{unscored} of {len(results.outcomes)} replies"))
    if results.unread:
        lines.append(("could not be read", f"{results.unread} entries"))
        lines += [(entry.where, entry.because) for entry in results.unread_entries[:10]]
    sheet(f"{results.tool} {results.tool_version}".strip(), lines)
