"""What became known since: a new attack family or a new version of a suite, as a change of what is measured."""

from __future__ import annotations

from collections.abc import Collection

from recert.errors import PolicyError
from recert.policy.changes.reuse import Measuring
from recert.policy.policy import Policy


def with_family(policy: Policy, family: str) -> Measuring:
    """
    Return a policy beside itself with one more attack family.

    Raises:
        PolicyError: it has the family already, or no rule would be measured under it.
    """
    if family in policy.evaluation.families:
        raise PolicyError(
            "the policy asks for this family already",
            facts={"policy": policy.id, "family": family},
            hint="certificates under it were measured with it; `recert policy diff` compares with an earlier policy",
        )
    after = policy.model_copy(update={"evaluation": policy.evaluation.with_families([family])})
    if not any(rule.covers(f"family:{family}") for rule in policy.rules):
        raise PolicyError(
            "no rule of the policy is measured under this family",
            facts={"policy": policy.id, "family": family},
            hint='give a rule the condition "family:*"',
        )
    return Measuring(policy, after)


def with_suite(policy: Policy, suite: str, cut_short: Collection[str] = ()) -> Measuring:
    """
    Return a policy beside itself, with other prompts in one suite.

    Args:
        policy: the policy.
        suite: the suite's name.
        cut_short: as in `Measuring`.

    Raises:
        PolicyError: no rule names the suite.
    """
    if not any(rule.suite == suite for rule in policy.rules):
        raise PolicyError(
            "no rule of the policy asks this suite",
            facts={
                "policy": policy.id,
                "suite": suite,
                "asked": ", ".join(sorted({r.suite for r in policy.rules})),
            },
            hint="write a rule for it and compare both policies with `recert policy diff`",
        )
    return Measuring(policy, policy, changed_suites=(suite,), cut_short=cut_short)
