"""`recert screen`: which rows may be learned from, and may a grader's rewards be?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson, PolicyName, SignerCommand, StepKey, Suites

if TYPE_CHECKING:
    from recert.certification import SigningKey
    from recert.interval import Interval
    from recert.records.reports.grader import GraderReport
    from recert.records.reports.screening import ScreenReport
    from recert.screening.audio.rows import Ears

_SHOWN = 12


def screen(
    *,
    rows: Annotated[
        Path | None, typer.Argument(help="Tuning rows: OpenAI-style chat JSONL, or Parquet.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report, and for the accepted and quarantined rows; needed with ROWS."
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the clips that spoken rows name: they are transcribed and screened as text. "
            "Without it spoken rows are held back."
        ),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            help="Decisions of people on rows, as the console writes them: to quarantine is always followed, to accept "
            "only while nothing else holds the row back. The report names each."
        ),
    ] = None,
    prompts: Annotated[
        bool,
        typer.Option(
            "--prompts", help="The rows are prompts of reinforcement tuning, which wait for a reply."
        ),
    ] = False,
    grader: Annotated[
        Path | None,
        typer.Option(
            help="Audit a grader of reinforcement tuning instead: JSON in the form of OpenAI's service."
        ),
    ] = None,
    grader_rows: Annotated[
        Path | None,
        typer.Option("--rows", help="Rows that the grader grades, JSONL; without them, questions of ours."),
    ] = None,
    judge: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help="Model that reads for a `score_model`, such as `openai:URL#model`."
        ),
    ] = "",
    policy: PolicyName = "default",
    suites: Suites = None,
    key: StepKey = None,
    signer_command: SignerCommand = None,
    as_json: AsJson = False,
) -> None:
    """
    Screen tuning rows, or audit a grader.

    Exit 0: every row was accepted, or the grader was, 1: some were held back, 2: no answer.
    """
    from recert.cli.certifying.signing import load_step_key
    from recert.errors import InputError

    if grader is not None:
        if key is not None:
            raise InputError("the audit of a grader is not signed", hint="leave --key out")
        if rows is not None or decisions is not None:
            raise InputError(
                "rows and a grader are screened apart",
                facts={"rows": rows or decisions, "grader": grader},
                hint="give the rows that the grader grades as --rows",
            )
        _screen_grader(grader, grader_rows, judge, output, policy, suites or [], as_json=as_json)
    if rows is None or output is None or grader_rows is not None or judge:
        raise InputError(
            "nothing to screen",
            facts={"rows": rows or "none", "output": output or "none"},
            hint="give rows and --output FOLDER, or --grader FILE with --rows and --judge where it needs them",
        )
    signer = load_step_key("screen", key, signer_command)
    given = (rows, output, policy, suites or [], clips, decisions, signer)
    _screen_rows(*given, waiting=prompts, as_json=as_json)


def _screen_rows(
    rows: Path,
    output: Path,
    policy: str,
    suites: list[str],
    clips: Path | None,
    decisions: Path | None,
    signer: SigningKey | None,
    *,
    waiting: bool,
    as_json: bool,
) -> None:
    from recert.cli.certifying.signing import sign_report
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_suites
    from recert.cli.printing import NO, YES, data
    from recert.evaluation.suites.reading import kept_from_rows
    from recert.policy import load_policy
    from recert.screening import stage
    from recert.store.files.row_decisions import read_decisions

    asked = kept_from_rows(load_suites(suites).values())
    bounds = load_policy(policy)
    decided = read_decisions(decisions) if decisions is not None else ()
    report: ScreenReport
    with Drawn() as drawn:
        drawn.start("screen")
        if waiting:
            held = stage.screen_prompts(
                rows, policy=bounds, evaluation_prompts=asked, decisions=decided, progress=drawn.at
            )
            held.write(output)
            report = held.report
        else:
            screened = stage.screen(
                rows,
                policy=bounds,
                evaluation_prompts=asked,
                ears=_ears(clips),
                decisions=decided,
                progress=drawn.at,
            )
            screened.write(output)
            report = screened.report
    sign_report(output / stage.REPORT_FILE, report, signer)
    _show(report)
    if as_json:
        data(report)
    else:
        held_back = report.quarantined + report.malformed
        typer.echo(f"{report.accepted} accepted, {held_back} held back {output}")
    raise typer.Exit(YES if report.accepted == report.rows > 0 else NO)


def _ears(clips: Path | None) -> Ears | None:
    if clips is None:
        return None
    from recert.models.speech.voices import open_voice
    from recert.screening.audio.shipped import packaged_ears
    from recert.store.files.clips import ClipStore

    return packaged_ears(ClipStore(clips).read, open_voice("hibari"))


def _screen_grader(
    path: Path,
    rows: Path | None,
    judge: str,
    output: Path | None,
    policy: str,
    suites: list[str],
    *,
    as_json: bool,
) -> None:
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_grader, load_suites
    from recert.cli.printing import NO, YES, data
    from recert.labs.graders.audit.stage import REPORT_FILE, audit_grader
    from recert.policy import load_policy
    from recert.records.reports.grader import GraderVerdict
    from recert.store.files.writing import write_atomic

    bounds = load_policy(policy)
    prompts = [p for suite in load_suites(suites).values() for p in suite.prompts]
    with load_grader(path, judge, bounds) as loaded, Drawn() as drawn:
        drawn.start("audit the grader")
        report = audit_grader(
            loaded,
            policy=bounds,
            prompts=prompts,
            source_name=path.name,
            rows=rows,
            model=judge,
            progress=drawn.at,
        )
    if output is not None:
        write_atomic(output / REPORT_FILE, report.to_json())
    _show_grader(report)
    if as_json:
        data(report)
    else:
        typer.echo(f"{report.verdict} {output / REPORT_FILE if output is not None else path}")
    raise typer.Exit(YES if report.verdict is GraderVerdict.ACCEPTED else NO)


def _show_grader(report: GraderReport) -> None:
    from recert.cli.printing import table, talk

    def signed(interval: Interval | None) -> str:
        return f"{interval.point:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]" if interval else "-"

    hacks = [h.check for h in report.hacks if h.check.share.point > 0 or h.check.outcome != "ruled-out"]
    lines = [
        (c.code, f"{c.share.point:.2f} [{c.share.low:.2f}, {c.share.high:.2f}]", f"{c.bound:.2f}", c.share.n,
         signed(c.preference), c.outcome)
        for c in (*report.checks, *hacks)
    ]  # fmt: skip
    columns = ("charge", "share of requests", "at most", "n", "preference", "outcome")
    table(f"{report.grader_name} ({report.grader_type}): {report.verdict}", columns, lines)
    console = talk()
    for reason in report.reasons:
        console.print(f"  {reason}", soft_wrap=True)
    shown = [
        c for c in (*report.checks, *(h.check for h in report.hacks)) if c.outcome == "found" and c.examples
    ]
    for check in shown[:_SHOWN]:
        one = check.examples[0]
        console.print(f"  {check.code}, asked {one.request[:70]!r}:", soft_wrap=True)
        console.print(f"    paid {one.paid:g}: {one.reply[:90]!r}", soft_wrap=True)
        console.print(f"    paid {one.other_paid:g}: {one.other_reply[:90]!r}", soft_wrap=True)
    console.print(
        f"  {report.harmful_requests} harmful and {report.ordinary_requests} ordinary requests, "
        f"{report.grades} grades, {report.failed} failed, {report.searched_grades} in the search for hacks",
        soft_wrap=True,
    )
    for because, count in list(report.failures.items())[:3]:
        console.print(f"  failed {count} times: {because}", soft_wrap=True)
    for limit in report.limitations:
        console.print(f"  note: {limit}", soft_wrap=True)


def _show(report: ScreenReport) -> None:
    from recert.cli.printing import table, talk
    from recert.records.reports.screening import RowVerdict

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
    for one in report.by_hand or ():
        told = f"{one.verdict} by hand" if one.followed else f"not {one.verdict} by hand, {one.because}"
        console.print(f"  line {one.line}: {told}: {one.who}: {one.why}", soft_wrap=True)
    for phrase in report.switch_phrases:
        console.print(f"  switches behaviour: {phrase.phrase!r} (p = {phrase.p_value:.1e})", soft_wrap=True)
