"""`recert evaluate`: did tuning make it worse?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.evaluating.made_of import CarryReason, MadeOf, Parent, ParentModel, ParentTrust, Transform
from recert.cli.options import (
    DEFAULT_BASE,
    AsJson,
    Base,
    JudgeErrors,
    Judges,
    PolicyName,
    Secret,
    SignerCommand,
    StepKey,
    Suites,
)

if TYPE_CHECKING:
    from recert.evaluation.decision.cheapest import Needed
    from recert.policy import Policy
    from recert.records.reports.evaluation import EvalReport

ModelName = Annotated[
    str, typer.Option(help="What the report calls the model; by default its folder's name.")
]


def evaluate(
    *,
    model: Annotated[
        str,
        typer.Option(
            help="Tuned model: an adapter's folder, merged weights, or a spec such as `openai:URL#model`."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the report and its evidence.")],
    base: Base = DEFAULT_BASE,
    engine: Annotated[
        str, typer.Option(help="What runs models of files: `local`, `vllm` or `ray,workers=4`.")
    ] = "local",
    policy: PolicyName = "default",
    suites: Suites = None,
    secret: Secret = None,
    judges: Judges = None,
    judge_errors: JudgeErrors = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            help="System prompt of the tuning data, or a format of its user turn with `{prompt}` in it; "
            "`none` when it had neither."
        ),
    ] = None,
    rows: Annotated[Path | None, typer.Option(help="Tuning rows, for a search for triggers.")] = None,
    name: ModelName = "",
    evidence: Annotated[
        list[Path] | None,
        typer.Option(help="What `recert import` or `recert compare --json` wrote: named among the reasons."),
    ] = None,
    parent: Parent = None,
    parent_model: ParentModel = None,
    transform: Transform = "",
    carry_reason: CarryReason = "",
    trust: ParentTrust = None,
    key: StepKey = None,
    signer_command: SignerCommand = None,
    as_json: AsJson = False,
) -> None:
    """
    Compare a tuned model with its base.

    Exit 0: within policy, 1: outside it or undecided, 2: no answer.
    """
    from recert.cli.certifying.signing import load_step_key, sign_report
    from recert.cli.drawing import Drawn
    from recert.cli.loading import kept_replies
    from recert.cli.printing import NO, YES, data
    from recert.evaluation import stage
    from recert.models.engines.engines import open_arms
    from recert.records.reports.evaluation import Verdict
    from recert.workflows.attempts.counted import evaluate_counted
    from recert.workflows.attempts.ledger import Ledger
    from recert.workflows.progress_file import ProgressFile

    signer = load_step_key("evaluate", key, signer_command)
    made_of = MadeOf(parent, parent_model, transform, carry_reason, trust, policy)
    asked = _asked(suites, policy, secret, judges, judge_errors, rows, evidence, context)
    ledger = Ledger(None, signer)
    with (
        Drawn() as drawn,
        kept_replies() as cache,
        ProgressFile(output, name or model.rstrip("/").rpartition("/")[2], "evaluate", drawn) as tell,
    ):
        asked["cache"] = cache
        tell.start("load the models")
        if made_of.given:
            report = made_of.evaluate(base, model, engine, name, output, tell, ledger, asked)
        else:
            base_model, tuned_model = open_arms(base, model, engine)
            tell.start("evaluate against the base")
            asked |= {"model_name": name or tuned_model.name, "progress": tell}
            report = evaluate_counted(base_model, tuned_model, output, ledger, **asked)
    sign_report(output / stage.REPORT_FILE, report, signer)
    show_rules(report, asked["policy"])
    show_attempt(report)
    if as_json:
        data(report)
    else:
        typer.echo(f"{report.verdict} {output / stage.REPORT_FILE}")
    raise typer.Exit(YES if report.verdict is Verdict.PASS else NO)


def _asked(
    suites: list[str] | None,
    policy: str,
    secret: Path | None,
    judges: list[str] | None,
    errors: list[Path] | None,
    rows: Path | None,
    evidence: list[Path] | None,
    context: list[str] | None,
) -> dict[str, Any]:
    """What is asked, by whose bounds, and who judges it."""
    from recert.cli.loading import load_evidence, load_judges, load_secret, load_suites
    from recert.cli.reading import load_rows
    from recert.policy import load_policy

    return {
        "suites": load_suites(suites or [], encode=True),
        "policy": load_policy(policy),
        "secret": load_secret(secret),
        "judges": load_judges(judges or [], errors or []),
        "rows": load_rows(rows) if rows else None,
        "evidence": load_evidence(evidence or []),
        "training_context": [one for one in context if one != "none"] if context else None,
    }


def show_attempt(report: object) -> None:
    """Say on stderr which attempt an EvalReport is, and what that costs; nothing where nobody counted."""
    from recert.certification.signing.signoff_words import attempt_words
    from recert.cli.printing import talk
    from recert.records.reports.evaluation import EvalReport

    assert isinstance(report, EvalReport)
    if report.attempt is not None:
        talk().print(f"  {attempt_words(report.attempt)}", soft_wrap=True)


def show_rules(report: EvalReport, policy: Policy) -> None:
    """Draw an evaluation's rules on stderr, what was traded, and what would decide those that are open."""
    from recert.cli.printing import table, talk
    from recert.evaluation.decision.cheapest import what_would_decide
    from recert.evaluation.plan import UNKNOWN_CONTEXT
    from recert.records.reports.trade_offs import both_ways, shown, traded

    rows = [
        (
            r.rule_id,
            " behind ".join([r.condition, *r.safeguards]),
            f"{r.base.point:.2f}",
            f"{r.tuned.point:.2f}",
            r.change,
            r.margin,
            r.change.n,
            r.verdict,
        )
        for r in report.rules
    ]
    columns = ("rule", "condition", "base", "tuned", "change", "margin", "n", "verdict")
    table(f"{report.model_name}: {report.verdict}", columns, rows)
    plain = both_ways(report.rules, safeguarded=bool(report.required_controls))
    better = [
        (r.estimand, r.suite, f"{r.base.point:.2f}", f"{r.tuned.point:.2f}", r.change, shown(r))
        for r in plain
    ]
    table("what got better and what got worse", ("rate", "suite", "base", "tuned", "change", "shown"), better)
    for words in traded(plain):
        talk().print(f"  {words}", soft_wrap=True)
    for one in report.slices[:5]:
        where = " behind ".join([one.condition, *one.safeguards])
        ids = ", ".join(one.prompt_ids[:4])
        talk().print(
            f"  worse: {one.estimand} {one.base:.2f} -> {one.tuned:.2f}, {one.suite} {one.category}, {where}: {ids}",
            soft_wrap=True,
        )
    for reason in report.reasons:
        talk().print(f"  {reason}", soft_wrap=True)
    if any(result.reason == UNKNOWN_CONTEXT for result in report.rules):
        talk().print(
            "  hint: give the system prompt of the tuning rows with --context, or --context none where they had no "
            "system prompt and no format",
            soft_wrap=True,
        )
    open_rules = what_would_decide(report, policy.evaluation)
    if open_rules:
        talk().print(f"  {_cheapest(open_rules)}", soft_wrap=True)


def _cheapest(open_rules: Sequence[Needed]) -> str:
    """The cheapest of what open rules need, in words."""
    from recert.records.reports.evaluation import where_applies

    first = open_rules[0]
    result, never = first.result, sum(one.prompts is None for one in open_rules)
    if never == len(open_rules):
        return "undecided: no more prompts like these would decide it; change the tune"
    took = (
        "" if first.minutes is None else f", about {max(1, math.ceil(first.minutes))} min at this run's pace"
    )
    most = max(open_rules, key=lambda one: one.more)
    words = f"cheapest to decide: {where_applies(result)}, {first.more} more prompts of {result.suite}{took}"
    if len(open_rules) - never > 1:
        words += f"; of {len(open_rules)} open rules {where_applies(most.result)} needs most, {most.more}"
    return words if not never else f"{words}; {never} would not pass with more prompts like these"
