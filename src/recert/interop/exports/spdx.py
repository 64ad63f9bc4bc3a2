"""
A certificate as SPDX 3.0.1 JSON-LD with the AI profile: both models, their files, the figures and their evidence.

What the certificate does not say is left open in SPDX's own words for that: licences are `NoAssertionLicense`, the
place of download is `NOASSERTION`. The same certificate gives the same bytes.

Source: "The System Package Data Exchange (SPDX) Specification Version 3.0.1", AI, Software and Core profiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from recert import __version__
from recert.interop.exports.formats import json_text
from recert.records.data.manifest import Manifest
from recert.records.live.transcriber import EarsManifest
from recert.records.reports.evaluation import RuleResult
from recert.workflows.certificates.source import SignedCertificate, deciding, threshold, where

CONTEXT: Final = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_NO_LICENSE: Final = "expandedlicensing_NoAssertionLicense"
_CREATION: Final = "_:creation"


def spdx_json(source: SignedCertificate) -> bytes:
    """
    Return the SPDX document of a certified model, as JSON-LD.

    Raises:
        InputError: the certificate is a draft, or does not say that the model passed.
    """
    source.require_final()
    graph = list(_Document(source).elements())
    return json_text({"@context": CONTEXT, "@graph": graph})


class _Document:
    """The elements of one document. Every id is below the digest of the certificate's file."""

    def __init__(self, source: SignedCertificate) -> None:
        self._source, self._said = source, source.certificate
        self._at = self._said.certified_at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def elements(self) -> Iterator[dict[str, Any]]:
        """Yield every element of the graph."""
        signers = [self._id(f"signer-{n}") for n in range(1, len(self._source.signers) + 1)]
        yield {
            "type": "CreationInfo",
            "@id": _CREATION,
            "specVersion": "3.0.1",
            "created": self._at,
            "createdBy": signers,
            "createdUsing": [self._id("recert")],
        }
        yield self._element("Tool", "recert", name=f"recert {__version__}")
        yield from self._signers()
        yield self._element(
            "SpdxDocument",
            "document",
            name=f"Recert certificate {self._said.serial}",
            profileConformance=["core", "software", "ai"],
            rootElement=[self._id("tuned")],
            comment=self._source.signatures,
        )
        yield self._tuned(signers[0])
        yield self._base(signers[0])
        arms: dict[str, Manifest] = {"tuned": self._said.tuned, "base": self._said.base}
        if self._said.ears is not None:
            yield self._ears(self._said.ears, signers[0])
            yield self._relation("hearing", "dependsOn", "tuned", [self._id("ears")])
            arms["ears"] = self._said.ears
        for arm, manifest in arms.items():
            yield from self._files(arm, manifest)
            for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
                yield self._relation(f"{arm}-{kind}", kind, arm, [_NO_LICENSE])
        yield self._relation("ancestry", "descendantOf", "tuned", [self._id("base")])
        yield self._file("certificate", self._source.file_name, self._source.sha256)
        yield self._file("report", "eval-report.json", self._said.eval_report_sha256)
        yield self._file("outcomes", "outcomes.jsonl", self._said.evidence_sha256)
        evidence = [self._id(name) for name in ("certificate", "report", "outcomes")]
        yield self._relation("evidence", "hasEvidence", "tuned", evidence)
        if self._said.rows_sha256:
            yield self._file("rows", "tuning rows", self._said.rows_sha256)
            yield self._relation("training", "trainedOn", "tuned", [self._id("rows")])

    def _signers(self) -> Iterator[dict[str, Any]]:
        for number, signer in enumerate(self._source.signers, start=1):
            key = {
                "type": "ExternalIdentifier",
                "externalIdentifierType": "other",
                "identifier": f"sha256:{signer.approval.key_id}",
                "comment": "digest of the signer's public key",
            }
            name = signer.approval.name or signer.approval.key_id
            yield self._element(
                "Agent",
                f"signer-{number}",
                name=name,
                comment=f"signed as {signer.approval.role}",
                externalIdentifier=[key],
            )

    def _tuned(self, supplier: str) -> dict[str, Any]:
        said, results = self._said, deciding(self._said)
        fields: dict[str, Any] = {
            "ai_typeOfModel": [said.delta_kind],
            "ai_informationAboutTraining": f"method {said.method or 'unknown'}, defence {said.defence}",
            "ai_standardCompliance": [
                f"Recert policy {said.policy_id} {said.policy_version} sha256:{said.policy_sha256}"
            ],
            "ai_limitation": "\n".join(
                (*said.limitations, *(f"no longer holds when {words}" for words in said.invalid_when))
            ),
            "ai_metric": [_entry(*pair) for r in results for pair in _figures(r)],
            "ai_metricDecisionThreshold": [_entry(_key("change", r), threshold(r)) for r in results],
            "comment": self._comment(),
        }
        if self._source.behind:
            fields["ai_informationAboutApplication"] = f"the verdict holds only behind {self._source.behind}"
        if said.hyperparameters:
            chosen = said.hyperparameters.model_dump(mode="json", exclude_none=True)
            fields["ai_hyperparameter"] = [_entry(k, str(v)) for k, v in sorted(chosen.items())]
        return self._package("tuned", said.model_name, said.tuned, supplier) | fields

    def _base(self, supplier: str) -> dict[str, Any]:
        figures = [
            _entry(_key("base rate", r), f"{r.base} at level {r.base.level:g}, n={r.base.n}")
            for r in deciding(self._said)
        ]
        named = f"base of {self._said.model_name}"
        return self._package("base", named, self._said.base, supplier) | {"ai_metric": figures}

    def _ears(self, ears: EarsManifest, supplier: str) -> dict[str, Any]:
        """What listened before both models, where requests were spoken."""
        decoding = ", ".join(f"{name} {value}" for name, value in ears.decoding.items())
        named = f"transcriber before {self._said.model_name}"
        return self._package("ears", named, ears, supplier) | {
            "comment": f"heard what was spoken, by {ears.engine}, with {decoding or 'no settings'}"
        }

    def _package(self, arm: str, name: str, manifest: Manifest, supplier: str) -> dict[str, Any]:
        return self._element(
            "ai_AIPackage",
            arm,
            name=name,
            software_packageVersion=f"sha256:{manifest.digest}",
            software_primaryPurpose="model",
            software_downloadLocation="NOASSERTION",
            releaseTime=self._at,
            suppliedBy=supplier,
        )

    def _files(self, arm: str, manifest: Manifest) -> Iterator[dict[str, Any]]:
        names = [f"{arm}-file-{number}" for number in range(1, len(manifest.files) + 1)]
        for name, file in zip(names, manifest.files, strict=True):
            yield self._file(name, file.name, file.sha256)
        yield self._relation(
            f"{arm}-files", "contains", arm, [self._id(name) for name in names], completeness="complete"
        )

    def _file(self, local: str, name: str, sha256: str) -> dict[str, Any]:
        digest = {"type": "Hash", "algorithm": "sha256", "hashValue": sha256}
        return self._element("software_File", local, name=name, verifiedUsing=[digest])

    def _relation(self, local: str, kind: str, arm: str, to: list[str], **more: Any) -> dict[str, Any]:
        return self._element(
            "Relationship", local, relationshipType=kind, **{"from": self._id(arm)}, to=to, **more
        )

    def _element(self, kind: str, local: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "spdxId": self._id(local), "creationInfo": _CREATION} | fields

    def _id(self, local: str) -> str:
        return f"https://recert.dev/spdx/{self._source.sha256}#{local}"

    def _comment(self) -> str:
        said = self._said
        lines = [
            f"certificate {said.serial} sha256:{self._source.sha256}",
            f"holds {self._at} to {said.expires_at:%Y-%m-%dT%H:%M:%SZ} unless revoked or suspended before",
            f"verdict of the model alone: {said.verdict_raw}",
        ]
        if said.verdict_safeguarded:
            lines.append(f"verdict behind {self._source.behind}: {said.verdict_safeguarded}")
        lines += [
            f"{name}: {json_text(value).decode().strip()}" for name, value in self._source.others.items()
        ]
        return "\n".join(lines)


def _figures(result: RuleResult) -> Iterator[tuple[str, str]]:
    level = f"at level {result.change.level:g}, n={result.change.n}"
    yield _key("rate", result), f"{result.tuned} {level}"
    yield _key("change", result), f"{result.change} {level}: {result.verdict}"


def _key(kind: str, result: RuleResult) -> str:
    return f"{result.estimand} {kind} on {where(result)}, rule {result.rule_id}"


def _entry(key: str, value: str) -> dict[str, str]:
    return {"type": "DictionaryEntry", "key": key, "value": value}
