"""A base that is itself certified: the tuned certificate names its base's, and ends with it."""

from __future__ import annotations

from dataclasses import dataclass

from recert.errors import VerificationError
from recert.records import BaseCertificate, Certificate, Manifest


@dataclass(frozen=True)
class CertifiedBase:
    """A base's certificate that holds, and the reference by which certificates of its tunes name it."""

    certificate: Certificate
    reference: BaseCertificate


def why_not_from(base: CertifiedBase | None, manifest: Manifest) -> list[str]:
    """Return why a certificate is none of the base that was tuned, as `code: words`; empty where there is no reason."""
    if base is None or base.certificate.tuned.digest == manifest.digest:
        return []
    return [f"base-certificate: it certifies other files than the base's: {base.certificate.model_name}"]


def require_from(certificate: Certificate, base: CertifiedBase) -> None:
    """
    Return when a certificate names exactly this base's certificate, or one that it renews: step 9.5.

    Raises:
        VerificationError: `base-certificate`.
    """
    named, given = certificate.base_certificate, base.reference
    carried = named is not None and named.serial in base.certificate.lineage
    if (named != given and not carried) or why_not_from(base, certificate.base):
        raise VerificationError(
            "base-certificate",
            "certificate is not of a tune of this certified base",
            facts={
                "names": f"{named.serial} sha256:{named.certificate_sha256}" if named else "no certificate",
                "given": f"{given.serial} sha256:{given.certificate_sha256}",
                "base": certificate.base.digest,
                "certified": base.certificate.tuned.digest,
            },
            hint="give the certificate that the base had, or a renewal of it",
        )
