"""`recert attempts`: which evaluations were begun, as which attempt, and how they ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recert.cli.options import AsJson


def attempts(
    *,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Folder of the ledger; by default `RECERT_LEDGER`, or the user's data folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    List every evaluation that was begun here, as which attempt of its line, and how it ended.

    Exit 0: the ledger is what was written, 2: it was cut, changed or removed.
    """
    import orjson

    from recert.cli.printing import table
    from recert.workflows.attempts.ledger import Ledger

    kept = Ledger(ledger)
    found = kept.attempts()
    if as_json:
        for one in found:
            told = one.begun.to_value() | {
                "entry": one.index,
                "verdict": one.verdict,
                "labels_sha256": one.labels,
            }
            typer.echo(orjson.dumps(told))
        return
    rows = [
        (
            one.index,
            one.begun.attempt,
            one.begun.model_name,
            one.begun.base[:12],
            one.begun.tuned[:12],
            one.begun.rows or "not known",
            f"{one.begun.policy_id} {one.begun.policy_version}",
            f"{one.begun.logged_at:%Y-%m-%d %H:%M}",
            f"{one.verdict or 'not ended'}{', by labels' if one.labels else ''}",
        )
        for one in found
    ]
    columns = ("entry", "attempt", "model", "base", "tuned", "rows", "policy", "begun", "verdict")
    table(f"evaluations in {kept.folder}", columns, rows)
