"""Which suites a retry decides on prompts that no earlier attempt asked."""

from __future__ import annotations

from typing import Final

from recert.policy.policy import Policy

_OF_THE_TASK: Final = "utility_loss"


def decided_afresh(policy: Policy) -> frozenset[str]:
    """
    Return the suites of which a later attempt than the first asks only prompts that no earlier one of its line asked.

    Those of every rule, where the policy counts attempts. Utility alone is measured on the same prompts again: they are
    of the user's task, and often held out of its own rows.
    """
    if policy.evaluation.attempts != "counted":
        return frozenset()
    return frozenset(rule.suite for rule in policy.rules if rule.estimand != _OF_THE_TASK)
