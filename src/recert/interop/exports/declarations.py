"""Who attests what, in a CycloneDX BOM: the policy as a standard, its results as claims, the signers as assessors."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from recert.records.reports.evaluation import RuleResult, Verdict
from recert.records.signed.certificate import Certificate
from recert.workflows.certificates.source import SignedCertificate, deciding, threshold, where

_POLICY = "policy"


def standard(certificate: Certificate) -> dict[str, Any]:
    """Return the policy that decided as a standard, with one requirement a rule and condition."""
    return {
        "bom-ref": _POLICY,
        "name": certificate.policy_id,
        "version": certificate.policy_version,
        "description": f"Recert policy with the sha256 {certificate.policy_sha256}; only what it asked of this model",
        "requirements": [
            {
                "bom-ref": _requirement(number),
                "identifier": result.rule_id,
                "title": f"{result.estimand} on {where(result)}",
                "text": f"{threshold(result)}, tuned minus base on the same prompts",
            }
            for number, result in enumerate(deciding(certificate), start=1)
        ],
    }


def declarations(source: SignedCertificate) -> dict[str, Any]:
    """Return assessors, attestation, claims, evidence and signatories of a certificate."""
    certificate = source.certificate
    results = list(enumerate(deciding(certificate), start=1))
    assessor = next(
        (n for n, s in enumerate(source.signers, start=1) if s.approval.role == "evaluator"), None
    )
    attestation: dict[str, Any] = {
        "summary": f"Recert certificate {certificate.serial}: {certificate.model_name} is within policy "
        f"{certificate.policy_id} {certificate.policy_version}"
        + (f", only behind {source.behind}" if source.behind else ""),
        "map": [_mapped(number, result) for number, result in results],
    }
    if assessor is not None:
        attestation["assessor"] = _signer(assessor)
    return {
        "assessors": [
            {"bom-ref": _signer(number), "organization": {"name": _called(source, number)}}
            for number in range(1, len(source.signers) + 1)
        ],
        "attestations": [attestation],
        "claims": [
            {
                "bom-ref": _claim(number),
                "target": "tuned",
                "predicate": f"{result.estimand} on {where(result)}: {threshold(result)}",
                "reasoning": f"tuned {result.tuned.point:g}, base {result.base.point:g}, change {result.change} "
                f"on {result.change.n} prompts: {result.verdict}",
                "evidence": ["evidence/certificate", "evidence/evaluation"],
            }
            for number, result in results
        ],
        "evidence": _evidence(source),
        "affirmation": _affirmation(source),
    }


def _mapped(number: int, result: RuleResult) -> dict[str, Any]:
    return {
        "requirement": _requirement(number),
        "claims": [_claim(number)],
        "conformance": {
            "score": 1 if result.verdict is Verdict.PASS else 0,
            "rationale": f"{result.verdict}: change {result.change} at margin {result.margin:g}",
        },
        "confidence": {
            "score": result.change.level,
            "rationale": "coverage of the anytime-valid interval",
        },
    }


def _evidence(source: SignedCertificate) -> list[dict[str, Any]]:
    certificate = source.certificate
    ends = {
        "created": certificate.certified_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expires": certificate.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return [
        {
            "bom-ref": "evidence/certificate",
            "description": f"the signed certificate, sha256 {source.sha256}",
            "data": [{"name": "certificate", "contents": {"url": quote(source.file_name)}}],
            **ends,
        },
        {
            "bom-ref": "evidence/evaluation",
            "description": f"the evaluation's report, sha256 {certificate.eval_report_sha256}, and its outcomes, "
            f"sha256 {certificate.evidence_sha256}",
            **ends,
        },
    ]


def _affirmation(source: SignedCertificate) -> dict[str, Any]:
    reference = {
        "type": "digital-signature",
        "url": quote(source.file_name),
        "hashes": [{"alg": "SHA-256", "content": source.sha256}],
    }
    return {
        "statement": f"Signed in the certificate, not in this document; {source.signatures}.",
        "signatories": [
            {
                "name": signer.approval.name or signer.approval.key_id,
                "role": signer.approval.role,
                "organization": {"name": _called(source, number)},
                "externalReference": reference | {"comment": f"key {signer.approval.key_id}"},
            }
            for number, signer in enumerate(source.signers, start=1)
        ],
    }


def _called(source: SignedCertificate, number: int) -> str:
    approval = source.signers[number - 1].approval
    return f"{approval.name or 'not named'}, {approval.role}, key {approval.key_id}"


def _signer(number: int) -> str:
    return f"signer/{number}"


def _requirement(number: int) -> str:
    return f"{_POLICY}/{number}"


def _claim(number: int) -> str:
    return f"claim/{number}"
