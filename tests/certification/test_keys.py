"""Keys, their files, and the trust store."""

from __future__ import annotations

import fcntl
import json
import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from builders import NOW
from recert.certification import PublicKey, TrustStore, generate_key, load_key, load_public_key, public_path
from recert.digest import canonical_json
from recert.errors import SigningKeyError


def test_a_key_is_read_back_as_it_was_made(tmp_path):
    """
    The private file is for its owner alone; reading it gives a key that signs as the public half says.
    """
    path = tmp_path / "keys" / "ada.pem"
    made = generate_key(path, "evaluator", "Ada")
    read = load_key(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made == read
    assert read.public.roles == ("evaluator",)
    assert load_public_key(public_path(path)).signed(read.sign(b"message"), b"message")
    assert not read.public.signed(read.sign(b"message"), b"other")
    assert sorted(p.name for p in path.parent.iterdir()) == ["ada.pem", "ada.pub"]


def test_no_key_is_ever_overwritten(tmp_path):
    """
    Where either half is there already, nothing is written.
    """
    path = tmp_path / "ada.pem"
    generate_key(path, "evaluator", "Ada")
    before = path.read_bytes()

    with pytest.raises(SigningKeyError, match="there already"):
        generate_key(path, "approver", "Bob")
    path.rename(tmp_path / "old.pem")
    with pytest.raises(SigningKeyError, match="there already"):
        generate_key(path, "approver", "Bob")

    assert (tmp_path / "old.pem").read_bytes() == before
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_key_that_others_may_touch_is_refused(tmp_path, mode):
    """
    A private key that its group or the world may read or write is not used.
    """
    path = tmp_path / "ada.pem"
    generate_key(path, "evaluator", "Ada")
    path.chmod(mode)

    with pytest.raises(SigningKeyError, match="others may read"):
        load_key(path)


def test_what_is_no_key_is_said(tmp_path):
    """
    Missing, garbled, of another kind, or half of another pair: each an error, none with key material in it.
    """
    with pytest.raises(SigningKeyError, match="cannot read"):
        load_key(tmp_path / "none.pem")
    path = tmp_path / "ada.pem"
    generate_key(path, "evaluator", "Ada")
    pem = path.read_bytes()
    generate_key(tmp_path / "bob.pem", "approver", "Bob")
    public_path(path).write_bytes(public_path(tmp_path / "bob.pem").read_bytes())
    with pytest.raises(SigningKeyError, match="another key"):
        load_key(path)
    public_path(path).unlink()
    with pytest.raises(SigningKeyError, match="cannot read"):
        load_key(path)
    other = generate_private_key(SECP384R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SigningKeyError, match="wrong kind"):
        load_key(path)
    path.write_bytes(pem[:60])
    with pytest.raises(SigningKeyError, match="PEM") as caught:
        load_key(path)
    assert pem.splitlines()[1].decode()[:20] not in str(caught.value)


def test_a_key_never_shows_its_private_half(tmp_path):
    """
    Printing a key shows who holds it, not what it signs with.
    """
    key = generate_key(tmp_path / "ada.pem", "evaluator", "Ada")
    secret = (tmp_path / "ada.pem").read_text().splitlines()[1]

    assert secret not in repr(key)
    assert "sign=" not in repr(key)


def test_a_trust_store_is_a_file_a_folder_or_a_list(tmp_path):
    """
    The three forms of a trust store give the same keys.
    """
    key = generate_key(tmp_path / "ada.pem", "evaluator", "Ada").public
    listed = tmp_path / "keys.json"
    listed.write_bytes(canonical_json({"keys": [json.loads(key.to_json())]}))

    for path in (tmp_path, tmp_path / "ada.pub", listed):
        assert TrustStore.load(path).find(key.key_id, now=NOW) == key
    assert TrustStore.load(tmp_path).find("0" * 64, now=NOW) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.update(key_id="0" * 64),
        lambda value: value.pop("roles"),
        lambda value: value.update(roles=[]),
        lambda value: value.update(public_key="AAAA"),
        lambda value: value.update(expires="2026-01-01T00:00:00Z"),
        lambda value: value.update(expires_at="soon"),
        lambda value: value.clear(),
    ],
)
def test_a_damaged_public_key_is_refused(tmp_path, damage):
    """
    A public key that is not what it says, or has a field nobody knows, spoils the trust store.
    """
    value = json.loads(generate_key(tmp_path / "ada.pem", "evaluator", "Ada").public.to_json())
    damage(value)
    (tmp_path / "ada.pub").write_bytes(canonical_json(value))

    with pytest.raises(SigningKeyError):
        TrustStore.load(tmp_path)


