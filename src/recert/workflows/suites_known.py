"""What is known of suites of prompts before a policy is held against certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recert.policy.changes.comparing import KnownSuites
from recert.records.data.suite import Suite


def cut_short(prompts: Mapping[str, Suite]) -> list[str]:
    """Return the suites whose replies are never read in full."""
    return [
        name
        for name, suite in prompts.items()
        if not any(p.answer is not None or p.forbidden or p.choices for p in suite.prompts)
    ]


def known_suites(prompts: Mapping[str, Suite], new: Sequence[str] = ()) -> KnownSuites:
    """
    Return digests and sizes of suites.

    Args:
        prompts: the suites by name.
        new: those of them that have another version now.
    """
    return KnownSuites(
        digests={name: suite.digest for name, suite in prompts.items()},
        sizes={name: len(suite.prompts) for name, suite in prompts.items()},
        new=new,
    )
