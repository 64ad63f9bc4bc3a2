"""Policy: every number that decides anything."""

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

__all__ = [
    "CertificationPolicy",
    "EvaluationPolicy",
    "GatewayPolicy",
    "MonitoringPolicy",
    "Policy",
    "RoleRule",
    "Rule",
    "ScreeningPolicy",
    "load_policy",
]
