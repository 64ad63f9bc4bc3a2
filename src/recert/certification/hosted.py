"""
Certificates of models at a vendor: they bind behaviour and the vendor's record of its job, and no weights.

Where other certificates list files of weights, these list one record for each model: what the vendor said of the job,
and the name that the base answers to. `verify` refuses them with `binds-behaviour`, so that nothing is served by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from recert.certification.clock import moment
from recert.certification.signing.content import draft
from recert.certification.signing.functionaries import approvals_of, read_steps, why_not_signed
from recert.certification.signing.keys import PublicKey, SigningKey
from recert.certification.stage import CertifyDecision, signed
from recert.certification.trust.store import TrustStore
from recert.certification.verifier.chain import why_not_compared, why_not_decided
from recert.certification.verifier.counted import why_report_not_counted
from recert.digest import canonical_json, sha256_bytes
from recert.policy import Policy
from recert.records.data.manifest import FileEntry, Manifest
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import Step
from recert.records.signed.hosted_job import JOB_FILE, HostedJob

BASE_FILE: Final = "hosted-base.json"
_SEEN: Final = "behaviour-only:"


def certify_hosted(
    *,
    eval_report: EvalReport,
    job: HostedJob,
    policy: Policy,
    evidence_sha256: str,
    signer: SigningKey,
    approvers: Sequence[PublicKey],
    trainer_key_id: str | None,
    links: Mapping[Step, bytes],
    trust: TrustStore,
    derive: Callable[[EvalReport], Sequence[str]],
    status_list_id: str,
    now: datetime | None = None,
) -> CertifyDecision:
    """
    Decide whether a vendor's tune can be certified for what it was measured to do; if so, draft and sign it.

    The answer is no unless the vendor's job succeeded and failed none of its own checks, the model that it names was
    compared at the vendor's endpoint with the base that it names, and the evaluation passed under this policy.

    Args:
        eval_report, job: the evaluation; what the vendor's job said of itself.
        policy: to certify under, which must have decided the evaluation.
        evidence_sha256, signer: digest of the evidence bundle; the evaluator's key.
        approvers: public keys of everyone else who must sign, each with one role.
        trainer_key_id: who had it tuned; where the policy wants evaluator and trainer apart, None means no.
        links, trust: who signed that they evaluated; whose signatures count.
        derive: gives every reason why the report does not follow from its outcomes, as `code: words`.
        status_list_id: the status list that can end the certificate.
        now: the time; the present by default.

    Raises:
        SigningKeyError: `signer` is not an evaluator's key, or an approver's key has not exactly one role.
    """
    at, approvals = moment(now), approvals_of(signer, approvers)
    steps = read_steps([eval_report], links, trust=trust, now=at)
    reasons = [
        *steps.reasons,
        *job.why_not(),
        *why_not_decided(eval_report, policy),
        *derive(eval_report),
        *why_report_not_counted(eval_report, policy),
        *(one for one in why_not_compared(eval_report) if not one.startswith(_SEEN)),
        *_why_not_theirs(eval_report, job),
        *why_not_signed(policy, approvals, steps, trainer_key_id, trust=trust, now=at),
    ]
    if reasons:
        return CertifyDecision(certified=False, reasons=tuple(dict.fromkeys(reasons)), envelope=None)
    named = eval_report.model_copy(
        update={"base": base_named(job), "tuned": _listed(JOB_FILE, job.to_json())}
    )
    certificate = draft(
        named,
        policy,
        evidence_sha256=evidence_sha256,
        approvals=approvals,
        trainer_key_id=trainer_key_id,
        tune_report=None,
        screen_report=None,
        supersedes=None,
        steps=steps.evidence,
        status_list_id=status_list_id,
        now=at,
    ).model_copy(
        update={
            "binds": "behaviour",
            "delta_kind": "hosted",
            "method": f"hosted-{job.method}",
            "eval_report_sha256": eval_report.digest,
        }
    )
    limitations = tuple(dict.fromkeys((*job.limitations(), *certificate.limitations)))
    certificate = certificate.model_copy(update={"limitations": limitations})
    return CertifyDecision(certified=True, reasons=(), envelope=signed(certificate, signer))


def base_named(job: HostedJob) -> Manifest:
    """Return what stands for the base: the name that it answers to at the vendor."""
    return _listed(BASE_FILE, canonical_json({"model": job.base_model, "vendor": job.vendor}))


def _listed(name: str, data: bytes) -> Manifest:
    return Manifest(files=(FileEntry(name=name, size_bytes=len(data), sha256=sha256_bytes(data)),))


def _why_not_theirs(report: EvalReport, job: HostedJob) -> Iterator[str]:
    """Yield why the evaluation is not shown to be of the vendor's two models."""
    for arm in report.arms:
        model = job.base_model if arm.arm == "base" else job.tuned_model
        expected = f"{job.vendor}#{model}"
        if arm.endpoint != expected:
            found = arm.endpoint or "no model at an endpoint"
            yield f"vendor-model: the {arm.arm} arm was {found}, the job's is {expected}"
