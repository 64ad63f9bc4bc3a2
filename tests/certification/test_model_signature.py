"""OpenSSF model signatures: theirs verify here, ours verify there, and what does not hold is refused with a reason."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import BASE_FILES, make_manifest, write_model
from recert.certification.signing.envelope import pae
from recert.digest import canonical_json
from recert.errors import SigningKeyError, VerificationError
from recert.evaluation.report.notes import read_evidence
from recert.interop.openssf.model_signature import (
    load_ec_key,
    load_ec_public_key,
    sign_model,
    verify_model_signature,
)
from recert.records.data.manifest import Manifest
from recert.records.signed.certificate import PAYLOAD_TYPE
from recert.records.signed.model_signature import ModelSignature

KEY = ec.generate_private_key(ec.SECP256R1())
FOUND = make_manifest(BASE_FILES)
SIGNED = sign_model(FOUND, "base", KEY)
HUB_FILES = {**BASE_FILES, ".gitattributes": b"*.safetensors filter=lfs"}


def pem(key: Any, password: bytes | None = None) -> bytes:
    """Return a private key in PEM."""
    how = BestAvailableEncryption(password) if password else NoEncryption()
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return data


def public_pem(key: Any) -> bytes:
    """Return the public half in PEM."""
    data: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return data


def key_files(folder: Path, key: Any = KEY) -> tuple[Path, Path]:
    """Write a key's halves, and return their files."""
    private, public = folder / "signer.pem", folder / "signer.pub.pem"
    private.write_bytes(pem(key))
    private.chmod(0o600)
    public.write_bytes(public_pem(key))
    return private, public


def changed(*path: str | int, to: Any) -> bytes:
    """Return the bundle with one value changed."""
    value = json.loads(SIGNED)
    at = value
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = to
    return json.dumps(value).encode()


def signed_over(**changes: Any) -> bytes:
    """Return a bundle properly signed over a statement with some fields of its predicate changed."""
    value = json.loads(SIGNED)
    statement = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
    for name, new in changes.items():
        where = statement if name in statement else statement["predicate"]
        where[name] = new
    payload = canonical_json(statement)
    hashed = ec.ECDSA(hashes.SHA256())
    value["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    value["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(
        KEY.sign(pae(PAYLOAD_TYPE, payload), hashed)
    ).decode()
    return json.dumps(value).encode()


def reason(bundle: bytes, found: Manifest = FOUND, key: Any = KEY) -> str:
    """Return why a signature is refused."""
    with pytest.raises(VerificationError) as refused:
        verify_model_signature(bundle, found, key.public_key())
    return refused.value.reason


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_signature_holds_for_its_folder(curve: ec.EllipticCurve) -> None:
    """On each curve of the format it says by which key, over how many files, and what the model is called."""
    key = ec.generate_private_key(curve)
    held = verify_model_signature(sign_model(FOUND, "the base", key), FOUND, key.public_key())

    assert (held.signed_name, held.curve, held.covered, held.not_covered) == ("the base", curve.name, 3, ())
    assert held.model == FOUND
    assert ModelSignature.from_json(held.to_json()) == held


def test_files_of_git_are_left_out_and_named() -> None:
    """Other verifiers pass over them, so a signature does not cover them: the record says which ones."""
    found = make_manifest(HUB_FILES)
    held = verify_model_signature(sign_model(found, "base", KEY), found, KEY.public_key())

    assert held.not_covered == (".gitattributes",)
    assert held.covered == len(found.files) - 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({**BASE_FILES, "extra.py": b"import os"}, "extra-file"),
        ({**BASE_FILES, "model.safetensors": b"other weights"}, "file-differs"),
        ({k: v for k, v in BASE_FILES.items() if k != "config.json"}, "file-missing"),
        ({("renamed.json" if k == "config.json" else k): v for k, v in BASE_FILES.items()}, "file-missing"),
    ],
)
def test_another_folder_is_refused(files: dict[str, bytes], expected: str) -> None:
    """One more file, one less, other bytes, or the same bytes under another name, which no root digest sees."""
    assert reason(SIGNED, make_manifest(files)) == expected


def test_another_key_is_refused() -> None:
    """By the bundle's own word it is by another key; where that word is taken away, the signature does not verify."""
    other = ec.generate_private_key(ec.SECP256R1())

    assert reason(SIGNED, key=other) == "untrusted-key"
    assert reason(changed("verificationMaterial", "publicKey", to={}), key=other) == "bad-signature"


@pytest.mark.parametrize(
    "material",
    [
        {"x509CertificateChain": {"certificates": [{"rawBytes": "AA=="}]}},
        {"certificate": {"rawBytes": "AA=="}, "tlogEntries": [{}]},
        {},
    ],
)
def test_what_is_not_signed_by_a_key_is_refused(material: dict[str, Any]) -> None:
    """Certificates and Sigstore identities are not looked into here, and are not taken on trust either."""
    assert reason(changed("verificationMaterial", to=material)) == "untrusted-key"


