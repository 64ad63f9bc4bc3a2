"""What is said against a certificate by who was asked to sign it, and how they take it back."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Record
from recert.records.signed.certificate import Approval, Certificate

REFUSAL_PAYLOAD_TYPE: Final = "application/vnd.recert.refusal+json"
WITHDRAWAL_PAYLOAD_TYPE: Final = "application/vnd.recert.refusal-withdrawal+json"


class Refusal(Record):
    """Somebody will not sign, and says why. It counts against every certificate for the same tuned files."""

    schema_name: ClassVar[str] = "refusal"

    serial: str
    certificate_sha256: Sha256
    """Of the payload that was not signed."""
    eval_report_sha256: Sha256
    """The evaluation that the certificate carries."""
    model_name: str
    tuned_sha256: Sha256
    """Digest of the tuned model's manifest."""
    approval: Approval
    """Who refuses, in which role."""
    reason: str = Field(min_length=1)
    refused_at: Moment

    def is_about(self, certificate: Certificate) -> bool:
        """Say whether it counts against a certificate: one for the same tuned files, or of the same evaluation."""
        return (
            self.tuned_sha256 == certificate.tuned.digest
            or self.eval_report_sha256 == certificate.eval_report_sha256
        )


class Withdrawal(Record):
    """Who refused takes it back."""

    schema_name: ClassVar[str] = "withdrawal"

    refusal_sha256: Sha256
    """Of the refusal's payload."""
    approval: Approval
    reason: str = Field(min_length=1)
    withdrawn_at: Moment
