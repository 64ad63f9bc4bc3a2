"""What the sign-off report tells: a certificate, whose signatures it has, and the evaluation where that is in hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recert import __version__
from recert.digest import canonical_json, sha256_bytes
from recert.errors import InputError
from recert.records.record import parse_json
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import Certificate
from recert.store.files.writing import read_bytes
from recert.workflows.certificates.source import SignedCertificate


@dataclass(frozen=True)
class SignOff:
    """
    A certificate to be printed. A draft can be printed too: it is what its signers read before they sign.

    Args:
        source: the certificate.
        evaluation: the report that it names, see `named_evaluation`; None where it is not in hand.
        pdf: print it; else it is a page.
    """

    source: SignedCertificate
    evaluation: EvalReport | None = None
    pdf: bool = False
    version: str = __version__


def named_evaluation(path: Path, certificate: Certificate) -> EvalReport:
    """
    Return the evaluation's report in a file, which must be the one that the certificate names.

    Raises:
        InputError: it is another one.
        RecordError: it is no evaluation's report.
        StoreError: it cannot be read.
    """
    data = canonical_json(parse_json(read_bytes(path, "evaluation report")))
    if sha256_bytes(data) != certificate.eval_report_sha256:
        raise InputError(
            "evaluation is not the certificate's",
            facts={"file": path, "named": certificate.eval_report_sha256, "there": sha256_bytes(data)},
            hint="give the folder that `recert certify` was given",
        )
    return EvalReport.from_json(data)
