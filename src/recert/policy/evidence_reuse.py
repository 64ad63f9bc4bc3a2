"""The policy by which a child is compared with its parent: the same rules, with the bounds for carrying over."""

from __future__ import annotations

from recert.errors import PolicyError
from recert.policy.policy import Policy


def comparison_policy(policy: Policy) -> Policy:
    """
    Return the policy by which a merge or a quantisation is compared with the certified model that it was made of.

    It has the rules on suites that may be carried over, each with the margin between both, and no bound on either
    alone: those were for the base. It is the same for everybody who computes it, so a report under it can be told.

    Raises:
        PolicyError: the policy lets nothing be carried over, or has no rule on a suite that it names.
    """
    section = policy.certification.carry_over
    if section is None:
        raise PolicyError(
            "the policy lets no evidence be carried over",
            facts={"policy": f"{policy.id} {policy.version}"},
            hint="evaluate without --parent, or use a policy with a section [certification.carry_over]",
        )
    rules = tuple(
        rule.model_copy(update={"margin": section.margin, "max_tuned": None, "max_base": None})
        for rule in policy.rules
        if rule.suite in section.suites
    )
    if not rules:
        raise PolicyError(
            "no rule is on a suite whose results may be carried over",
            facts={"suites": ", ".join(section.suites)},
        )
    bounds = policy.evaluation.model_copy(
        update={
            "alpha": section.alpha,
            "min_prompts": section.min_prompts,
            "max_prompts": section.max_prompts,
            "min_harmful_suites": 0,
            "contrast_suites": (),
        }
    )
    return policy.model_copy(
        update={
            "rules": rules,
            "evaluation": bounds,
            "hunt": policy.hunt.model_copy(update={"required": False}),
        }
    )
