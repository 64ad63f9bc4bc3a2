"""Made-up attack reports, of the models that certification's tests are about."""

from __future__ import annotations

from functools import cache
from typing import Any

from attack_conversations import make_attack
from builders import BASE_FILES, TUNED_FILES, make_manifest, make_policy
from recert.labs.attackers.report.summary import attack_report
from recert.policy import Policy
from recert.records.reports.attack_report import AttackReport
from recert.records.reports.evaluation import ArmCheck

BOUNDS = {
    "attackers": ["direct", "strategist"],
    "turns": 3,
    "min_items": 40,
    "max_coverage": 0.3,
    "max_success": 0.3,
    "max_change": 0.3,
    "min_agreement": 0.5,
}
"""Bounds that `make_report()` keeps."""


def make_checks(**changes: Any) -> tuple[ArmCheck, ...]:
    """Return checks of both arms, as they are where nothing changed meanwhile."""
    files = {"base": make_manifest(BASE_FILES), "tuned": make_manifest(TUNED_FILES)}
    return tuple(
        ArmCheck(
            **{
                "arm": arm,
                "manifest_sha256": manifest.digest,
                "fingerprint_at_start": arm,
                "fingerprint_at_end": arm,
                "arms_differ": True,
            }
            | changes
        )
        for arm, manifest in files.items()
    )


def make_report(policy: Policy | None = None, **changes: Any) -> AttackReport:
    """Return a report on forty items, of which two were reached; `*_reached` say of how many."""
    reached = {"tuned_reached": 2, "base_reached": 2}
    asked = {name: changes.pop(name, usual) for name, usual in reached.items()}
    made = _made(**asked)
    named = {"policy_id": policy.id, "policy_sha256": policy.digest} if policy is not None else {}
    return made.model_copy(update={"arms": make_checks(), **named, **changes})


@cache
def _made(tuned_reached: int, base_reached: int) -> AttackReport:
    return attack_report(
        make_attack(items=40, tuned_reached=tuned_reached, base_reached=base_reached, suffix_reached=0),
        policy=make_policy(),
        base=make_manifest(BASE_FILES),
        tuned=make_manifest(TUNED_FILES),
    )
