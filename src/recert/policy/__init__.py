"""Policy: every number that decides anything."""

from recert.policy.moderation import ModerationChecks, moderation_checks
from recert.policy.policy import (
    CertificationPolicy,
    EvaluationPolicy,
    GatewayPolicy,
    MonitoringPolicy,
    Policy,
    RoleRule,
    Rule,
    ScreeningPolicy,
    load_policy,
)
from recert.policy.sets import missing_sets

__all__ = [
    "CertificationPolicy",
    "EvaluationPolicy",
    "GatewayPolicy",
    "ModerationChecks",
    "MonitoringPolicy",
    "Policy",
    "RoleRule",
    "Rule",
    "ScreeningPolicy",
    "load_policy",
    "missing_sets",
    "moderation_checks",
]
