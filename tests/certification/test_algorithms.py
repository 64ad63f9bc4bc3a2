"""Keys of two algorithms: each signature is checked by its key's own, in one form, and by nothing the envelope says."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.certification import (
    Envelope,
    PublicKey,
    SigningKey,
    TrustStore,
    approve,
    generate_key,
    import_public_key,
    load_key,
    load_public_key,
    public_path,
)
from recert.certification.signing.algorithms import _ORDER, in_one_form, is_public
from recert.digest import canonical_json, sha256_bytes
from recert.errors import SigningKeyError


def make(folder: Any, algorithm: Any, role: str = "approver", name: str = "Pia") -> SigningKey:
    """Make a key of an algorithm."""
    return generate_key(folder / f"{algorithm}.pem", role, name, algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256"])
def test_a_key_of_either_kind_is_read_back_and_signs(tmp_path, algorithm):
    """
    It signs what its public half verifies, and nothing else does.
    """
    made = make(tmp_path, algorithm)
    read = load_key(tmp_path / f"{algorithm}.pem")

    assert read == made
    assert read.public.algorithm == algorithm
    assert load_public_key(tmp_path / f"{algorithm}.pub").signed(read.sign(b"message"), b"message")
    assert not read.public.signed(read.sign(b"message"), b"other")
    assert not read.public.signed(b"", b"message")


def test_a_certificate_may_be_signed_by_keys_of_both_kinds(world, tmp_path):
    """
    An Ed25519 evaluator and a P-256 approver: it verifies, and without the approver's it does not.
    """
    key = make(tmp_path, "ecdsa-p256")
    trust = TrustStore(
        [key.public, *(world.keys[r].public for r in ("evaluator", "status", "trainer", "screener"))]
    )
    draft = world.certify(approvers=[key.public], trust=trust).envelope
    envelope = approve(draft, key)

    assert [a.name for a in world.verify(envelope=envelope, trust=trust).signers] == ["Evaluator", "Pia"]
    assert world.refusal(envelope=draft, trust=trust).reason == "missing-role"
    broken = Envelope.from_json(envelope)
    broken = replace(
        broken, signatures=(broken.signatures[0], replace(broken.signatures[1], value=bytes(64)))
    )
    assert world.refusal(envelope=broken.to_json(), trust=trust).reason == "bad-signature"


def test_an_ed25519_key_is_written_as_before(tmp_path):
    """
    Its `.pub` file names no algorithm, so that an earlier Recert reads it; an earlier file is read.
    """
    value = json.loads(make(tmp_path, "ed25519").public.to_json())
    other = json.loads(make(tmp_path, "ecdsa-p256").public.to_json())

    assert sorted(value) == ["key_id", "name", "public_key", "roles"]
    assert other["algorithm"] == "ecdsa-p256"
    assert len(base64.b64decode(other["public_key"])) == 65


@pytest.mark.parametrize(("first", "second"), [("ed25519", "ecdsa-p256"), ("ecdsa-p256", "ed25519")])
def test_no_key_passes_for_one_of_the_other_kind(tmp_path, first, second):
    """
    A public half that is said to be of another algorithm is no key, and spoils the trust store.
    """
    value = json.loads(make(tmp_path, first).public.to_json()) | {"algorithm": second}
    path = tmp_path / "confused.pub"
    path.write_bytes(canonical_json(value))
    with pytest.raises(SigningKeyError, match="not a public key file"):
        load_public_key(path)
    path.write_bytes(canonical_json(value | {"algorithm": "none"}))
    with pytest.raises(SigningKeyError, match="not a public key file"):
        load_public_key(path)


def test_a_point_must_lie_on_the_curve_and_be_written_in_full():
    """
    Neither a point that is none, nor a compressed one, is a key: one key has one id.
    """
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    whole = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    short = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    off = whole[:-1] + bytes([whole[-1] ^ 1])
    for raw in (short, off, b"\x06" + whole[1:], bytes(65), whole + b"\x00"):
        with pytest.raises(ValueError, match="raw key of ecdsa-p256"):
            PublicKey(
                key_id=sha256_bytes(raw),
                algorithm="ecdsa-p256",
                public_key=base64.b64encode(raw).decode(),
                roles=("approver",),
            )


def test_an_ecdsa_signature_has_one_form(tmp_path):
    """
    The larger `s`, which is as good to others, and DER that is not minimal do not verify.
    """
    key = make(tmp_path, "ecdsa-p256")
    for number in range(20):
        message = b"message %d" % number
        signature = key.sign(message)
        r, s = decode_dss_signature(signature)
        larger = encode_dss_signature(r, _ORDER - s)

        assert s <= _ORDER // 2
        assert key.public.signed(signature, message)
        assert not key.public.signed(larger, message)
        assert in_one_form(larger) == signature
        for other in (signature + b"\x00", b"\x30\x81" + signature[1:], signature[:-1]):
            assert not key.public.signed(other, message)


@given(data=st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_no_bytes_are_a_signature_by_chance(data):
    """
    Whatever stands in the place of a signature is a no, never a crash.
    """
    for key in KEYS:
        assert not key.signed(data, b"message")


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_spoils_a_signature_of_either_kind(at, bit):
    """
    No bit of a signature can change and leave it good.
    """
    for key in SIGNERS:
        damaged = bytearray(key.sign(b"message"))
        damaged[int(at * len(damaged))] ^= 1 << bit

        assert not key.public.signed(bytes(damaged), b"message")


def test_the_public_half_of_a_key_kept_elsewhere_is_taken_in(tmp_path):
    """
    From PEM; other curves and kinds are refused, and no file is overwritten.
    """
    held = ec.generate_private_key(ec.SECP256R1())
    pem = tmp_path / "held.pem"
    pem.write_bytes(held.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    made = import_public_key(tmp_path / "hsm.pem", pem, "approver", "Pia")

    assert load_public_key(public_path(tmp_path / "hsm.pem")) == made
    assert made.algorithm == "ecdsa-p256"
    assert not (tmp_path / "hsm.pem").exists()
    with pytest.raises(SigningKeyError, match="not there yet"):
        import_public_key(tmp_path / "hsm.pem", pem, "approver", "Pia")
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SigningKeyError, match="wrong kind"):
        import_public_key(tmp_path / "other.pem", pem, "approver", "Pia")
    pem.write_bytes(b"-----BEGIN")
    with pytest.raises(SigningKeyError, match="not a public key in PEM"):
        import_public_key(tmp_path / "other.pem", pem, "approver", "Pia")
    with pytest.raises(SigningKeyError, match="cannot read"):
        import_public_key(tmp_path / "other.pem", tmp_path / "none.pem", "approver", "Pia")


def _signers() -> list[SigningKey]:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return [make(Path(folder), "ed25519"), make(Path(folder), "ecdsa-p256")]


SIGNERS = _signers()
KEYS = [key.public for key in SIGNERS]


P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
LOW_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)
"""The eight points of order 1, 2, 4 and 8, and their encodings that are not canonical: all fourteen there are."""


def _added(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Return the sum of two points of the curve, by RFC 8032's formulas."""
    product = D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, -1, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P)
    return x % P, y % P


