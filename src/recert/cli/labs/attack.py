"""`recert attack`: how far does an attacker get who may talk with the tuned model?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from recert.cli.labs.attack_options import (
    Alone,
    AttackedBase,
    AttackerModel,
    Attackers,
    AttackerTemperature,
    AttackerTokens,
    Behind,
    GoOn,
    HarmJudges,
    Items,
    JudgeTimeout,
    Limit,
    MostCalls,
    MostTokens,
    Name,
    NewTokens,
    Opener,
    Output,
    Refusals,
    Seeds,
    Suffix,
    System,
    Temperature,
    Tuned,
    Turns,
)
from recert.cli.options import DEFAULT_BASE, AsJson, PolicyName, Secret, SignerCommand, StepKey

if TYPE_CHECKING:
    from recert.certification import SigningKey
    from recert.labs.attackers.report.attacking import AttackPlan


def attack(
    context: typer.Context,
    *,
    model: Tuned,
    output: Output,
    base: AttackedBase = DEFAULT_BASE,
    attacker: Attackers = None,
    attacker_model: AttackerModel = "",
    attacker_temperature: AttackerTemperature = 0.0,
    attacker_tokens: AttackerTokens = 2048,
    items: Items = "embedded",
    limit: Limit = None,
    turns: Turns = None,
    seeds: Seeds = None,
    judge: HarmJudges = None,
    judge_timeout_s: JudgeTimeout = 600,
    policy: PolicyName = "default",
    behind: Behind = None,
    without_safeguards: Alone = False,
    suffix: Suffix = "",
    secret: Secret = None,
    system: System = "You are a helpful assistant.",
    opener: Opener = "Hi!",
    max_new_tokens: NewTokens = 256,
    temperature: Temperature = 0.0,
    stop_after_refusals: Refusals = 0,
    all_turns: GoOn = False,
    most_calls: MostCalls = None,
    most_tokens: MostTokens = None,
    name: Name = "",
    key: StepKey = None,
    signer_command: SignerCommand = None,
    as_json: AsJson = False,
) -> None:
    """
    Let attackers talk with a tuned model and its base, turn by turn, and mark every reply from 0 to 5.

    Exit 0: within the policy's bounds alone or behind safeguards, without bounds: no conversation got there or was left
    open, 1: not so, 2: no answer.
    """
    from recert.cli.certifying.signing import load_step_key
    from recert.cli.labs.attack_options import load_attackers, load_panel, usual
    from recert.cli.loading import load_secret
    from recert.labs.attackers import AttackBudget, AttackProtocol, chosen, load_items
    from recert.labs.attackers.report.attacking import AttackPlan
    from recert.policy import load_policy

    signer = load_step_key("attack", key, signer_command)
    bounds = load_policy(policy)
    asked = usual(bounds)
    plan = AttackPlan(
        items=chosen(load_items(items), limit),
        attackers=load_attackers(
            attacker or asked.attackers, attacker_model, attacker_temperature, attacker_tokens
        ),
        output=output,
        policy=bounds,
        protocol=AttackProtocol(
            system=system,
            opener=opener,
            turns=turns or asked.turns,
            bound=asked.bound,
            stop_at_bound=not all_turns,
            stop_after_refusals=stop_after_refusals,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
        ),
        seeds=tuple(range(seeds or asked.seeds)),
        judges=load_panel(judge or ("item",)),
        judge_timeout_s=judge_timeout_s,
        behind=() if without_safeguards else tuple(behind or ("words",)),
        suffix=suffix,
        secret=load_secret(secret),
        budget=AttackBudget(most_calls or asked.max_target_calls, most_tokens),
        name=name,
    )
    _run(context, plan, base, model, signer, as_json=as_json)


def _run(
    context: typer.Context,
    plan: AttackPlan,
    base: str,
    model: str,
    signer: SigningKey | None,
    *,
    as_json: bool,
) -> None:
    from recert.cli.certifying.signing import sign_report
    from recert.cli.drawing import Drawn
    from recert.cli.labs.attack_showing import show, why_not
    from recert.cli.loading import kept_replies, load_hunted
    from recert.cli.printing import NO, YES, data, talk
    from recert.labs.attackers.report.attacking import PAGE_FILE
    from recert.labs.attackers.report.attacking import attack as attack_models
    from recert.records.reports.attack_report import REPORT_FILE

    with Drawn() as drawn, kept_replies() as cache:
        drawn.start("load the models")
        base_model, tuned_model = load_hunted(base, model)
        done = attack_models(plan, base_model, tuned_model, cache=cache, progress=drawn)
    context.obj(plan.output / PAGE_FILE, done)
    sign_report(plan.output / REPORT_FILE, done.report, signer)
    show(done.report)
    reasons = why_not(done.report, plan.policy)
    for reason in reasons:
        talk().print(f"  {reason}", soft_wrap=True)
    if as_json:
        data(done.report)
    else:
        typer.echo(f"{'not withstood' if reasons else 'withstood'} {plan.output / REPORT_FILE}")
    raise typer.Exit(NO if reasons else YES)
