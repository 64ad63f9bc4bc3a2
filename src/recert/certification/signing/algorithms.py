"""Two kinds of keys: how each signs, and how a signature is checked. The key says which it is, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Algorithm = Literal["ed25519", "ecdsa-p256"]
"""`ed25519` is RFC 8032; `ecdsa-p256` is ECDSA over NIST P-256 with SHA-256, FIPS 186-5."""

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey

RAW_BYTES: Final[dict[Algorithm, int]] = {"ed25519": 32, "ecdsa-p256": 65}
"""Length of a raw public key: an Ed25519 key, or an uncompressed point of P-256."""

_FIELD: Final = 2**255 - 19
_CURVE_D: Final = 37095705934669439343138083508754565189542113879843219016388785533085940283555
"""Of Curve25519 as Ed25519 uses it: -x² + y² = 1 + d·x²·y². Source: RFC 8032, section 5.1."""

_LOW_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        _FIELD - 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""Of the eight points of order 1, 2, 4 and 8: with one of them as the key, a signature is good for many messages."""

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256. Source: SEC 2, section 2.4.2."""


def new_private(algorithm: Algorithm) -> PrivateKey:
    """Return a fresh private key."""
    return (
        ec.generate_private_key(ec.SECP256R1()) if algorithm == "ecdsa-p256" else Ed25519PrivateKey.generate()
    )


def raw_public(public: object) -> tuple[Algorithm, bytes] | None:
    """Return the algorithm and the raw bytes of a public key, or None for one of another kind or curve."""
    if isinstance(public, Ed25519PublicKey):
        return "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return "ecdsa-p256", public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return None


def is_public(algorithm: Algorithm, raw: bytes) -> bool:
    """
    Say whether raw bytes are a public key of an algorithm, in its one form.

    A point must lie on the curve; of Ed25519 it must not be of low order, for which anybody can sign.
    """
    if len(raw) != RAW_BYTES[algorithm]:
        return False
    if algorithm == "ed25519":
        return _is_ed25519_point(raw)
    try:
        _point(raw)
    except ValueError:
        return False
    return True


def is_signature(algorithm: Algorithm, raw: bytes, signature: bytes, message: bytes) -> bool:
    """Say whether the key of these raw bytes made a signature over a message, in the signature's one form."""
    try:
        if algorithm == "ed25519":
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
            return True
        if signature != in_one_form(signature):
            return False
        _point(raw).verify(signature, message, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def signing(private: PrivateKey) -> Callable[[bytes], bytes]:
    """Return the function that signs a message with a private key."""
    if isinstance(private, Ed25519PrivateKey):
        return private.sign
    return lambda message: in_one_form(private.sign(message, ec.ECDSA(SHA256())))


def in_one_form(signature: bytes) -> bytes:
    """
    Return an ECDSA signature in DER with the smaller of its two `s`: (r, s) and (r, -s) are good for the same message.

    Raises:
        ValueError: it is no ECDSA signature in DER.
    """
    r, s = decode_dss_signature(signature)
    if not 0 < s < _ORDER:
        raise ValueError("s is out of range")
    return encode_dss_signature(r, min(s, _ORDER - s))


def readings(algorithm: Algorithm, given: bytes) -> list[bytes]:
    """
    Return what a device may have meant by what it gave back as a signature, each in its one form; none is proven.

    Args:
        algorithm: of the key.
        given: an Ed25519 signature; or an ECDSA one in DER, or as `r` and `s` of 32 bytes each as PKCS#11 has it.
    """
    if algorithm == "ed25519":
        return [given]
    found = []
    if len(given) == 64:
        r, s = int.from_bytes(given[:32], "big"), int.from_bytes(given[32:], "big")
        with suppress(ValueError):
            found.append(in_one_form(encode_dss_signature(r, s)))
    with suppress(ValueError):
        found.append(in_one_form(given))
    return found


def _is_ed25519_point(raw: bytes) -> bool:
    """Say whether 32 bytes are the canonical encoding of a point of the curve that is not of low order."""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _FIELD or y in _LOW_ORDER_Y:
        return False
    # x² = u/v has a root when u·v is a square; only for y = 1 and -1 it is 0, and those are of low order
    u, v = y * y - 1, _CURVE_D * y * y + 1
    return pow(u * v, (_FIELD - 1) // 2, _FIELD) == 1


def _point(raw: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
