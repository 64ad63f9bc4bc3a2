"""A signature of a model by someone else, as it was verified here."""

from __future__ import annotations

from typing import ClassVar

from recert.records.data.manifest import Manifest, Sha256
from recert.records.record import Moment, Record


class ModelSignature(Record):
    """
    An OpenSSF model signature that holds for a folder: by which key, over which files, and which it leaves out.

    It says who vouches for the bytes, and nothing of what the model does.
    """

    schema_name: ClassVar[str] = "model-signature"

    bundle_sha256: Sha256
    """Of the signature's file, a Sigstore bundle."""
    signed_name: str
    """What the signer called the model."""
    key_sha256: Sha256
    """Of the signer's public key, in DER (SubjectPublicKeyInfo)."""
    curve: str
    """The key's curve, such as `secp256r1`."""
    model: Manifest
    """Every file of the folder, those that the signature leaves out too."""
    not_covered: tuple[str, ...] = ()
    """Files that the signature leaves out by its own word, such as `.gitattributes`: anything may stand in them."""
    verified_at: Moment

    @property
    def covered(self) -> int:
        """How many files the signature is over."""
        return len(self.model.files) - len(self.not_covered)
