"""What follows from another policy beside evaluating: in words, for whoever has to do it."""

from __future__ import annotations

from collections.abc import Iterator

from recert.policy.changes.reuse import Measuring
from recert.policy.policy import Policy
from recert.records.signed.policy_diff import FieldChange


def consequences(measuring: Measuring, changes: tuple[FieldChange, ...]) -> tuple[str, ...]:
    """
    Return what must be done beside evaluating, and what a bound on the prompts does not count.

    Args:
        measuring: both policies.
        changes: what differs between them.
    """
    return tuple(_said(measuring, {change.path.partition(".")[0] for change in changes}))


def _said(measuring: Measuring, sections: set[str]) -> Iterator[str]:
    before, after = measuring.before, measuring.after
    if before.digest != after.digest:
        yield (
            "certificates name the policy by its digest: each is decided, certified and signed again, whatever of it "
            "still counts"
        )
    if measuring.before.digest != after.digest or measuring.changed_suites:
        yield (
            "replies count where the cache of the machine that evaluated is at hand (RECERT_CACHE); elsewhere "
            "everything is asked"
        )
    if measuring.looks_elsewhere:
        yield (
            f"rules may be looked at after other numbers of prompts: each may ask up to "
            f"{after.evaluation.round_prompts} more than is counted here"
        )
    if any("ask" in (one.reuse, one.reuse_behind_controls) for one in measuring.reuse()):
        yield (
            f"controls that gate nothing, such as a wrong secret, ask up to {after.evaluation.min_prompts} prompts "
            "each beside what is counted here"
        )
    if "screening" in sections:
        yield "rows are screened again; where others are accepted, what was tuned on them is another model"
    if after.hunt.required and (not before.hunt.required or "hunt" in sections):
        yield "triggers are searched again; readings that are kept are not made again"
    if after.stress.required and before.digest != after.digest:
        yield "every base is stressed again: a stress report counts under its own policy only"
    if after.attack is not None and before.attack != after.attack:
        yield "what attackers came to is decided again; where a report holds less than is asked for, they try again"
    if "gateway" in sections:
        yield "gateways are started again with the new policy and certificates made under it"
    if "grader_audit" in sections:
        yield "graders are audited again"
    yield from _signers(before, after)


def _signers(before: Policy, after: Policy) -> Iterator[str]:
    old, new = (
        {rule.role: rule.threshold for rule in policy.certification.roles} for policy in (before, after)
    )
    for role, threshold in new.items():
        if threshold > old.get(role, 0):
            yield f"{threshold} with the role {role} must sign, where {old.get(role, 0)} did"
