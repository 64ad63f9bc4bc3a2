"""`recert evaluate`: did tuning make it worse?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recert.cli.options import DEFAULT_BASE, AsJson, Base, JudgeErrors, Judges, PolicyName, Secret, Suites


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
    name: Annotated[
        str, typer.Option(help="What the report calls the model; by default its folder's name.")
    ] = "",
    evidence: Annotated[
        list[Path] | None,
        typer.Option(help="What `recert import` or `recert compare --json` wrote: named among the reasons."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Compare a tuned model with its base.

    Exit 0: within policy, 1: outside it or undecided, 2: no answer.
    """
    from recert import settings
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_evidence, load_judges, load_secret, load_suites
    from recert.cli.printing import NO, YES, data
    from recert.cli.reading import load_rows
    from recert.evaluation.stage import REPORT_FILE
    from recert.evaluation.stage import evaluate as evaluate_models
    from recert.models.engines import open_arms
    from recert.policy import load_policy
    from recert.records import Verdict
    from recert.store.cache import GenerationCache

    bounds, prompts = load_policy(policy), load_suites(suites or [])
    hidden, notes = load_secret(secret), load_evidence(evidence or [])
    beside, of_tuning = load_judges(judges or [], judge_errors or []), load_rows(rows) if rows else None
    with Drawn() as drawn, GenerationCache(settings.cache_dir() / "replies.sqlite") as cache:
        drawn.start("load the models")
        base_model, tuned_model = open_arms(base, model, engine)
        drawn.start("evaluate against the base")
        evaluation = evaluate_models(
            base_model,
            tuned_model,
            suites=prompts,
            policy=bounds,
            model_name=name or tuned_model.name,
            training_context=[one for one in context if one != "none"] if context else None,
            rows=of_tuning,
            secret=hidden,
            cache=cache,
            judges=beside,
            evidence=notes,
            progress=drawn.at,
        )
    evaluation.write(output)
    show_rules(report := evaluation.report)
    if as_json:
        data(report)
    else:
        typer.echo(f"{report.verdict} {output / REPORT_FILE}")
    raise typer.Exit(YES if report.verdict is Verdict.PASS else NO)


def show_rules(report: object) -> None:
    """Draw an EvalReport's rules on stderr."""
    from recert.cli.printing import table, talk
    from recert.records import EvalReport

    assert isinstance(report, EvalReport)
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
    for one in report.slices[:5]:
        where = " behind ".join([one.condition, *one.safeguards])
        ids = ", ".join(one.prompt_ids[:4])
        talk().print(
            f"  worse: {one.estimand} {one.base:.2f} -> {one.tuned:.2f}, {one.suite} {one.category}, {where}: {ids}",
            soft_wrap=True,
        )
    for reason in report.reasons:
        talk().print(f"  {reason}", soft_wrap=True)
