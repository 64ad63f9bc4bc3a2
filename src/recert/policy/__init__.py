"""Policy: every number that decides anything."""

from recert.policy.deployments import DeploymentBounds, for_deployment
from recert.policy.evidence_reuse import comparison_policy
from recert.policy.families import (
    ALREADY,
    FAMILY,
    already_failing,
    already_words,
    can_fail_already,
    stated,
    unstated,
)
from recert.policy.loading import load_deployments, load_policy, profiles, shipped_policy, split_deployment
from recert.policy.moderation import ModerationChecks, moderation_checks
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
from recert.policy.sections.attack import AttackPolicy
from recert.policy.sections.attempts import alpha_share, share_under
from recert.policy.sections.carry_over import CarryOverPolicy
from recert.policy.sections.document import DEPLOYMENTS, Change, Contact, DeploymentName, Retention
from recert.policy.sections.exceptions import ExceptionPolicy
from recert.policy.sections.gateway_audio import GatewayAudioPolicy
from recert.policy.sections.grader_audit import GraderAuditPolicy
from recert.policy.sections.hunt import HuntPolicy
from recert.policy.sections.monitoring import MonitoringPolicy
from recert.policy.sections.pins import suites_not_pinned
from recert.policy.sections.reasoning import ReasoningPolicy, ThinkingMode, TraceVisibility
from recert.policy.sections.retries import decided_afresh
from recert.policy.sections.sets import missing_sets, missing_under
from recert.policy.sections.speech import SPEECH, Modality, SpeechPolicy, modality_of
from recert.policy.sections.stress import StressGrid, StressPolicy, StressSetting
from recert.policy.sections.trigger_probe import TriggerProbePolicy
from recert.policy.thresholds import HarmLevels, Threshold

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
    "decided_afresh",
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
