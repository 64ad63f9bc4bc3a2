"""The OpenSSF model signature of a certified folder: the same bytes, for those who verify by that format."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from recert.errors import VerificationError
from recert.interop.openssf.model_signature import sign_model
from recert.interop.openssf.model_statement import GIT_PATHS
from recert.records.data.manifest import Manifest
from recert.workflows.certificates.source import SignedCertificate


def model_bundle(
    source: SignedCertificate, folder: Path, key: EllipticCurvePrivateKey
) -> tuple[bytes, tuple[str, ...]]:
    """
    Return the signature of a folder, and the names of its files that the format leaves out.

    What is signed is the certificate's manifest, after every file was found to be the certified one.

    Raises:
        InputError: the certificate is a draft or no pass, or the folder is missing or holds a link.
        VerificationError: the folder is neither the tuned model nor the base of the certificate.
        StoreError: a file cannot be read.
    """
    source.require_final()
    said, found = source.certificate, Manifest.of_folder(folder)
    known = {"tuned": said.tuned, "base": said.base}
    arm = next((arm for arm, manifest in known.items() if manifest.digest == found.digest), None)
    if arm is None:
        differences = said.tuned.differences(found)
        raise VerificationError(
            "file-differs",
            "folder is neither the certified model nor its base",
            facts={"folder": folder, **{str(n): d for n, d in enumerate(differences[:20], start=1)}},
            hint="sign the files that were certified, or certify these",
        )
    name = said.model_name if arm == "tuned" else f"base of {said.model_name}"
    left_out = tuple(f.name for f in found.files if f.name.partition("/")[0] in GIT_PATHS)
    return sign_model(found, name, key), left_out