@pytest.mark.parametrize(
    "changes",
    [
        {"predicateType": "https://model_signing/Digests/v0.1"},
        {"serialization": {"method": "shards", "hash_type": "sha256"}},
        {"serialization": {"method": "files", "hash_type": "blake2b"}},
        {"serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": ["."]}},
        {"serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": "x"}},
        {"resources": []},
        {"resources": [{"name": "config.json", "algorithm": "sha256", "digest": "00"}]},
        {"subject": []},
        {"subject": [{"name": "base", "digest": {"sha256": "00" * 32}}]},
    ],
)
def test_a_statement_that_cannot_be_relied_on_is_refused(changes: dict[str, Any]) -> None:
    """Signed or not: another predicate, pieces, another digest, nothing listed, or a root that is not the list's."""
    assert reason(signed_over(**changes)) == "malformed"


@given(at=st.integers(0, len(SIGNED) - 1), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_one_flipped_bit_never_changes_what_is_signed(at: int, bit: int) -> None:
    """A damaged signature is refused with a reason, or says exactly what it said."""
    damaged = bytearray(SIGNED)
    damaged[at] ^= 1 << bit
    try:
        held = verify_model_signature(bytes(damaged), FOUND, KEY.public_key())
    except VerificationError:
        return

    whole = verify_model_signature(SIGNED, FOUND, KEY.public_key())
    assert held.model_copy(update={"bundle_sha256": "", "verified_at": None}) == whole.model_copy(
        update={"bundle_sha256": "", "verified_at": None}
    )


@given(data=st.one_of(st.binary(max_size=80), st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["mediaType", "verificationMaterial", "dsseEnvelope", "publicKey", "payload"]),
                      inner, max_size=4),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_whatever_is_no_bundle_is_refused_with_a_reason(data: bytes) -> None:
    """Any bytes and any JSON raise VerificationError and nothing else."""
    assert reason(data) in ("malformed", "untrusted-key", "bad-signature")


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    """An Ed25519 key, another curve, one encrypted, one that others may read, none at all: each says what to do."""
    path = tmp_path / "key.pem"
    for key, said in (
        (pem(ed25519.Ed25519PrivateKey.generate()), "of a kind"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "of a kind"),
        (pem(KEY, b"password"), "unencrypted"),
        (b"nothing", "unencrypted"),
    ):
        path.write_bytes(key)
        path.chmod(0o600)
        with pytest.raises(SigningKeyError, match=said):
            load_ec_key(path)
    path.write_bytes(pem(KEY))
    path.chmod(0o644)
    with pytest.raises(SigningKeyError, match="others may read"):
        load_ec_key(path)
    with pytest.raises(SigningKeyError, match="cannot read"):
        load_ec_key(tmp_path / "none.pem")
    with pytest.raises(SigningKeyError, match="not a public key"):
        load_ec_public_key(path)


def test_a_verified_signature_is_evidence_about_the_base() -> None:
    """Its note names the key, the files it covers and leaves out, and the manifest that an evaluation must have."""
    found = make_manifest(HUB_FILES)
    held = verify_model_signature(sign_model(found, "base", KEY), found, KEY.public_key())
    note = read_evidence(held.to_json())

    assert (note.n, note.counts, note.manifest_sha256) == (3, "files", found.digest)
    assert note.source_sha256 == held.bundle_sha256
    assert note.reason.startswith("evidence of OpenSSF model signing on 3 files: signed by key sha256:")
    assert "not covered: .gitattributes" in note.says


def model_signing(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the real tool; skip where it is not installed or does not start."""
    pytest.importorskip("model_signing", reason="model-signing is not installed", exc_type=ImportError)
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("files", [BASE_FILES, HUB_FILES])
def test_the_real_tool_verifies_our_signature(tmp_path: Path, files: dict[str, bytes]) -> None:
    """`model_signing verify key` takes it, and refuses it for a folder with one byte changed."""
    folder = write_model(tmp_path / "model", files)
    _, public = key_files(tmp_path)
    (tmp_path / "model.sig").write_bytes(sign_model(Manifest.of_folder(folder), "model", KEY))
    arguments = ("verify", "key", folder, "--signature", tmp_path / "model.sig", "--public_key", public)
    good = model_signing(*arguments)
    (folder / "model.safetensors").write_bytes(b"bass weights")
    bad = model_signing(*arguments)

    assert good.returncode == 0, good.stdout + good.stderr
    assert "succeeded" in good.stdout
    assert bad.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("files", [BASE_FILES, HUB_FILES])
def test_a_signature_of_the_real_tool_verifies_here(tmp_path: Path, files: dict[str, bytes]) -> None:
    """What `model_signing sign key` writes, into the folder itself as it does by default, holds here."""
    folder = write_model(tmp_path / "model", files)
    private, public = key_files(tmp_path)
    signature = folder / "model.sig"
    done = model_signing("sign", "key", folder, "--signature", signature, "--private_key", private)
    assert done.returncode == 0, done.stdout + done.stderr
    held = verify_model_signature(
        signature.read_bytes(), Manifest.of_folder(folder), load_ec_public_key(public)
    )

    assert held.covered == len(BASE_FILES)
    assert set(held.not_covered) == {"model.sig", *(set(files) - set(BASE_FILES))}
