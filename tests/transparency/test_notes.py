"""Signed notes and checkpoints, as other tools write and read them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.certification import PublicKey, SigningKey, TrustStore, generate_key
from recert.certification.log.checkpoints import LogCheckpoint, read_checkpoint, sign_checkpoint
from recert.certification.log.notes import Note, read_verifier_key, verifier_key
from recert.digest import sha256_bytes
from recert.errors import RecordError, SigningKeyError, VerificationError

NOW = datetime(2026, 6, 1, tzinfo=UTC)

NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
NEUMANN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example of Go's `sumdb/note`, where the format comes from."""

SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
BEHIND_THE_SOFA = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
"""The example of tlog-checkpoint: a head of Go's checksum database, with another name put in."""

ARCHE = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
REMORA = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
WITNESSED = (
    "arche2025h1.staging.ct.transparency.dev\n"
    "1432088532\n"
    "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
    "\n"
    "— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIg"
    "IpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n"
    "— arche2025h1.staging.ct.transparency.dev "
    "ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n"
    "— remora.n621.de "
    "2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n"
)
"""A checkpoint of a log in use, with one of its witnesses' cosignatures."""


def public_key(vkey: str, role: str) -> tuple[str, PublicKey]:
    """Read `NAME+HASH+KEY`, whose last part may hold a plus."""
    name, _, text = vkey.split("+", 2)
    raw = base64.b64decode(text)[1:]
    return name, PublicKey(
        key_id=sha256_bytes(raw), name=name, public_key=base64.b64encode(raw).decode(), roles=(role,)
    )


@pytest.fixture
def log_key(tmp_path: Path) -> SigningKey:
    return generate_key(tmp_path / "log.pem", "log", "example.com/models")


@pytest.fixture
def witness(tmp_path: Path) -> SigningKey:
    return generate_key(tmp_path / "witness.pem", "witness", "example.org/w1")


def test_a_note_of_another_tool_is_read_and_written() -> None:
    """Go's own example reads, verifies, and is signed to the same bytes."""
    name, key = public_key(NEUMANN, "log")
    private = Ed25519PrivateKey.from_private_bytes(NEUMANN_SEED)
    note = Note.parse(NEUMANN_NOTE.encode())
    ours = Note(note.text, ()).signed_by(name, SigningKey(public=key, sign=private.sign))

    assert note.is_signed_by(name, key)
    assert not note.is_signed_by("AnotherName", key)
    assert ours.to_bytes() == NEUMANN_NOTE.encode() == note.to_bytes()
    assert verifier_key(name, key) == NEUMANN


def test_the_example_of_the_checkpoint_specification_is_read() -> None:
    """Its parts are read, and its signature is that of Go's checksum database, whose head it is."""
    checkpoint = LogCheckpoint.parse(BEHIND_THE_SOFA.encode())
    name, key = public_key(SUMDB, "log")
    theirs = BEHIND_THE_SOFA.replace("example.com/behind-the-sofa\n", "go.sum database tree\n").replace(
        "— example.com/behind-the-sofa", f"— {name}"
    )

    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root == base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    assert checkpoint.to_bytes() == BEHIND_THE_SOFA.encode()
    assert Note.parse(theirs.encode()).is_signed_by(name, key)
    assert not Note.parse(BEHIND_THE_SOFA.encode()).is_signed_by(name, key)


def test_a_witness_of_another_log_is_counted() -> None:
    """A checkpoint in use is signed by its log and counts its witness; signatures of other kinds are passed over."""
    _, log = public_key(ARCHE, "log")
    _, witness = public_key(REMORA, "witness")
    trust = TrustStore([log, witness])
    checkpoint = read_checkpoint(WITNESSED.encode(), trust=trust, now=NOW)

    assert checkpoint.witnessed(trust, now=NOW) == {
        witness.key_id: datetime(2026, 5, 23, 21, 50, 24, tzinfo=UTC)
    }
    assert checkpoint.witnessed(trust, now=datetime(2026, 5, 1, tzinfo=UTC)) == {}
    assert checkpoint.witnessed(TrustStore([log]), now=NOW) == {}
    assert verifier_key("remora.n621.de", witness, witness=True) == REMORA
    with pytest.raises(VerificationError) as caught:
        read_checkpoint(WITNESSED.replace("1432088532", "1432088533").encode(), trust=trust, now=NOW)
    assert caught.value.reason == "checkpoint-untrusted"


