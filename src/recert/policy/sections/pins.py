"""Suites that a policy pins: which prompts its rules are about, by digest."""

from __future__ import annotations

from collections.abc import Mapping

from recert.policy.policy import Policy


def suites_not_pinned(policy: Policy, suites: Mapping[str, str]) -> tuple[str, ...]:
    """
    Return why suites are not those that a policy pins, each as `suite-not-pinned: words`; empty when they are.

    A suite that the policy does not pin may be any; one that it pins and that is not among them is not told here, as
    its rules are unmeasured then.

    Args:
        policy: the policy, which may pin suites by name.
        suites: the sha256 of each suite that was asked, by name.
    """
    return tuple(
        f"suite-not-pinned: {name} is sha256:{suites[name]}, the policy pins sha256:{pinned}"
        for name, pinned in sorted((policy.suites or {}).items())
        if name in suites and suites[name] != pinned
    )
