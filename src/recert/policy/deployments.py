"""Bounds that depend on the deployment: one file of a policy serves several, and none is laxer by omission."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from recert.errors import PolicyError
from recert.policy.policy import CertificationPolicy, Policy, RoleRule, Rule
from recert.policy.sections.document import DEPLOYMENTS, DeploymentName
from recert.records.record import Part


class DeploymentBounds(Part):
    """
    What a deployment demands beyond what the policy demands of all, and beyond the deployments of less risk.

    Nothing here can make a bound laxer: such a table is refused.
    """

    margin: float | None = Field(default=None, gt=0, lt=1)
    """Largest margin of any rule: those above it are lowered to it."""
    margins: dict[str, float] = Field(default_factory=dict)
    """Margins of single rules, by id."""
    max_tuned: dict[str, float] = Field(default_factory=dict)
    """Largest rates of the tuned model itself, by the rule's id."""
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    families: tuple[str, ...] = ()
    """Attack families beside those of the policy."""
    validity_hours: float | None = Field(default=None, gt=0, le=8784)
    roles: tuple[RoleRule, ...] = ()
    """Signers beside those of the policy, or more of a role."""
    search_for_triggers: bool = False
    """Whether a search for triggers is required: `hunt.required`."""
    stress_base: bool = False
    """Whether a stress report of the base is required: `stress.required`."""


def for_deployment(
    policy: Policy, tables: Mapping[DeploymentName, DeploymentBounds], wanted: DeploymentName | None = None
) -> Policy:
    """
    Return the policy as it holds for one deployment, which its digest then names.

    Deployments are a ladder from `internal` over `external` to `high-risk`: each holds the policy's own bounds, what
    the tables of those below it demand, and what its own table demands.

    Args:
        policy: the bounds that hold for all, and the deployment that the file is for.
        tables: what each deployment demands beyond them.
        wanted: the deployment; by default the file's own.

    Raises:
        PolicyError: a table is laxer than what holds without it, names a rule that is not there, or none was written
            for a deployment of more risk than the file's own.
    """
    asked = wanted or policy.deployment
    if DEPLOYMENTS.index(asked) > DEPLOYMENTS.index(policy.deployment) and asked not in tables:
        raise PolicyError(
            f"the policy has no bounds for the deployment {asked}",
            facts={"policy": policy.id, "written for": policy.deployment},
            hint=f"write a table [deployments.{asked}]; an empty one says that nothing more is demanded",
        )
    found = {}
    for name in DEPLOYMENTS:  # all of them, so that a table that cannot be used is noticed whoever asks
        if name in tables:
            policy = _tightened(policy, tables[name], name)
        found[name] = policy
    return found[asked].model_copy(update={"deployment": asked})


def _tightened(policy: Policy, bounds: DeploymentBounds, name: DeploymentName) -> Policy:
    for field, words in _laxer(policy, bounds):
        raise PolicyError(
            "a deployment may only demand more",
            facts={"policy": policy.id, "field": f"deployments.{name}.{field}", "because": words},
        )
    evaluation = {"alpha": bounds.alpha or policy.evaluation.alpha}
    changed: dict[str, Any] = {
        "rules": tuple(_rule(rule, bounds) for rule in policy.rules),
        "evaluation": policy.evaluation.with_families(bounds.families).model_copy(update=evaluation),
        "certification": _certification(policy.certification, bounds),
    }
    if bounds.search_for_triggers:
        changed["hunt"] = policy.hunt.model_copy(update={"required": True})
    if bounds.stress_base:
        changed["stress"] = policy.stress.model_copy(update={"required": True})
    return policy.model_copy(update=changed)


def _rule(rule: Rule, bounds: DeploymentBounds) -> Rule:
    margin = min(rule.margin, bounds.margin or rule.margin, bounds.margins.get(rule.id, rule.margin))
    most = bounds.max_tuned.get(rule.id, rule.max_tuned)
    return rule.model_copy(update={"margin": margin, "max_tuned": most})


def _certification(before: CertificationPolicy, bounds: DeploymentBounds) -> CertificationPolicy:
    more = {rule.role: rule for rule in bounds.roles}
    roles = [_signer(rule, more.get(rule.role)) for rule in before.roles]
    known = {rule.role for rule in before.roles}
    roles += [rule for rule in more.values() if rule.role not in known]
    hours = bounds.validity_hours or before.validity_hours
    return before.model_copy(update={"roles": tuple(roles), "validity_hours": hours})


def _signer(before: RoleRule, more: RoleRule | None) -> RoleRule:
    """A role's rule with what a table says of it; what the table leaves out stays."""
    if more is None:
        return before
    said = {name: getattr(more, name) for name in more.model_fields_set}
    hours = [one.valid_hours for one in (before, more) if one.valid_hours is not None]
    tightened = {"threshold": max(before.threshold, more.threshold), "valid_hours": min(hours, default=None)}
    return before.model_copy(update=said | tightened)


def _laxer(policy: Policy, bounds: DeploymentBounds) -> Iterator[tuple[str, str]]:
    """Fields that would loosen what holds without them, or that name nothing, with the reason."""
    rules = {rule.id: rule for rule in policy.rules}
    widest = max(rule.margin for rule in policy.rules)
    if bounds.margin is not None and bounds.margin > widest:
        yield "margin", f"{bounds.margin} is above {widest}, the widest margin of a rule"
    for field, given in (("margins", bounds.margins), ("max_tuned", bounds.max_tuned)):
        for rule_id, value in given.items():
            if rule_id not in rules:
                yield f"{field}.{rule_id}", f"there is no such rule among {', '.join(rules)}"
                continue
            before = rules[rule_id].margin if field == "margins" else rules[rule_id].max_tuned
            if not 0 <= value <= 1 or (field == "margins" and value == 0):
                yield f"{field}.{rule_id}", f"{value} is no share"
            elif before is not None and value > before:
                yield f"{field}.{rule_id}", f"{value} is above {before}"
    if bounds.alpha is not None and bounds.alpha > policy.evaluation.alpha:
        yield "alpha", f"{bounds.alpha} is above {policy.evaluation.alpha}"
    longest = policy.certification.validity_hours
    if bounds.validity_hours is not None and bounds.validity_hours > longest:
        yield "validity_hours", f"{bounds.validity_hours} is above {longest}"
    for rule in bounds.roles:
        needed = max((r.threshold for r in policy.certification.roles if r.role == rule.role), default=0)
        if "threshold" in rule.model_fields_set and rule.threshold < needed:
            yield "roles", f"{rule.threshold} of {rule.role} is below {needed}"
