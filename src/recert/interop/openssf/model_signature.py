"""
OpenSSF model signatures: made for a certified folder, and verified for one that is evaluated.

A signature is a Sigstore bundle around a DSSE envelope around an in-toto statement, whose predicate lists every file
with its digest. Here files are compared by name too, and what a signature leaves out is named; its root digest alone
says nothing of names.

Source: OpenSSF Model Signing specification 1.0; sigstore/protobuf-specs, bundle 0.3; model-signing 1.1.1.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from recert.certification.clock import moment
from recert.certification.signing.envelope import MAX_ENVELOPE_BYTES, pae
from recert.certification.signing.keys import decode_base64
from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError, SigningKeyError, VerificationError
from recert.interop.openssf.model_statement import read_resources, signed_statement
from recert.records.data.manifest import Manifest
from recert.records.record import parse_json
from recert.records.signed.certificate import PAYLOAD_TYPE
from recert.records.signed.model_signature import ModelSignature

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_HASHES: Final = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
"""The curves that the specification has, each with the digest that is signed."""


def sign_model(manifest: Manifest, name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """
    Return the signature of a folder: every file of its manifest but those of git, which other verifiers pass over.

    Args:
        manifest: of the folder.
        name: what the model is called.
        key: see `load_ec_key`.
    """
    payload = canonical_json(signed_statement(manifest, name))
    value = key.sign(pae(PAYLOAD_TYPE, payload), ec.ECDSA(_HASHES[key.curve.name]))
    return canonical_json(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": _hint(key.public_key())}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(value).decode(), "keyid": ""}],
            },
        }
    )


def verify_model_signature(
    bundle: bytes, found: Manifest, key: ec.EllipticCurvePublicKey, *, now: datetime | None = None
) -> ModelSignature:
    """
    Return what a signature says of a folder, when it is by this key and holds for every file that it covers.

    Args:
        bundle: the signature's file.
        found: what lies in the folder.
        key: see `load_ec_public_key`.
        now: the time; the present by default.

    Raises:
        VerificationError: it does not hold; `reason` is `malformed`, `bad-signature`, `untrusted-key`,
            `file-missing`, `file-differs` or `extra-file`.
    """
    at = moment(now)
    payload, signatures, hint = _opened(bundle)
    if hint not in ("", _hint(key)):
        raise VerificationError(
            "untrusted-key",
            "model signature is by another key",
            facts={"signed by": hint, "expected": _hint(key)},
            hint="both are the sha256 of a public key's PEM",
        )
    if not any(_signed(key, value, pae(PAYLOAD_TYPE, payload)) for value in signatures):
        raise VerificationError(
            "bad-signature",
            "model signature is not by this key, or was changed",
            facts={"key": _hint(key)},
            hint="get it again, and make sure of the key",
        )
    name, signed, ignored = read_resources(payload)
    files = {f.name: f.sha256 for f in found.files}
    left_out = [n for n in files if n not in signed and _within(n, ignored)]
    _require_same(signed, {n: digest for n, digest in files.items() if n not in left_out})
    return ModelSignature(
        bundle_sha256=sha256_bytes(bundle),
        signed_name=name,
        key_sha256=sha256_bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        curve=key.curve.name,
        model=found,
        not_covered=tuple(left_out),
        verified_at=at,
    )


def load_ec_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """
    Read a private ECDSA key in PEM.

    Raises:
        SigningKeyError: it is missing, others may read it, it is encrypted, or of a kind that the format has not.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read()
    except OSError as exc:
        raise SigningKeyError("cannot read the key", facts={"file": path, "because": exc.strerror}) from exc
    if mode & 0o077:
        raise SigningKeyError(
            "others may read this private key",
            facts={"file": path, "expected": "0600", "actual": f"{mode:04o}"},
            hint=f"chmod 600 {path}, and make a new key if others could have read it",
        )
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SigningKeyError("not an unencrypted private key in PEM", facts={"file": path}) from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise _wrong_kind(path, key)
    return key


