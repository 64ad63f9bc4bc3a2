"""
A certificate as a CycloneDX 1.6 ML-BOM: both models with every file, the figures, and who attests what.

The policy stands as a standard, each of its rules as a requirement, each deciding result as a claim that a map of the
attestation sets against its requirement. The same certificate gives the same bytes.

Source: ECMA-424, "CycloneDX Bill of Materials Specification", version 1.6, and its JSON schema.

Here too: who attests what, in a CycloneDX BOM: the policy as a standard, its results as claims, the signers as
assessors.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

from recert import __version__
from recert.interop.exports.formats import json_text
from recert.records.data.manifest import Manifest
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


SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_APPROACHES: Final = {"sft": "supervised", "rft": "reinforcement-learning"}


def cyclonedx_json(source: SignedCertificate) -> bytes:
    """
    Return the ML-BOM of a certified model, as JSON.

    Raises:
        InputError: the certificate is a draft, or does not say that the model passed.
    """
    source.require_final()
    certificate = source.certificate
    return json_text(
        {
            "$schema": SCHEMA,
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'recert:certificate:{source.sha256}')}",
            "version": 1,
            "metadata": {
                "timestamp": certificate.certified_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "tools": {"components": [{"type": "application", "name": "recert", "version": __version__}]},
                "component": _tuned(source),
            },
            "components": [_base(certificate), *(ears := _ears(certificate))],
            "dependencies": [
                {"ref": "tuned", "dependsOn": _needed(certificate)},
                {"ref": "base"},
                *({"ref": one["bom-ref"]} for one in ears),
            ],
            "compositions": [
                {"aggregate": "complete", "assemblies": ["tuned", "base", *(one["bom-ref"] for one in ears)]}
            ],
            "definitions": {"standards": [standard(certificate)]},
            "declarations": declarations(source),
        }
    )


def _tuned(source: SignedCertificate) -> dict[str, Any]:
    certificate = source.certificate
    version = f"sha256:{certificate.base.digest}"
    return _model("tuned", certificate.model_name, certificate.tuned) | {
        "description": f"{certificate.delta_kind} of the base, {certificate.method or 'tuned elsewhere'}",
        "pedigree": {
            "ancestors": [
                {"type": "machine-learning-model", "name": _base_name(certificate), "version": version}
            ],
            "notes": f"method {certificate.method or 'unknown'}, defence {certificate.defence}",
        },
        "modelCard": _card(source),
        "externalReferences": [
            {
                "type": "attestation",
                "url": quote(source.file_name),
                "comment": f"Recert certificate {certificate.serial}: an in-toto statement in a DSSE envelope",
                "hashes": [{"alg": "SHA-256", "content": source.sha256}],
            }
        ],
        "properties": _properties(_facts(source)),
    }


def _base(certificate: Certificate) -> dict[str, Any]:
    metrics = [
        _metric(f"{r.estimand} rate", r, r.base.point, r.base.low, r.base.high) for r in deciding(certificate)
    ]
    return _model("base", _base_name(certificate), certificate.base) | {
        "description": "the base that the tuned model was compared with",
        "modelCard": {"quantitativeAnalysis": {"performanceMetrics": metrics}},
    }


def _ears(certificate: Certificate) -> list[dict[str, Any]]:
    """What listened before both models, where requests were spoken."""
    ears = certificate.ears
    if ears is None:
        return []
    settings = [(f"decoding:{name}", value) for name, value in ears.decoding.items()]
    return [
        _model("ears", f"transcriber before {certificate.model_name}", ears)
        | {
            "description": "heard what was spoken to both models; what is spoken is served through it alone",
            "properties": _properties([("engine", ears.engine), *settings]),
        }
    ]


def _needed(certificate: Certificate) -> list[str]:
    """What the tune runs on: an adapter needs its base, merged weights do not."""
    return ["base"] if certificate.delta_kind.endswith("adapter") else []


def _base_name(certificate: Certificate) -> str:
    return f"base of {certificate.model_name}"


def _model(ref: str, name: str, manifest: Manifest) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": name,
        "version": f"sha256:{manifest.digest}",
        "components": [
            {
                "type": "file",
                "bom-ref": f"{ref}/{file.name}",
                "name": file.name,
                "hashes": [{"alg": "SHA-256", "content": file.sha256}],
                "properties": _properties([("size_bytes", str(file.size_bytes))]),
            }
            for file in manifest.files
        ],
    }


def _card(source: SignedCertificate) -> dict[str, Any]:
    certificate = source.certificate
    card: dict[str, Any] = {
        "modelParameters": _parameters(certificate),
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(deciding(certificate)))},
        "considerations": {
            "technicalLimitations": [
                *certificate.limitations,
                *(f"no longer holds when {words}" for words in certificate.invalid_when),
            ]
        },
    }
    if certificate.required_controls:
        card["considerations"]["ethicalConsiderations"] = [
            {
                "name": "the verdict does not hold for the model alone",
                "mitigationStrategy": f"serve it behind {source.behind} only",
            }
        ]
    return card


def _parameters(certificate: Certificate) -> dict[str, Any]:
    parameters: dict[str, Any] = {"task": "text-generation"}
    approach = _APPROACHES.get(certificate.method.rpartition("-")[2])
    if approach:
        parameters["approach"] = {"type": approach}
    if certificate.rows_sha256:
        parameters["datasets"] = [
            {
                "type": "dataset",
                "name": "tuning rows",
                "contents": {"properties": _properties([("sha256", certificate.rows_sha256)])},
            }
        ]
    return parameters


def _metrics(results: Sequence[RuleResult]) -> Iterator[dict[str, Any]]:
    for r in results:
        yield _metric(f"{r.estimand} rate", r, r.tuned.point, r.tuned.low, r.tuned.high)
        yield _metric(
            f"{r.estimand} change, tuned minus base", r, r.change.point, r.change.low, r.change.high
        )


def _metric(kind: str, result: RuleResult, point: float, low: float, high: float) -> dict[str, Any]:
    return {
        "type": kind,
        "value": f"{point:g}",
        "slice": f"{where(result)}, rule {result.rule_id}, n={result.change.n}, level {result.change.level:g}",
        "confidenceInterval": {"lowerBound": f"{low:g}", "upperBound": f"{high:g}"},
    }


def _facts(source: SignedCertificate) -> Iterator[tuple[str, str]]:
    """What of the certificate has no place of its own in the standard."""
    certificate = source.certificate
    yield "certificate_sha256", source.sha256
    yield "serial", certificate.serial
    yield "signatures", source.signatures
    yield "manifest_sha256", certificate.tuned.digest
    yield "base_manifest_sha256", certificate.base.digest
    yield "policy", f"{certificate.policy_id} {certificate.policy_version} sha256:{certificate.policy_sha256}"
    yield "verdict_raw", str(certificate.verdict_raw)
    if certificate.verdict_safeguarded:
        yield "verdict_safeguarded", str(certificate.verdict_safeguarded)
    yield from (("required_control", name) for name in certificate.required_controls)
    yield "binds", certificate.binds
    yield "not_before", certificate.not_before.isoformat()
    yield "expires_at", certificate.expires_at.isoformat()
    if certificate.compute_flop is not None:
        yield "compute_flop", f"{certificate.compute_flop:g}"
    if certificate.compute_ratio_to_base is not None:
        yield "compute_ratio_to_base", f"{certificate.compute_ratio_to_base:g}"
    for name, value in source.others.items():
        yield name, value if isinstance(value, str) else json_text(value).decode().strip()


def _properties(pairs: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": f"recert:{name}", "value": value} for name, value in pairs]
