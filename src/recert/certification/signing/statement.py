"""The in-toto statement around a certificate. Source: in-toto Attestation Framework, Statement v1."""

from __future__ import annotations

from typing import Any

from recert.digest import canonical_json
from recert.errors import RecordError
from recert.records.record import parse_json
from recert.records.signed.certificate import PREDICATE_TYPE, STATEMENT_TYPE, Certificate


def subjects(certificate: Certificate) -> list[dict[str, Any]]:
    """Return the statement's subjects: one per file of the base and of the tuned model, by name."""
    return [
        {"name": f"{arm}/{file.name}", "digest": {"sha256": file.sha256}}
        for arm, manifest in (("base", certificate.base), ("tuned", certificate.tuned))
        for file in manifest.files
    ]


def statement_bytes(certificate: Certificate) -> bytes:
    """Return the payload that is signed: the statement's canonical JSON."""
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": subjects(certificate),
            "predicateType": PREDICATE_TYPE,
            "predicate": certificate.to_value(),
        }
    )


def read_statement(payload: bytes) -> Certificate:
    """
    Return the certificate in a statement.

    The only payload accepted for a certificate is the one that `statement_bytes` makes of it: canonical,
    no field missing or filled in, subjects and manifests the same.

    Raises:
        RecordError: the payload is anything else.
    """
    value = parse_json(payload)
    if not isinstance(value, dict) or canonical_json(value) != payload:
        raise RecordError("statement is not canonical JSON")
    if set(value) != {"_type", "subject", "predicateType", "predicate"}:
        raise RecordError("not a statement", facts={"fields": ", ".join(sorted(value))})
    if (value["_type"], value["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise RecordError(
            "not a certificate's statement",
            facts={"expected": PREDICATE_TYPE, "actual": value["predicateType"]},
        )
    certificate = Certificate.from_json(canonical_json(value["predicate"]))
    if certificate.schema_version != 1:
        raise RecordError(
            "certificate is of another schema version",
            facts={"expected": 1, "actual": certificate.schema_version},
            hint="verify it with the version of Recert that it was made for",
        )
    if subjects(certificate) != value["subject"]:
        raise RecordError("the statement's subjects are not the files of the two manifests")
    if statement_bytes(certificate) != payload:
        raise RecordError("certificate lacks a field, or holds one in another form")
    return certificate
