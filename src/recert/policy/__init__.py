"""Policy: every number that decides anything."""

from recert.policy.attack import AttackPolicy
from recert.policy.attempts import alpha_share, share_under
from recert.policy.carry_over import CarryOverPolicy
from recert.policy.carrying import comparison_policy
from recert.policy.deployments import DeploymentBounds, for_deployment
from recert.policy.document import DEPLOYMENTS, Change, Contact, DeploymentName, Retention
from recert.policy.exceptions import ExceptionPolicy
from recert.policy.families import (
    ALREADY,
    FAMILY,
    already_failing,
    already_words,
    can_fail_already,
    stated,
    unstated,
)
from recert.policy.gateway_audio import GatewayAudioPolicy
from recert.policy.grader_audit import GraderAuditPolicy
from recert.policy.hunt import HuntPolicy
from recert.policy.loading import (
    load_deployments,
    load_policy,
    profiles,
    shipped_policy,
    split_deployment,
)
from recert.policy.moderation import ModerationChecks, moderation_checks
from recert.policy.monitoring import MonitoringPolicy
from recert.policy.pins import suites_not_pinned
from recert.policy.policy import (
    CertificationPolicy,
    ConversationPolicy,
    EvaluationPolicy,
    GatewayPolicy,
    Policy,
    RoleRule,
    Rule,
    ScreeningPolicy,
)
from recert.policy.reasoning import ReasoningPolicy, ThinkingMode, TraceVisibility
from recert.policy.sets import missing_sets, missing_under
from recert.policy.speech import SPEECH, Modality, SpeechPolicy, modality_of
from recert.policy.stress import StressGrid, StressPolicy, StressSetting
from recert.policy.thresholds import HarmLevels, Threshold
from recert.policy.trigger_probe import TriggerProbePolicy

__all__ = [
    "ALREADY",
    "DEPLOYMENTS",
    "FAMILY",
    "SPEECH",
    "AttackPolicy",
    "CarryOverPolicy",
    "CertificationPolicy",
    "Change",
    "Contact",
    "ConversationPolicy",
    "DeploymentBounds",
    "DeploymentName",
    "EvaluationPolicy",
    "ExceptionPolicy",
    "GatewayAudioPolicy",
    "GatewayPolicy",
    "GraderAuditPolicy",
    "HarmLevels",
    "HuntPolicy",
    "Modality",
    "ModerationChecks",
    "MonitoringPolicy",
    "Policy",
    "ReasoningPolicy",
    "Retention",
    "RoleRule",
    "Rule",
    "ScreeningPolicy",
    "SpeechPolicy",
    "StressGrid",
    "StressPolicy",
    "StressSetting",
    "ThinkingMode",
    "Threshold",
    "TraceVisibility",
    "TriggerProbePolicy",
    "alpha_share",
    "already_failing",
    "already_words",
    "can_fail_already",
    "comparison_policy",
    "for_deployment",
    "load_deployments",
    "load_policy",
    "missing_sets",
    "missing_under",
    "modality_of",
    "moderation_checks",
    "profiles",
    "share_under",
    "shipped_policy",
    "split_deployment",
    "stated",
    "suites_not_pinned",
    "unstated",
]
