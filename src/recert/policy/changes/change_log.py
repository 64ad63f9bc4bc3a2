"""A policy's change log: whether it ends at the present version, and whether a change went in without one."""

from __future__ import annotations

from collections.abc import Mapping

from recert.policy.policy import Policy
from recert.policy.sections.document import DeploymentName


def why_log_is_wrong(policy: Policy) -> str:
    """Return why a change log does not fit its policy, or an empty text; to have none is not wrong."""
    if not policy.changes:
        return ""
    versions = [change.version for change in policy.changes]
    if len(set(versions)) != len(versions):
        return "the change log names a version twice"
    if [c.date for c in policy.changes] != sorted(c.date for c in policy.changes):
        return "the change log is not in the order of its dates"
    if versions[-1] != policy.version:
        return f"the change log ends at version {versions[-1]}, the policy is version {policy.version}"
    return ""


def why_no_successor(
    previous: Mapping[DeploymentName, Policy], present: Mapping[DeploymentName, Policy]
) -> str:
    """
    Return why a policy cannot follow an earlier one, or an empty text.

    Any change needs a version of its own, and the log of the earlier one stays as it was, at its beginning.

    Args:
        previous: the earlier one as it holds for each deployment that its file is written for.
        present: likewise.
    """
    old, new = next(iter(previous.values())), next(iter(present.values()))
    if {name: one.digest for name, one in previous.items()} == {n: one.digest for n, one in present.items()}:
        return ""
    if old.id == new.id and old.version == new.version:
        return f"its content is not that of version {new.version}, and its version is the same"
    if new.changes[: len(old.changes)] != old.changes:
        return "its change log does not begin with that of the earlier one"
    if new.version in {change.version for change in old.changes}:
        return f"version {new.version} was there before"
    return ""
