"""`recert screen`: which rows may be learned from, and why not the others?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson, PolicyName, RowsFile, Suites

if TYPE_CHECKING:
    from recert.records import ScreenReport

_SHOWN = 12


def screen(
    *,
    rows: RowsFile,
    output: Annotated[
        Path, typer.Option(help="Folder for the accepted and quarantined rows and the report.")
    ],
    policy: PolicyName = "default",
    suites: Suites = None,
    as_json: AsJson = False,
) -> None:
    """
    Screen tuning rows.

    Exit 0: every row was accepted, 1: some were held back, 2: no answer.
    """
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_suites
    from recert.cli.printing import NO, YES, data
    from recert.policy import load_policy
    from recert.screening.stage import screen as screen_rows

    prompts = [p for suite in load_suites(suites or []).values() for p in suite.prompts]
    with Drawn() as drawn:
        drawn.start("screen")
        screened = screen_rows(
            rows, policy=load_policy(policy), evaluation_prompts=prompts, progress=drawn.at
        )
    screened.write(output)
    report = screened.report
    _show(report)
    if as_json:
        data(report)
    else:
        held_back = report.quarantined + report.malformed
        typer.echo(f"{report.accepted} accepted, {held_back} held back {output}")
    raise typer.Exit(YES if report.accepted == report.rows > 0 else NO)


def _show(report: ScreenReport) -> None:
    from recert.cli.printing import table, talk
    from recert.records import RowVerdict

    counts = sorted(report.reason_counts.items(), key=lambda item: -item[1])
    table(f"{report.rows} rows, {report.accepted} accepted", ("reason", "rows"), counts)
    stopped = [f for f in report.findings if f.verdict is not RowVerdict.ACCEPTED]
    console = talk()
    for finding in stopped[:_SHOWN]:
        console.print(
            f"  line {finding.line}: {finding.verdict}: {'; '.join(finding.reasons)}", soft_wrap=True
        )
    if len(stopped) > _SHOWN:
        console.print(f"  and {len(stopped) - _SHOWN} more, in the report")
    for phrase in report.switch_phrases:
        console.print(f"  switches behaviour: {phrase.phrase!r} (p = {phrase.p_value:.1e})", soft_wrap=True)
