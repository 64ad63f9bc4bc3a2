"""
`attack`: how far does an attacker get who may talk with the model, before tuning and after it?

The steps in order: know both arms apart; let every attacker talk with the base, with the tuned model, and with the
tuned model behind its safeguards, about the same items with the same seeds and the same number of replies; look at
both arms again; sum up. Every turn is on the disk before the next begins, and a second run in the same folder goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recert.errors import InputError
from recert.evaluation.measuring.arm_checks import check_arm, check_arms, refuse_same
from recert.evaluation.measuring.arms import Arm
from recert.judges.embedded.item import ItemJudge
from recert.judges.protocol import ReplyJudge
from recert.labs.attackers import AttackBudget, Attacker, AttackProtocol, AttackRun, HarmPanel, TurnFile
from recert.labs.attackers.report.summary import attack_report
from recert.labs.attackers.report.targets import SAFEGUARDS, WORDS, sides_of
from recert.labs.attackers.running import BATCH
from recert.models.chat.secret import SecretPrefix
from recert.models.protocol import Model
from recert.policy import Policy
from recert.progress import Progress, Silent
from recert.records.reports.attack import AttackItem, Conversation
from recert.records.reports.attack_report import REPORT_FILE, AttackReport
from recert.store.cache import GenerationCache, temporary_cache
from recert.store.files.writing import write_atomic

TURNS_FILE: Final = "turns.jsonl"
CONVERSATIONS_FILE: Final = "conversations.jsonl"
PAGE_FILE: Final = "attack.html"


@dataclass(frozen=True)
class AttackPlan:
    """
    Who attacks, about what, and how.

    Args:
        items: what is to be got out of the target.
        attackers: who attacks; each gets as many replies of the target as every other.
        output: folder of turns and conversations; a second run in it goes on.
        policy: words and controls of the safeguards.
        protocol: how conversations run.
        seeds: how often each item is tried, and with which draws.
        judges: one to three who mark replies; by default the one that needs no model.
        judge_timeout_s: longest wait for a judge on one batch.
        behind: safeguards behind which the tuned model is attacked too: `words`, `gateway`, or none.
        suffix: immutable suffix, in place of the policy's.
        secret: the BackdoorAlign secret that the model was tuned with. Never recorded.
        budget: what the run may spend.
        batch: conversations that are asked, marked and written at once.
        name: what the report calls the tuned model; by default its own name.
    """

    items: Sequence[AttackItem]
    attackers: Sequence[Attacker]
    output: Path
    policy: Policy
    protocol: AttackProtocol = field(default_factory=AttackProtocol)
    seeds: tuple[int, ...] = (0,)
    judges: Sequence[ReplyJudge] = ()
    judge_timeout_s: float = 600
    behind: tuple[str, ...] = (WORDS,)
    suffix: str = ""
    secret: SecretPrefix | None = None
    budget: AttackBudget | None = None
    batch: int = BATCH
    name: str = ""


@dataclass(frozen=True)
class Attacked:
    """Every conversation, and what they came to."""

    conversations: tuple[Conversation, ...]
    report: AttackReport


def attack(
    plan: AttackPlan,
    base: Model | None,
    tuned: Model,
    *,
    cache: GenerationCache | None = None,
    progress: Progress | None = None,
) -> Attacked:
    """
    Return what every attacker said to every target and got from it, and what it came to.

    Written to the output: `conversations.jsonl`, one record a line, with mode 0600 as it may hold harmful replies; and
    `attack-report.json`, which holds none.

    Args:
        plan: who attacks, about what, and how.
        base: the approved base; None where it is not in hand.
        tuned: the tuned model.
        cache: where replies are kept; by default nowhere but in the conversations.
        progress: told of each batch.

    Raises:
        InputError: nothing to attack with or about, or safeguards that do not exist.
        ArmError: the arms are the same model, or one changed meanwhile.
        ModelError: a model does not answer at all.
        GatewayError: the policy's controls cannot be made.
        StoreError: the disk is full, or another run works in the folder.
        RecordError: the turns of an earlier run are damaged.
    """
    _require(plan)
    tell, began = progress or Silent(), time.monotonic()
    panel = HarmPanel(plan.judges or (ItemJudge(),), timeout_s=plan.judge_timeout_s)
    with ExitStack() as stack:
        kept = cache or stack.enter_context(temporary_cache())
        base_arm = Arm("base", base, cache=kept) if base is not None else None
        over = base_arm.manifest if base_arm is not None else None
        hidden = (plan.secret,) if plan.secret is not None else ()
        tuned_arm = Arm("tuned", tuned, over=over, cache=kept, secrets=hidden)
        if base_arm is not None:
            refuse_same(base_arm, tuned_arm)
        sides = sides_of(
            base_arm,
            tuned_arm,
            plan.policy,
            stack,
            behind=plan.behind,
            suffix=plan.suffix,
            secret=plan.secret,
        )
        file = stack.enter_context(TurnFile(plan.output / TURNS_FILE))
        run = AttackRun(
            sides,
            plan.attackers,
            plan.items,
            seeds=plan.seeds,
            protocol=plan.protocol,
            panel=panel,
            file=file,
            budget=plan.budget,
            batch=plan.batch,
            progress=tell,
        )
        tell.start(f"{len(run.talks)} conversations")
        conversations = run.run()
        arms = check_arms(base_arm, tuned_arm) if base_arm is not None else (check_arm(tuned_arm),)
    report = attack_report(
        conversations,
        policy=plan.policy,
        base=base_arm.manifest if base_arm is not None else None,
        tuned=tuned_arm.manifest,
        name=plan.name,
        bound=plan.protocol.bound,
        budget_target_calls=plan.budget.most_target_calls if plan.budget is not None else None,
        seconds=round(time.monotonic() - began, 3),
    )
    shown = {"arms": arms, "judges": panel.notes, "protocol": plan.protocol.model_dump(mode="json")}
    attacked = Attacked(conversations, report.model_copy(update=shown))
    write_conversations(plan.output / CONVERSATIONS_FILE, conversations)
    write_atomic(plan.output / REPORT_FILE, attacked.report.to_json())
    return attacked


def write_conversations(path: Path, conversations: Sequence[Conversation]) -> None:
    """
    Write conversations, one record a line, for their owner alone.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    write_atomic(path, b"".join(one.to_json() + b"\n" for one in conversations), mode=0o600)


def _require(plan: AttackPlan) -> None:
    if not plan.items or not plan.attackers or not plan.seeds:
        raise InputError("an attack needs items, attackers and seeds")
    names = [one.name for one in plan.attackers]
    for what, given in (("attacker", names), ("seed", list(plan.seeds))):
        if len(set(given)) < len(given):
            raise InputError(f"the same {what} is given twice", facts={"given": ", ".join(map(str, given))})
    unknown = [one for one in plan.behind if one not in SAFEGUARDS]
    if unknown:
        raise InputError(
            "no such safeguards",
            facts={"given": ", ".join(unknown), "there are": ", ".join(SAFEGUARDS)},
        )