def _point_of(raw: bytes) -> tuple[int, int]:
    """Return the point that an encoding stands for, read as leniently as libraries do."""
    whole = int.from_bytes(raw, "little")
    y, sign = whole % 2**255 % P, whole >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return (x if x & 1 == sign else -x % P), y


def test_the_list_of_points_of_low_order_is_whole():
    """
    Each of the fourteen encodings is of a point that is nothing after eight additions, and they are all eight points.
    """
    points = set()
    for text in LOW_ORDER:
        point = _point_of(bytes.fromhex(text))
        total = (0, 1)
        for _ in range(8):
            total = _added(total, point)
        points.add(point)

        assert total == (0, 1)

    assert len(set(LOW_ORDER)) == 14
    assert len(points) == 8


@pytest.mark.parametrize("text", LOW_ORDER)
def test_a_point_of_low_order_is_no_key(text):
    """
    No encoding of a point of low order, for which anybody can sign, is taken for a public key.
    """
    raw = bytes.fromhex(text)

    assert not is_public("ed25519", raw)
    with pytest.raises(ValueError, match="raw key of ed25519"):
        PublicKey(key_id=sha256_bytes(raw), public_key=base64.b64encode(raw).decode(), roles=("approver",))


def test_an_ed25519_key_has_one_encoding():
    """
    A y of p or above is no key, whatever point it would be; nor is a y without a point. One key has one id.
    """
    beyond = [(P + y) | (sign << 255) for y in range(19) for sign in (0, 1)]
    nowhere = [y for y in range(2, 60) if pow((y * y - 1) * (D * y * y + 1), (P - 1) // 2, P) != 1]

    assert nowhere
    assert not any(is_public("ed25519", n.to_bytes(32, "little")) for n in (*beyond, *nowhere))
    assert not is_public("ed25519", bytes([9]) * 31)
    assert all(
        is_public("ed25519", Ed25519PrivateKey.generate().public_key().public_bytes_raw()) for _ in range(200)
    )