def test_an_empty_or_ambiguous_trust_store_is_refused(tmp_path):
    """
    No keys, no such file, or one key twice: an error, not an answer.
    """
    key = generate_key(tmp_path / "keys" / "ada.pem", "evaluator", "Ada").public
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(SigningKeyError):
            TrustStore.load(path)
    with pytest.raises(SigningKeyError, match="twice"):
        TrustStore([key, key.model_copy(update={"roles": ("approver",)})])


def test_a_public_key_needs_a_role():
    """
    A key for nothing is not a key.
    """
    with pytest.raises(ValueError, match="roles"):
        PublicKey(key_id="0" * 64, public_key="", roles=())


@pytest.mark.slow
def test_verification_loads_neither_torch_nor_numpy():
    """
    Importing the stage is light: no numerical library comes along.
    """
    code = (
        "import sys, recert.certification; print([m for m in ('torch', 'numpy', 'peft') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"


MAKE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from recert.certification import generate_key

path, left = Path(sys.argv[1]), int(sys.argv[2])
WRITES = {"os.link", "os.rename", "os.remove", "os.chmod", "fcntl.flock"}

def die(event, arguments):
    global left
    if event in WRITES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
generate_key(path, "approver", "Ada")
"""
"""Makes a key, and is killed before the given write: of an opening, a lock, a link, a renaming or a removal."""


@pytest.mark.slow
def test_a_key_whose_making_was_killed_is_whole_or_counts_for_nothing(tmp_path):
    """
    Wherever the process was killed: there is a pair that signs, or the next run makes or finishes one, and no
    other copy of the private half is left under another name.
    """
    killed = 0
    for at in range(20):
        path = tmp_path / str(at) / "ada.pem"
        path.parent.mkdir()
        done = subprocess.run([sys.executable, "-c", MAKE_AND_DIE, str(path), str(at)], check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -9
        killed += 1
        before = path.read_bytes() if path.exists() else None
        whole = path.exists() and public_path(path).exists()
        if not whole:
            with pytest.raises(SigningKeyError):
                load_key(path)
            assert not public_path(path).exists()
            made = generate_key(path, "approver", "Ada")
            assert load_key(path) == made
        else:
            with pytest.raises(SigningKeyError, match="there already"):
                generate_key(path, "approver", "Ada")
        assert load_key(path).public.roles == ("approver",)
        assert before in (None, path.read_bytes())
        assert path.stat().st_nlink == 1
    else:
        pytest.fail("the last run was killed too")

    assert killed >= 6


def test_what_no_killed_run_left_is_never_taken_for_a_key(tmp_path):
    """
    A private half that is a link, that others may read, or of another algorithm stays as it is: an error.
    """
    path = tmp_path / "ada.pem"
    generate_key(path, "approver", "Ada")
    public_path(path).unlink()
    with pytest.raises(SigningKeyError, match=r"no \.pub file"):
        generate_key(path, "approver", "Ada", algorithm="ecdsa-p256")
    path.chmod(0o640)
    with pytest.raises(SigningKeyError, match=r"no \.pub file"):
        generate_key(path, "approver", "Ada")
    path.chmod(0o600)
    (tmp_path / "linked.pem").symlink_to(path)
    with pytest.raises(SigningKeyError, match=r"no \.pub file"):
        generate_key(tmp_path / "linked.pem", "approver", "Ada")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SigningKeyError, match=r"no \.pub file"):
            generate_key(path, "approver", "Ada")

    assert not public_path(path).exists()
    assert generate_key(path, "approver", "Ada").public.name == "Ada"
