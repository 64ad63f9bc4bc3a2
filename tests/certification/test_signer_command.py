"""A command that signs: what a token, a module or a key service does, tried with `openssl`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recert.certification import TrustStore, approve, command_signer, generate_key, import_public_key
from recert.certification.signing.keys import SigningKey
from recert.errors import SigningKeyError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

P256 = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def openssl(*words: object) -> None:
    """Run openssl."""
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def held_by_openssl(folder: Path, *kind: str) -> SigningKey:
    """Make a key with openssl, and return it as one whose signatures openssl makes."""
    openssl("genpkey", *kind, "-out", folder / "held.key")
    openssl("pkey", "-in", folder / "held.key", "-pubout", "-out", folder / "held.pem")
    public = import_public_key(folder / "hsm.pem", folder / "held.pem", "approver", "Pia")
    return command_signer(public, f"openssl dgst -sha256 -sign {folder / 'held.key'}")


def test_openssl_signs_a_certificate(world, tmp_path):
    """
    A P-256 key that Recert never sees signs as approver, and the certificate verifies.
    """
    key = held_by_openssl(tmp_path, *P256)
    trust = TrustStore(
        [key.public, *(world.keys[r].public for r in ("evaluator", "status", "trainer", "screener"))]
    )
    envelope = approve(world.certify(approvers=[key.public], trust=trust).envelope, key)

    assert [a.name for a in world.verify(envelope=envelope, trust=trust).signers] == ["Evaluator", "Pia"]


def test_whatever_s_openssl_makes_it_is_written_in_one_form(tmp_path):
    """
    Half of what devices sign has the larger `s`: each of twenty is good all the same.
    """
    key = held_by_openssl(tmp_path, *P256)

    assert all(key.public.signed(key.sign(b"%d" % n), b"%d" % n) for n in range(20))


def test_openssl_signs_with_ed25519(tmp_path):
    """
    Through a file, since openssl wants one; the docs have this very line.
    """
    key = held_by_openssl(tmp_path, "-algorithm", "ed25519")
    line = f"cat >message && openssl pkeyutl -sign -rawin -inkey {tmp_path / 'held.key'} -in message"
    signer = command_signer(key.public, f"sh -c 'cd {tmp_path} && {line}'")

    assert key.public.signed(signer.sign(b"message"), b"message")


ANSWERS = {
    "der": "out = der",
    "base64": "out = base64.encodebytes(der)",
    "r and s": "out = b''.join(n.to_bytes(32, 'big') for n in decode_dss_signature(der))",
    "r and s in base64": "out = base64.b64encode(b''.join(n.to_bytes(32, 'big') for n in decode_dss_signature(der)))",
}


@pytest.mark.parametrize("form", ANSWERS)
def test_each_form_that_devices_give_is_understood(tmp_path, form):
    """
    DER, or `r` and `s` as PKCS#11 has them, as they are or in base64.
    """
    key = generate_key(tmp_path / "p.pem", "approver", "Pia", algorithm="ecdsa-p256")
    program = tmp_path / "device.py"
    program.write_text(
        "import base64, sys\nfrom pathlib import Path\n"
        "from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature\n"
        "from recert.certification import load_key\n"
        f"der = load_key(Path({str(tmp_path / 'p.pem')!r})).sign(sys.stdin.buffer.read())\n"
        f"{ANSWERS[form]}\nsys.stdout.buffer.write(out)\n"
    )
    signer = command_signer(key.public, f"{sys.executable} {program}")

    assert key.public.signed(signer.sign(b"message"), b"message")


def test_what_is_no_signature_by_this_key_is_not_used(tmp_path):
    """
    Of another key, of another message, or nothing at all: an error, and nothing is signed.
    """
    one = held_by_openssl(tmp_path, *P256)
    (tmp_path / "other").mkdir()
    other = held_by_openssl(tmp_path / "other", *P256)
    for command in (
        f"openssl dgst -sha256 -sign {tmp_path / 'other' / 'held.key'}",
        f"sh -c 'printf other | openssl dgst -sha256 -sign {tmp_path / 'held.key'}'",
        "true",
        "cat",
        "head -c 100000 /dev/zero",
    ):
        with pytest.raises(SigningKeyError, match="no signature by this key"):
            command_signer(one.public, command).sign(b"message")
    assert other.public.key_id != one.public.key_id


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "is empty"),
        ("sign 'it", "cannot be understood"),
        ("no-such-program-here", "cannot run"),
        ("false", "failed"),
    ],
)
def test_a_command_that_does_not_sign_is_an_error(tmp_path, command, said):
    """
    It says which: empty, garbled, not there, or failed.
    """
    public = generate_key(tmp_path / "p.pem", "approver", "Pia").public

    with pytest.raises(SigningKeyError, match=said):
        command_signer(public, command).sign(b"message")


def test_a_command_that_hangs_is_ended(tmp_path):
    """
    A token that nobody touches ends in an error after its time.
    """
    public = generate_key(tmp_path / "p.pem", "approver", "Pia").public
    began = time.monotonic()

    with pytest.raises(SigningKeyError, match="took too long"):
        command_signer(public, "sleep 60", timeout_s=0.3).sign(b"message")
    assert time.monotonic() - began < 30
