"""The verifier: one table of numbered steps, from which every answer about a certificate is made."""

from recert.certification.verifier.examination import Presented
from recert.certification.verifier.steps import STEPS, Step
from recert.certification.verifier.verifier import (
    Check,
    Verifier,
    examine_draft,
    first_failed,
    read_certified_base,
    verify,
)

__all__ = [
    "STEPS",
    "Check",
    "Presented",
    "Step",
    "Verifier",
    "examine_draft",
    "first_failed",
    "read_certified_base",
    "verify",
]
