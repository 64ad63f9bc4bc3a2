"""Whether what a certificate carries over from its parent's counts: step 6.10 of `spec/verification.md`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recert.errors import VerificationError
from recert.policy import Policy
from recert.records.reports.evaluation import RuleResult, where_applies
from recert.records.signed.carried import CarriedEvidence
from recert.records.signed.certificate import Certificate

_ROUNDED: Final = 1e-9


def why_not_carried(certificate: Certificate, policy: Policy | None) -> str:
    """Return why results that a certificate carries over do not count, in words, or an empty text: step 6.10."""
    marked = [r for r in certificate.results if r.carried_from is not None]
    evidence = certificate.carried
    if evidence is None:
        return "a result is carried over, and nothing says from where" if marked else ""
    section = policy.certification.carry_over if policy is not None else None
    if policy is None or section is None:
        return "whether evidence may be carried over is not known, or the policy does not let it"
    checks = (
        (not marked, "it says that evidence is carried over, and no result is"),
        (evidence.transform not in section.transforms, f"the policy does not allow {evidence.transform}"),
        (not evidence.reason.strip(), "there is no reason for it"),
        (evidence.distance > section.max_distance, f"parent and child are {evidence.distance:.3f} apart"),
        (evidence.probes < section.min_probes, f"their distance is of {evidence.probes} probes only"),
        (certificate.expires_at > evidence.parent_expires_at, "it would outlive the parent's certificate"),
        (bool(certificate.required_controls), "its verdict holds behind controls only"),
        (
            evidence.parent_tuned_sha256 == certificate.tuned.digest,
            "the parent is the very same files",
        ),
    )
    margins = {rule.id: rule.margin for rule in policy.rules}
    whys = (
        _why_not_one(r, evidence, margins, section.margin, section.suites, section.min_prompts)
        for r in marked
    )
    return next((words for failed, words in checks if failed), "") or next(filter(None, whys), "")


def require_carried(certificate: Certificate, policy: Policy | str | None) -> None:
    """
    Return when what is carried over counts, or nothing is: step 6.10 of `spec/verification.md`.

    Raises:
        VerificationError: `carry-over`.
    """
    because = why_not_carried(certificate, policy if isinstance(policy, Policy) else None)
    if because:
        raise VerificationError(
            "carry-over",
            "results are carried over from another certificate, and do not count",
            facts={"because": because},
            hint="give the whole policy; or evaluate all of it again, and certify",
        )


def _why_not_one(
    result: RuleResult,
    evidence: CarriedEvidence,
    margins: dict[str, float],
    margin: float,
    suites: Sequence[str],
    least: int,
) -> str:
    """Why one result that is carried over does not count."""
    where = where_applies(result)
    shown = [
        c
        for c in evidence.compared
        if (c.rule_id, c.condition, c.category) == (result.rule_id, result.condition, result.category)
    ]
    whole = margins.get(result.rule_id, 0.0) + margin + _ROUNDED
    checks = (
        (result.carried_from != evidence.parent_serial, f"{where} is carried over from somewhere else"),
        (result.suite not in suites, f"the policy does not let results on {result.suite} be carried over"),
        (len(shown) != 1, f"{where} was not compared with the parent"),
        (
            any(c.change.high > margin or c.margin > margin or c.change.n < least for c in shown),
            f"{where} is not shown to be like the parent",
        ),
        (result.margin > whole or result.change.high > whole, f"{where} is beyond both margins"),
    )
    return next((words for failed, words in checks if failed), "")
