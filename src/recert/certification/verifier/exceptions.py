"""Results that are no pass and are accepted all the same: only by a risk owner, by the policy's leave, for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from recert.certification.verifier.decision import deciding_results
from recert.errors import VerificationError
from recert.policy import Policy, already_failing
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict, where_applies
from recert.records.reports.hunting import HuntOutcome
from recert.records.reports.trigger_search import TriggerSearch
from recert.records.signed.certificate import Approval, Certificate, RuleException

RISK_OWNER: Final = "risk-owner"
EXCEPTABLE: Final = (Verdict.FAIL, Verdict.UNDECIDED)
"""What can be excepted. Where nothing was measured, nobody knows what they would accept."""


@dataclass(frozen=True)
class ExceptionRequest:
    """
    What a certificate is asked to except.

    Args:
        rule_id: the rule; each of its results that is no pass is excepted by an entry of its own.
        reason: why, in words.
        expires_at: until when.
        condition: only under this condition; empty for every one.
    """

    rule_id: str
    reason: str
    expires_at: datetime
    condition: str = ""


@dataclass(frozen=True)
class Terms:
    """What decides whether an exception counts, besides itself. A certificate and its draft have the same."""

    policy: Policy | None
    approvals: Sequence[Approval]
    trainer_key_id: str | None
    search: TriggerSearch | None
    begins_at: datetime

    @classmethod
    def of(cls, certificate: Certificate, policy: Policy | None) -> Terms:
        """Return the terms of a certificate."""
        return cls(
            policy,
            certificate.approvals,
            certificate.trainer_key_id,
            certificate.trigger_search,
            min(certificate.certified_at, certificate.not_before),
        )


def why_not_excepted(exception: RuleException, terms: Terms) -> tuple[str, str] | None:
    """
    Return the reason code and words of why an exception counts for nothing, or None when it counts: step 6.8.

    Whether it has expired is step 7.3.
    """
    if terms.policy is None:
        return "exception-not-allowed", "whether it may be excepted is not known without the whole policy"
    section = terms.policy.certification.exceptions
    if section is None or exception.rule_id not in section.rules:
        return "exception-not-allowed", "the policy does not let this rule be excepted"
    owners = {a.key_id for a in terms.approvals if a.role == RISK_OWNER} - {terms.trainer_key_id}
    searched = terms.search is None or terms.search.outcome == HuntOutcome.NOTHING_FOUND
    checks = (
        (exception.verdict in EXCEPTABLE, "not-allowed", f"what is {exception.verdict} cannot be excepted"),
        (
            exception.expires_at - terms.begins_at <= timedelta(hours=section.max_hours),
            "not-allowed",
            f"it would hold for longer than {section.max_hours:g} hours",
        ),
        (searched, "not-allowed", "the search for triggers did not end with nothing found"),
        (
            exception.owner_key_id in owners,
            "unsigned",
            f"it is not signed by a {RISK_OWNER} who did not train",
        ),
    )
    return next(((f"exception-{code}", words) for holds, code, words in checks if not holds), None)


def counting(exceptions: Sequence[RuleException] | None, terms: Terms) -> tuple[RuleException, ...]:
    """Return the exceptions that count, time aside."""
    return tuple(e for e in exceptions or () if why_not_excepted(e, terms) is None)


def why_not_covered(
    certificate: Certificate, terms: Terms, now: datetime | None = None
) -> tuple[str, str] | None:
    """
    Return the reason code and words of the first deciding result that is neither a pass nor excepted, or None.

    Args:
        certificate: what carries the results and the exceptions.
        terms: what decides whether an exception counts.
        now: where given, an exception that has expired counts no more.
    """
    deciding = deciding_results(certificate.results, certificate.required_controls)
    no_veto = already_failing(deciding, terms.policy)
    for result in deciding:
        if result.verdict is Verdict.PASS or result in no_veto:
            continue
        named = [e for e in certificate.exceptions or () if e.is_about(result)]
        whys = [why_not_excepted(e, terms) or _over(e, now) for e in named]
        if None not in whys:
            where = f"{where_applies(result)} is {result.verdict}"
            code, words = next((why for why in whys if why), ("verdict-not-pass", "nobody excepts it"))
            return code, f"{where}: {words}"
    return None


def _over(exception: RuleException, now: datetime | None) -> tuple[str, str] | None:
    if now is None or now < exception.expires_at:
        return None
    return "exception-expired", f"its exception ended at {exception.expires_at.isoformat()}"


def require_covered(certificate: Certificate, policy: Policy | None, now: datetime) -> None:
    """
    Return when every deciding result is a pass, or excepted at this time: step 7.3 of `spec/verification.md`.

    Raises:
        VerificationError: `exception-expired`, or what step 6.8 says.
    """
    why = why_not_covered(certificate, Terms.of(certificate, policy), now)
    if why is not None:
        raise VerificationError(
            why[0],
            "a result that is no pass is not excepted",
            facts={"because": why[1]},
            hint="evaluate again, or certify again with an exception that a risk owner signs",
        )


def draft_exceptions(
    requests: Sequence[ExceptionRequest], report: EvalReport, terms: Terms
) -> tuple[tuple[RuleException, ...], list[str]]:
    """
    Return an exception for each deciding result that is asked for and is no pass, and why any of them cannot be.

    Args:
        requests: what is to be excepted, by the one risk owner among those who sign.
        report: the evaluation.
        terms: of the certificate that is drafted.

    Returns:
        The exceptions, which need not count, and reasons as `code: words`.
    """
    owner = next((a.key_id for a in terms.approvals if a.role == RISK_OWNER), "0" * 64)
    results = deciding_results(report.rules, report.required_controls)
    pairs = [(request, r) for request in requests for r in results if _asks_for(request, r)]
    exceptions = tuple(
        RuleException(
            rule_id=result.rule_id,
            condition=result.condition,
            category=result.category,
            verdict=result.verdict,
            reason=request.reason,
            expires_at=request.expires_at,
            owner_key_id=owner,
        )
        for request, result in pairs
    )
    return exceptions, list(_why_not_drafted(exceptions, requests, report, terms))


def _asks_for(request: ExceptionRequest, result: RuleResult) -> bool:
    return (
        result.verdict is not Verdict.PASS
        and result.rule_id == request.rule_id
        and request.condition in ("", result.condition)
    )


def _why_not_drafted(
    exceptions: Sequence[RuleException],
    requests: Sequence[ExceptionRequest],
    report: EvalReport,
    terms: Terms,
) -> Iterator[str]:
    for request in requests:
        if not any(_asks_for(request, result) for result in report.rules):
            yield f"exception-not-allowed: no result of {request.rule_id} is there that could be excepted"
        if request.expires_at <= terms.begins_at:
            yield f"exception-expired: the exception of {request.rule_id} ends before it begins"
    for exception in exceptions:
        no = why_not_excepted(exception, terms)
        if no is not None:
            yield f"{no[0]}: {where_applies(exception)}: {no[1]}"
    if exceptions and report.suites_alike is None:
        yield "exception-not-allowed: the evaluation does not say which sets share prompts; evaluate again"