def load_ec_public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """
    Read a public ECDSA key in PEM.

    Raises:
        SigningKeyError: it cannot be read, or is of a kind that the format has not.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as exc:
        raise SigningKeyError("cannot read the key", facts={"file": path, "because": exc.strerror}) from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise SigningKeyError("not a public key in PEM", facts={"file": path}) from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise _wrong_kind(path, key)
    return key


def _wrong_kind(path: Path, key: object) -> SigningKeyError:
    actual = (
        key.curve.name
        if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey)
        else type(key)
    )
    return SigningKeyError(
        "key is of a kind that model signatures do not have",
        facts={"file": path, "expected": f"ECDSA on {', '.join(_HASHES)}", "actual": actual},
        hint="make one with `openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem`, mode 0600",
    )


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    """How a bundle names its key: the sha256 of the PEM as OpenSSL writes it."""
    return sha256_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _signed(key: ec.EllipticCurvePublicKey, value: bytes, message: bytes) -> bool:
    try:
        key.verify(value, message, ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def _opened(bundle: bytes) -> tuple[bytes, list[bytes], str]:
    """The payload, the signatures and the key's hint of a bundle that was signed with a key."""
    if len(bundle) > MAX_ENVELOPE_BYTES:
        raise _malformed(f"{len(bundle)} bytes, at most {MAX_ENVELOPE_BYTES}")
    try:
        value = parse_json(bundle)
    except RecordError as exc:
        raise _malformed(exc) from exc
    match value:
        case {
            "mediaType": str(kind),
            "verificationMaterial": dict(material),
            "dsseEnvelope": {
                "payload": str(text),
                "payloadType": str(payload_type),
                "signatures": list(signed),
            },
        }:
            if kind != BUNDLE_TYPE or payload_type != PAYLOAD_TYPE:
                raise _malformed(
                    f"expected {BUNDLE_TYPE} around {PAYLOAD_TYPE}, found {kind} around {payload_type}"
                )
            payload, values = decode_base64(text), [_value(one) for one in signed]
            if payload is None or not values:
                raise _malformed("payload or signatures are not canonical base64")
            return payload, values, _key_hint(material)
    raise _malformed("expected mediaType, verificationMaterial and dsseEnvelope")


def _value(one: Any) -> bytes:
    match one:
        case {"sig": str(text)} if (value := decode_base64(text)) is not None:
            return value
    raise _malformed("a signature is not canonical base64")


def _key_hint(material: dict[str, Any]) -> str:
    match material:
        case {"publicKey": {"hint": str(hint)}}:
            return hint
        case {"publicKey": dict()}:
            return ""
    raise VerificationError(
        "untrusted-key",
        "model signature is not by a key",
        facts={"signed with": ", ".join(sorted(set(material) - {"tlogEntries"})) or "nothing"},
        hint="signatures with a certificate or a Sigstore identity are verified by `model_signing verify`, not here",
    )


def _within(name: str, ignored: Iterable[str]) -> bool:
    return any(name == path or name.startswith(f"{path}/") for path in ignored)


def _require_same(signed: dict[str, str], found: dict[str, str]) -> None:
    reasons = {
        "file-missing": [n for n in signed if n not in found],
        "file-differs": [n for n in signed if n in found and signed[n] != found[n]],
        "extra-file": [n for n in found if n not in signed],
    }
    for reason, names in reasons.items():
        if names:
            facts: dict[str, object] = {str(i): n for i, n in enumerate(names[:20], start=1)}
            if len(names) > 20:
                facts["and more"] = len(names) - 20
            raise VerificationError(
                reason,
                "model signature is of another folder",
                facts={"reason": reason.replace("-", " "), **facts},
                hint="get the files again as they were signed",
            )


def _malformed(because: object) -> VerificationError:
    return VerificationError(
        "malformed",
        "not a model signature",
        facts={"because": because},
        hint="give the Sigstore bundle that model-signing wrote, such as `model.sig`",
    )
