"""Policy: every number that decides anything."""

from recert.policy.exceptions import ExceptionPolicy
from recert.policy.grader_audit import GraderAuditPolicy
from recert.policy.moderation import ModerationChecks, moderation_checks
from recert.policy.policy import (
    CertificationPolicy,
    ConversationPolicy,
    EvaluationPolicy,
    GatewayPolicy,
    HuntPolicy,
    MonitoringPolicy,
    Policy,
    RoleRule,
    Rule,
    ScreeningPolicy,
    load_policy,
)
from recert.policy.sets import missing_sets
from recert.policy.stress import StressGrid, StressPolicy, StressSetting
from recert.policy.thresholds import HarmLevels, Threshold
from recert.policy.trigger_probe import TriggerProbePolicy

__all__ = [
    "CertificationPolicy",
    "ConversationPolicy",
    "EvaluationPolicy",
    "ExceptionPolicy",
    "GatewayPolicy",
    "GraderAuditPolicy",
    "HarmLevels",
    "HuntPolicy",
    "ModerationChecks",
    "MonitoringPolicy",
    "Policy",
    "RoleRule",
    "Rule",
    "ScreeningPolicy",
    "StressGrid",
    "StressPolicy",
    "StressSetting",
    "Threshold",
    "TriggerProbePolicy",
    "load_policy",
    "missing_sets",
    "moderation_checks",
]
