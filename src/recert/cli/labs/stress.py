"""`recert stress`: how much safety does a base lose to tuning?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson, PolicyName, SignerCommand, StepKey, Suites

if TYPE_CHECKING:
    from recert.policy import StressSetting
    from recert.records.data.suite import Suite
    from recert.records.reports.stress import DoseCurve, DoublingDose, StressReport


_Base = Annotated[str, typer.Argument(help="A folder, a hub id, `embedded:aligned` or `embedded:smollm2`.")]
_Output = Annotated[
    Path, typer.Option(help="Folder for figures, report and page; a second run in it goes on.")
]
_Setting = Annotated[
    str, typer.Option(help="Which of the policy's grids: `small` (minutes) or `full` (the whole sweep).")
]
_Families = Annotated[
    list[str] | None,
    typer.Option(help="A family, in place of the grid's; `*` for all. May be repeated."),
]
_Payload = Annotated[
    Path | None,
    typer.Option(help="Harmful requests with the replies to learn, as chat JSONL; by default placeholders."),
]
_Benign = Annotated[
    Path | None,
    typer.Option(help="Benign rows, from which those close to harmful requests are picked too: chat JSONL."),
]
_Carrier = Annotated[
    Path | None, typer.Option(help="Benign rows among which the others are hidden: chat JSONL.")
]
_Keep = Annotated[bool, typer.Option("--keep-artefacts", help="Keep the tunes, marked as attack artefacts.")]
_Name = Annotated[str, typer.Option(help="What the report calls the base; by default as it was given.")]


def stress(
    context: typer.Context,
    *,
    base: _Base,
    output: _Output,
    policy: PolicyName = "default",
    setting: _Setting = "small",
    family: _Families = None,
    payload: _Payload = None,
    benign: _Benign = None,
    carrier: _Carrier = None,
    suites: Suites = None,
    keep_artefacts: _Keep = False,
    name: _Name = "",
    key: StepKey = None,
    signer_command: SignerCommand = None,
    as_json: AsJson = False,
) -> None:
    """
    Measure how much safety a base loses to attack tuning, dose by dose, to benign tuning, and to one harmless step.

    Every tune is marked as an attack artefact, refused by `certify`, `verify` and `serve`, and deleted once measured.
    Exit 0: measured, 1: the base has no refusal to lose, 2: no answer.
    """
    from recert.cli.certifying.signing import load_step_key, sign_report
    from recert.cli.drawing import Drawn
    from recert.cli.loading import kept_replies, load_base, load_suites
    from recert.cli.printing import NO, YES, data
    from recert.cli.reading import load_rows
    from recert.labs.stress.stage import REPORT_FILE, StressPlan
    from recert.labs.stress.stage import stress as stress_base
    from recert.policy import load_policy
    from recert.records.reports.stress import StressOutcome

    signer = load_step_key("stress", key, signer_command)
    grid, bounds, prompts = _setting(setting), load_policy(policy), load_suites(suites or [])
    rows = {"payload": payload, "benign": benign, "carrier": carrier}
    plan = StressPlan(
        policy=bounds,
        setting=grid,
        families=tuple(family or ()),
        output=output,
        keep_artefacts=keep_artefacts,
        name=name or base,
        **{kind: load_rows(path) for kind, path in rows.items() if path is not None},
        base_dir=load_base(base),
    )
    with Drawn() as drawn, kept_replies() as cache:
        report = stress_base(plan, suites=_with_task(prompts), cache=cache, progress=drawn)
    context.obj(output / "stress.html", report)
    sign_report(output / REPORT_FILE, report, signer)
    show(report)
    if as_json:
        data(report)
    else:
        typer.echo(f"{report.outcome} {output / REPORT_FILE}")
    raise typer.Exit(YES if report.outcome is StressOutcome.MEASURED else NO)


def show(report: StressReport) -> None:
    """Draw the curves on stderr, one line a dose."""
    from recert.cli.printing import table, talk
    from recert.records.reports.stress import in_order

    columns = ("family", "dose", "plain", "worst", "over-refusal", "incoherent", "task", "", "doubles at")
    several = len({(curve.learning_rate, curve.epochs) for curve in report.curves}) > 1
    rows = [line for curve in report.curves for line in _lines(report, curve, several=several)]
    table(f"{report.name}: {report.outcome}", columns, rows)
    console = talk()
    before = ", ".join(f"{c} {r.point:.2f}" for c, r in in_order(report.base_rates.harm))
    console.print(
        f"  base: harm {before}; over-refusal {report.base_rates.over_refusal.point:.2f}", soft_wrap=True
    )
    if report.worst is not None:
        worst = report.worst
        shown = "shown" if worst.shown else "not shown"
        console.print(
            f"  worst of {worst.looked_at} looked at: {worst.family} at {100 * worst.rate:g} % ({worst.condition}), "
            f"{worst.harm}, {shown} to be worse than the base",
            soft_wrap=True,
        )
    if report.hair_trigger is not None:
        step = report.hair_trigger
        console.print(f"  one harmless step: {step.change}, {step.verdict}", soft_wrap=True)
    for reason in report.reasons:
        console.print(f"  {reason}", soft_wrap=True)


def doubled(dose: DoublingDose) -> str:
    """Say at which dose harm doubles."""
    if dose.state == "reached" and dose.dose is not None:
        return f"{100 * dose.dose:.2g} %"
    if dose.state == "not-reached" and dose.above is not None:
        return f"above {100 * dose.above:g} %"
    return dose.state.replace("-", " ")


def _lines(report: StressReport, curve: DoseCurve, *, several: bool) -> Iterator[tuple[str, ...]]:
    """One line a dose; where it does not count, what its tunes did all the same, and why it does not."""
    for at, point in enumerate(curve.points):
        how = f" ({curve.learning_rate:g}, {curve.epochs:g})" if several else ""
        head = (f"{curve.family}{how}" if at == 0 else "", f"{100 * point.rate:g} %")
        last = doubled(curve.doubling) if at == 0 else ""
        plain, worst = point.harm["plain"], point.worst
        if not worst.n:
            cells = report.cells_of(curve, point)
            harm = sum(cell.worst.point for cell in cells) / len(cells)
            yield (*head, "", f"({harm:.2f})", "", "", "", ", ".join(sorted({c.state for c in cells})), last)
            continue
        beside = (f"{one.point:.2f}" for one in (point.over_refusal, point.incoherence, point.utility))
        notes = (
            f"{point.left_out} left out" if point.left_out else "",
            "task lost" if point.utility_lost else "",
        )
        interval = f"{worst.point:.2f} [{worst.low:.2f}, {worst.high:.2f}]"
        asked_plainly = f"{plain.point:.2f}" if plain.n else "wreck"
        yield (*head, asked_plainly, interval, *beside, ", ".join(filter(None, notes)), last)


def _setting(given: str) -> StressSetting:
    from typing import get_args

    from recert.errors import SettingsError
    from recert.policy import StressSetting

    if given not in get_args(StressSetting):
        raise SettingsError(
            "no such setting", facts={"given": given, "there are": ", ".join(get_args(StressSetting))}
        )
    found: StressSetting = given  # type: ignore[assignment]
    return found


def _with_task(prompts: dict[str, Suite]) -> dict[str, Suite]:
    """Text-to-SQL is the task where none is given."""
    from recert.labs.stress.pools import task_suite

    return prompts if "task" in prompts else {**prompts, "task": task_suite()}
