"""A base that is itself certified: the tuned certificate names its base's, and ends with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recert.certification.verifier.decision import deciding_results
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.reports.evaluation import RuleResult, where_applies
from recert.records.signed.certificate import BaseCertificate, Certificate, RootChange, RuleException

_WORST: Final = 1.0
"""The worst change there can be: what is not shown of a base counts so."""
_DIGITS: Final = 9
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class CertifiedBase:
    """A base's certificate that holds, and the reference by which certificates of its tunes name it."""

    certificate: Certificate
    reference: BaseCertificate


def from_root(results: Sequence[RuleResult], base: Certificate | None) -> tuple[RootChange, ...] | None:
    """
    Return how much worse than the first base of a chain a model can be, for each result; None where its base has none.

    The upper ends of the changes are added up, those of the base's certificate to these. What that certificate does not
    say counts as the worst change there can be.

    Args:
        results: those that decide.
        base: the base's certificate.
    """
    if base is None:
        return None
    return tuple(_added(result, base) for result in results)


def _added(result: RuleResult, base: Certificate) -> RootChange:
    about, guarded = (result.rule_id, result.condition, result.category), bool(result.safeguards)
    chained = base.base_certificate is not None or base.from_root is not None
    before, links = _WORST, max((one.links for one in base.from_root or ()), default=1 + chained)
    if chained:
        sums = [
            one.high
            for one in base.from_root or ()
            if (one.rule_id, one.condition, one.category) == about and guarded == bool(base.required_controls)
        ]
        before = max(sums, default=_WORST)
    else:
        highs = [
            one.change.high
            for one in base.results
            if (one.rule_id, one.condition, one.category) == about and guarded == bool(one.safeguards)
        ]
        before = max(highs, default=_WORST)
    return RootChange(
        rule_id=result.rule_id,
        condition=result.condition,
        category=result.category,
        high=round(before + result.change.high, _DIGITS),
        links=links + 1,
    )


def why_beyond_root(
    changes: Sequence[RootChange] | None,
    policy: Policy | None,
    *,
    exceptions: Sequence[RuleException] = (),
) -> list[str]:
    """
    Return why a chain of tunes lost more than a policy allows them together, as `code: words`.

    Args:
        changes: as `from_root` gives them.
        policy: whole; without it nothing can be said.
        exceptions: those that count. What one of them is about is accepted here, and counts for the next tune.
    """
    if policy is None:
        return []
    accepted = {(one.rule_id, one.condition, one.category) for one in exceptions}
    margins = {rule.id: rule.margin for rule in policy.rules}
    times = policy.certification.chained_margins
    reasons = []
    for one in changes or ():
        most = margins.get(one.rule_id, 0.0) * times
        if one.high > most + _ROUNDING and (one.rule_id, one.condition, one.category) not in accepted:
            reasons.append(
                f"chained-bases: {where_applies(one)} may be {one.high:.3f} worse than the first base after "
                f"{one.links} tunes, and {most:.3f} is allowed"
            )
    return reasons


def why_not_added_up(certificate: Certificate) -> list[str]:
    """
    Return why a certificate does not say how far it is from the first base, as `code: words`.

    Without the base's certificate at hand: a tune of a certified base has a sum for each result that decides, which no
    link before can have made smaller than the worst gain allows, and no other certificate has any.
    """
    sums, named = certificate.from_root, certificate.base_certificate is not None
    if not named and sums is None:
        return []
    if not named or sums is None:
        return [
            "chained-bases: a certificate of a base is named without sums since the first base, or these without it"
        ]
    deciding = deciding_results(certificate.results, certificate.required_controls)
    expected = [(r.rule_id, r.condition, r.category) for r in deciding]
    if [(one.rule_id, one.condition, one.category) for one in sums] != expected:
        return ["chained-bases: there is not one sum since the first base for each result that decides"]
    lowest = [-(one.links - 1) + r.change.high for one, r in zip(sums, deciding, strict=True)]
    return [
        f"chained-bases: the sum of {where_applies(one)} is less than there can be"
        for one, least in zip(sums, lowest, strict=True)
        if one.high < least - _ROUNDING
    ]


def why_not_from(base: CertifiedBase | None, manifest: Manifest) -> list[str]:
    """Return why a certificate is none of the base that was tuned, as `code: words`; empty where there is no reason."""
    if base is None or base.certificate.tuned.digest == manifest.digest:
        return []
    return [f"base-certificate: it certifies other files than the base's: {base.certificate.model_name}"]


def require_from(certificate: Certificate, base: CertifiedBase) -> None:
    """
    Return when a certificate names exactly this base's certificate, or one that it renews, and adds to it: step 9.5.

    Raises:
        VerificationError: `base-certificate`.
    """
    named, given = certificate.base_certificate, base.reference
    carried = named is not None and named.serial in base.certificate.lineage
    if (named != given and not carried) or why_not_from(base, certificate.base):
        raise VerificationError(
            "base-certificate",
            "certificate is not of a tune of this certified base",
            facts={
                "names": f"{named.serial} sha256:{named.certificate_sha256}" if named else "no certificate",
                "given": f"{given.serial} sha256:{given.certificate_sha256}",
                "base": certificate.base.digest,
                "certified": base.certificate.tuned.digest,
            },
            hint="give the certificate that the base had, or a renewal of it",
        )
    deciding = deciding_results(certificate.results, certificate.required_controls)
    if certificate.from_root != from_root(deciding, base.certificate):
        raise VerificationError(
            "base-certificate",
            "certificate does not say how much worse than the first base it can be, or says something else",
            facts={
                "says": _sums(certificate.from_root),
                "follows from both": _sums(from_root(deciding, base.certificate)),
            },
            hint="certify it again with the certificate that the base has",
        )


def _sums(changes: Sequence[RootChange] | None) -> str:
    return ", ".join(f"{c.rule_id}/{c.condition} {c.high:+.3f}" for c in changes or ()) or "nothing"
