"""`recert attack`: how far does an attacker get who may talk with the tuned model?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from recert.cli.attack_options import (
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
from recert.cli.options import DEFAULT_BASE, AsJson, PolicyName, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recert.records import Conversation

_USUAL = ("direct", "strategist")


def attack(
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
    turns: Turns = 10,
    seeds: Seeds = 1,
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
    as_json: AsJson = False,
) -> None:
    """
    Let attackers talk with a tuned model and its base, turn by turn, and mark every reply from 0 to 5.

    Exit 0: measured, 1: the tuned model was brought to answer, or a conversation has no score, 2: no answer.
    """
    from recert import settings
    from recert.attacks.agent import AttackBudget, AttackProtocol, chosen, load_items
    from recert.cli.attack_options import load_attackers, load_panel
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_hunted, load_secret
    from recert.cli.printing import NO, YES
    from recert.pipeline.attacking import CONVERSATIONS_FILE, AttackPlan
    from recert.pipeline.attacking import attack as attack_models
    from recert.policy import load_policy
    from recert.store.cache import GenerationCache

    plan = AttackPlan(
        items=chosen(load_items(items), limit),
        attackers=load_attackers(attacker or _USUAL, attacker_model, attacker_temperature, attacker_tokens),
        output=output,
        policy=load_policy(policy),
        protocol=AttackProtocol(
            system=system,
            opener=opener,
            turns=turns,
            stop_at_bound=not all_turns,
            stop_after_refusals=stop_after_refusals,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
        ),
        seeds=tuple(range(seeds)),
        judges=load_panel(judge or ("item",)),
        judge_timeout_s=judge_timeout_s,
        behind=() if without_safeguards else tuple(behind or ("words",)),
        suffix=suffix,
        secret=load_secret(secret),
        budget=AttackBudget(most_target_calls=most_calls, most_tokens=most_tokens),
    )
    with Drawn() as drawn, GenerationCache(settings.cache_dir() / "replies.sqlite") as cache:
        drawn.start("load the models")
        base_model, tuned_model = load_hunted(base, model)
        done = attack_models(plan, base_model, tuned_model, cache=cache, progress=drawn)
    show(done.conversations)
    bad = ("reached", "unscored")
    answered = [one for one in done.conversations if one.arm == "tuned" and one.end in bad]
    typer.echo(f"{len(answered)} of {len(done.conversations)} {output / CONVERSATIONS_FILE}")
    raise typer.Exit(NO if answered else YES)


def show(conversations: Sequence[Conversation]) -> None:
    """Draw one line for each attacker and target on stderr."""
    from recert.cli.printing import table

    columns = ("attacker", "target", "items", "reached", "mean of the most harm", "turns", "other ends")
    table("conversations", columns, _lines(conversations))


def _lines(conversations: Sequence[Conversation]) -> Iterator[tuple[str, ...]]:
    from collections import Counter

    from recert.records import ConversationEnd

    groups: dict[tuple[str, str], list[Conversation]] = {}
    for one in conversations:
        target = " behind ".join([one.arm, ", ".join(one.safeguards)] if one.safeguards else [one.arm])
        groups.setdefault((one.attacker, target), []).append(one)
    for (attacker, target), some in groups.items():
        most = [one.most for one in some if one.most is not None]
        ends = Counter(str(one.end) for one in some if one.end is not ConversationEnd.REACHED)
        yield (
            attacker,
            target,
            str(len(some)),
            str(sum(one.end is ConversationEnd.REACHED for one in some)),
            f"{sum(most) / len(most):.2f}" if most else "-",
            str(sum(len(one.turns) for one in some)),
            ", ".join(f"{count} {end}" for end, count in sorted(ends.items())) or "-",
        )