def test_a_log_and_its_witnesses_sign_one_checkpoint(log_key: SigningKey, witness: SigningKey) -> None:
    """Cosignatures are added to the note; a key signs under its own name and in its own role only."""
    trust = TrustStore([log_key.public, witness.public])
    checkpoint = sign_checkpoint("example.com/models", 7, b"r" * 32, log_key)
    cosigned = checkpoint.cosigned(witness, now=NOW)
    read = read_checkpoint(cosigned.to_bytes(), trust=trust, now=NOW)

    assert read == cosigned
    assert read.witnessed(trust, now=NOW) == {witness.key_id: NOW}
    assert read.witnessed(trust, now=NOW - timedelta(seconds=1)) == {}
    assert checkpoint.witnessed(trust, now=NOW) == {}
    with pytest.raises(SigningKeyError):
        sign_checkpoint("example.com/other", 7, b"r" * 32, log_key)
    with pytest.raises(SigningKeyError):
        sign_checkpoint("example.org/w1", 7, b"r" * 32, witness)
    with pytest.raises(SigningKeyError):
        checkpoint.cosigned(log_key, now=NOW)


def test_keys_of_other_tools_are_read_for_one_role() -> None:
    """A log's key and a witness's are told apart by their kind, and read to what they are written from."""
    witness, log = read_verifier_key(REMORA, "witness"), read_verifier_key(NEUMANN + "\n", "log")

    assert (witness, log) == (public_key(REMORA, "witness")[1], public_key(NEUMANN, "log")[1])
    for text, role in (
        (REMORA, "log"),
        (NEUMANN, "witness"),
        (NEUMANN[:-1], "log"),
        ("", "log"),
        ("a+b+c", "log"),
    ):
        with pytest.raises(RecordError):
            read_verifier_key(text, role)


def test_a_log_s_key_speaks_for_a_log_of_its_name_only(log_key: SigningKey, tmp_path: Path) -> None:
    """Whoever runs one trusted log cannot sign for another."""
    other = generate_key(tmp_path / "other.pem", "log", "example.com/other")
    trust = TrustStore([log_key.public, other.public])
    note = Note(sign_checkpoint("example.com/models", 7, b"r" * 32, log_key).note.text, ())
    forged = note.signed_by("example.com/models", other).to_bytes()

    with pytest.raises(VerificationError) as caught:
        read_checkpoint(forged, trust=trust, now=NOW)
    assert caught.value.reason == "checkpoint-untrusted"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "a\n\n",
        "a\n\n— a \n",
        "a\n\n— a AAAA\n",
        "a\n\n— a AAAAAA=\n",
        "a\n\n- a AAAAAAA=\n",
        "a\n\n— a+b AAAAAAA=\n",
        "a\n\n— a AAAAAAA=",
        "a\n\n— a AAAAAAA=\n\n",
        "a\n\n— a  AAAAAAA=\n",
        "a\x01\n\n— a AAAAAAA=\n",
        "a\n\n" + "— a AAAAAAA=\n" * 65,
        "a" * 300_000 + "\n\n— a AAAAAAA=\n",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_what_is_no_note_is_refused(text: str) -> None:
    """Other forms of what looks like a note are refused with RecordError."""
    with pytest.raises(RecordError):
        Note.parse(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n{root}",
        "o\n01\n{root}\n",
        "o\n-1\n{root}\n",
        "o\n0\n{root}\n",
        "o\n1.0\n{root}\n",
        "o\n99999999999999999\n{root}\n",
        "o\n1\nAAAA\n",
        "\n1\n{root}\n",
        "o\n{root}\n",
        "o\n1\n{root}\n\nmore\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str, log_key: SigningKey) -> None:
    """A signed note of another form is no checkpoint."""
    note = Note(text.format(root=base64.b64encode(b"r" * 32).decode()), ())
    signed = note.signed_by("example.com/models", log_key).to_bytes()

    with pytest.raises(RecordError):
        LogCheckpoint.parse(signed)


@given(data=st.binary(max_size=300) | st.text(alphabet="ab\n— +=1", max_size=80).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_anything_reads_as_it_stands_or_is_refused(data: bytes) -> None:
    """Bytes that read as a note are written back as they were; all others are refused with RecordError."""
    try:
        note = Note.parse(data)
    except RecordError:
        return

    assert note.to_bytes() == data


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_one_flipped_bit_never_makes_a_checkpoint_say_something_else(place: float, bit: int) -> None:
    """A damaged checkpoint is refused, or says what it said."""
    _, log = public_key(ARCHE, "log")
    trust = TrustStore([log])
    damaged = bytearray(WITNESSED.encode())
    damaged[int(place * len(damaged))] ^= 1 << bit
    try:
        said = read_checkpoint(bytes(damaged), trust=trust, now=NOW)
    except VerificationError:
        return
    whole = read_checkpoint(WITNESSED.encode(), trust=trust, now=NOW)

    assert (said.origin, said.size, said.root) == (whole.origin, whole.size, whole.root)
