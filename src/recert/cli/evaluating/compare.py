"""`recert compare`: is B worse than A?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson, PolicyName, Suites

if TYPE_CHECKING:
    from recert.records.reports.comparison import Comparison


def compare(
    *,
    a: Annotated[Path, typer.Argument(help="Folder of an evaluation, or results read by `recert import`.")],
    b: Annotated[Path, typer.Argument(help="The other one: the later model, or the tuned one.")],
    policy: PolicyName = "default",
    suites: Suites = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Largest acceptable change; by default that of the reports, or of the policy."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Say whether B is worse than A, rule by rule, on the prompts that both were asked.

    Exit 0: no rule is worse by more than its margin, 1: one is, or cannot be told, 2: no answer.
    """
    from recert.cli.loading import load_record, load_suites
    from recert.cli.printing import NO, YES, data
    from recert.errors import InputError
    from recert.evaluation.report.compare import compare_evaluations, compare_results
    from recert.evaluation.report.folder import EvaluationFolder
    from recert.policy import load_policy
    from recert.records.reports.evaluation import Verdict
    from recert.records.reports.imported import ImportedResults

    if a.is_dir() != b.is_dir():
        raise InputError(
            "an evaluation cannot be compared with results of another tool",
            facts={"a": a, "b": b},
            hint="give two folders of `recert evaluate`, or two files of `recert import`",
        )
    if margin is not None and not 0 < margin < 1:
        raise InputError("margin must lie between 0 and 1", facts={"given": margin})
    if a.is_dir():
        prompts = load_suites(suites or [])
        comparison = compare_evaluations(
            EvaluationFolder.open(a), EvaluationFolder.open(b), suites=prompts, margin=margin
        )
    else:
        before, after = (load_record(ImportedResults, path) for path in (a, b))
        comparison = compare_results(before, after, load_policy(policy), margin=margin)
    show(comparison)
    if as_json:
        data(comparison)
    else:
        typer.echo(f"{comparison.verdict} {comparison.b.name} against {comparison.a.name}")
    raise typer.Exit(YES if comparison.verdict is Verdict.PASS else NO)


def show(comparison: Comparison) -> None:
    """Draw a comparison's rules on stderr."""
    from recert.cli.printing import table, talk
    from recert.records.reports.evaluation import where_applies

    columns = (
        "rule",
        "condition",
        "A said",
        "B said",
        "A",
        "B",
        "change",
        "margin",
        "n",
        "only A/B",
        "verdict",
    )
    rows = [
        (
            rule.rule_id,
            " behind ".join([rule.condition, *rule.safeguards]),
            rule.verdict_a or "-",
            rule.verdict_b or "-",
            f"{rule.a.point:.2f}",
            f"{rule.b.point:.2f}",
            rule.change,
            rule.margin,
            rule.change.n,
            f"{rule.only_a}/{rule.only_b}",
            rule.verdict,
        )
        for rule in comparison.rules
    ]
    table(f"{comparison.b.name} against {comparison.a.name}: {comparison.verdict}", columns, rows)
    for note in comparison.notes:
        talk().print(f"  {note}", soft_wrap=True)
    for rule in comparison.rules:
        if rule.verdict != "pass":
            talk().print(f"  {where_applies(rule)}: {rule.verdict}: {rule.reason}", soft_wrap=True)
