"""What the sign-off report tells: a certificate, whose signatures it has, and the evaluation where that is in hand."""

from __future__ import annotations

from dataclasses import dataclass

from recert import __version__
from recert.errors import InputError
from recert.pipeline.exports.source import SignedCertificate
from recert.records import EvalReport


@dataclass(frozen=True)
class SignOff:
    """
    A certificate to be printed. A draft can be printed too: it is what its signers read before they sign.

    Args:
        source: the certificate.
        evaluation: the report that it names; None where it is not in hand.
        pdf: print it; else it is a page.

    Raises:
        InputError: the evaluation is not the one that the certificate names.
    """

    source: SignedCertificate
    evaluation: EvalReport | None = None
    pdf: bool = False
    version: str = __version__

    def __post_init__(self) -> None:
        named = self.source.certificate.eval_report_sha256
        if self.evaluation is not None and self.evaluation.digest != named:
            raise InputError(
                "evaluation is not the certificate's",
                facts={"named in the certificate": named, "given": self.evaluation.digest},
            )
