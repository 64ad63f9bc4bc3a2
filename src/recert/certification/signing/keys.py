"""Keys: who signs, and as what. Private halves stay in files of mode 0600 or behind a signing function."""

from __future__ import annotations

import base64
import binascii
import fcntl
import glob
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import Field, ValidationError, model_validator

from recert.certification.signing.algorithms import (
    Algorithm,
    PrivateKey,
    is_public,
    is_signature,
    new_private,
    raw_public,
    signing,
)
from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError, SigningKeyError
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, parse_json
from recert.store.files.writing import write_atomic

ROLES: Final = (
    "evaluator",
    "approver",
    "risk-owner",
    "status",
    "screener",
    "trainer",
    "watcher",
    "audit",
    "log",
    "witness",
    "root",
)
"""Roles that Recert itself asks for; a policy may ask for others."""


class PublicKey(Part):
    """
    The public half of a key, with who holds it and the roles it may sign in.

    `key_id` is the sha256 of the raw key, `public_key` the raw key in base64: 32 bytes of Ed25519, or the 65 bytes of
    a point of P-256. From `expires_at` on nothing that it signed counts.
    """

    key_id: Sha256
    name: str = ""
    algorithm: Algorithm = "ed25519"
    public_key: str
    roles: tuple[str, ...] = Field(min_length=1)
    expires_at: Moment | None = None

    @model_validator(mode="after")
    def _named_by_its_digest(self) -> Self:
        raw = decode_base64(self.public_key)
        if raw is None or not is_public(self.algorithm, raw):
            raise ValueError(f"public_key must be a raw key of {self.algorithm} in base64")
        if sha256_bytes(raw) != self.key_id:
            raise ValueError("key_id is not the sha256 of public_key")
        return self

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Say whether this key made that signature over that message, by its own algorithm."""
        return is_signature(self.algorithm, base64.b64decode(self.public_key), signature, message)

    def expired(self, now: datetime) -> bool:
        """Say whether nothing signed by this key counts any more."""
        return self.expires_at is not None and now >= self.expires_at

    def to_json(self) -> bytes:
        """Return the content of the `.pub` file. An Ed25519 key is written as it was before there were others."""
        value = self.model_dump(mode="json", exclude_none=True)
        if self.algorithm == "ed25519":
            del value["algorithm"]
        return canonical_json(value) + b"\n"


@dataclass(frozen=True)
class SigningKey:
    """
    Something that signs: a key from a file, or one in a hardware module or elsewhere behind a function.

    Args:
        public: its public half.
        sign: from the message to the signature, in the form of `spec/certificate.md` §1.
    """

    public: PublicKey
    sign: Callable[[bytes], bytes] = field(repr=False, compare=False)

    @property
    def key_id(self) -> str:
        """The sha256 of the raw public key, 64 hex digits."""
        return self.public.key_id

    def require_role(self, role: str) -> None:
        """
        Return when this key may sign in a role.

        Raises:
            SigningKeyError: it may not.
        """
        if role not in self.public.roles:
            raise SigningKeyError(
                "key is for another role",
                facts={"expected": role, "actual": ", ".join(self.public.roles), "key": self.key_id},
                hint=f"use a key that was made with the role {role}",
            )


def public_path(path: Path) -> Path:
    """Return where the public half of a private key file lies: beside it, ending in `.pub`."""
    return path.with_suffix(".pub")


def generate_key(
    path: Path,
    role: str,
    name: str,
    *,
    algorithm: Algorithm = "ed25519",
    expires_at: datetime | None = None,
) -> SigningKey:
    """
    Make a key: the private half in `path` (mode 0600), the public half beside it as `.pub`.

    The private half is written first: without its `.pub` file nothing that it signs counts. Where a run was killed
    between the two, the next one finishes that pair.

    Raises:
        SigningKeyError: such a key is there already (no key is ever overwritten), what is there is no private half
            that an earlier run left, the role is empty, or the folder cannot be written.
        StoreError: the public half cannot be written; then the private one is removed again.
    """
    shown = public_path(path)
    if shown == path or not role:
        raise SigningKeyError(
            "a private key needs a role and a file that does not end in .pub", facts={"file": path}
        )
    _remove_links(path)
    if shown.exists() or shown.is_symlink():
        raise SigningKeyError(
            "a key is there already",
            facts={"file": shown},
            hint="keys are never overwritten; give another name",
        )
    making = _begun_private if os.path.lexists(path) else _new_private
    with making(path, algorithm) as private:
        public = _public_half(private.public_key(), role, name, path, expires_at)
        write_atomic(shown, public.to_json())
    return SigningKey(public=public, sign=signing(private))


def is_begun(path: Path) -> bool:
    """Say whether there is a private half without its `.pub` file, as a run leaves it that was killed."""
    return path.is_file() and not path.is_symlink() and not os.path.lexists(public_path(path))


@contextmanager
def _begun_private(path: Path, algorithm: Algorithm) -> Iterator[PrivateKey]:
    """Give the private half that a killed run left; anybody else's file is none, nor one that a run is at work on."""
    try:
        if not is_begun(path):
            raise SigningKeyError("it is no file")
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not is_begun(path) or os.fstat(file.fileno()).st_uid != os.geteuid():
                raise SigningKeyError("it is a link, or somebody else's")
            private = _read_private(path)
            if _known(private.public_key(), path)[0] != algorithm:
                raise SigningKeyError("it is of another algorithm")
            yield private
    except (OSError, SigningKeyError) as exc:
        raise SigningKeyError(
            "a key is there already, and has no .pub file",
            facts={"file": path, "because": getattr(exc, "message", exc)},
            hint="keys are never overwritten; give another name, or remove the file if nobody needs it",
        ) from exc


@contextmanager
def _new_private(path: Path, algorithm: Algorithm) -> Iterator[PrivateKey]:
    """Write a private half that only its owner can read, in one step and never over another file, and give it."""
    private = new_private(algorithm)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    except OSError as exc:
        raise SigningKeyError("cannot write the key", facts={"file": path, "because": exc.strerror}) from exc
    with os.fdopen(handle, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # so that no other run finishes this pair meanwhile
            file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
            os.link(temporary, path)  # fails when something is there
        except OSError as exc:
            raise SigningKeyError(
                "cannot write the key", facts={"file": path, "because": exc.strerror}
            ) from exc
        finally:
            Path(temporary).unlink(missing_ok=True)
        try:
            yield private
        except BaseException:
            path.unlink(missing_ok=True)  # half a pair looks like a whole key
            raise


def _remove_links(path: Path) -> None:
    """Remove other names of a private key that a run left which was killed while it gave the key its name."""
    for other in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with suppress(OSError):
            if path.samefile(other) and not other.is_symlink():
                other.unlink()


def import_public_key(
    path: Path, pem: Path, role: str, name: str, *, expires_at: datetime | None = None
) -> PublicKey:
    """
    Write the `.pub` file of a key that is kept elsewhere, from its public half in PEM.

    Args:
        path: where the private half would be; its `.pub` file is written.
        pem: what `openssl pkey -pubout`, a token's tool or a cloud's console gave.
        role: what it signs as.
        name: who holds it.
        expires_at: from when on nothing that it signed counts.

    Raises:
        SigningKeyError: there is such a file already, or the PEM cannot be read or holds another kind of key.
        StoreError: the file cannot be written.
    """
    shown = public_path(path)
    if not role or shown.exists() or shown.is_symlink():
        raise SigningKeyError(
            "a key needs a role, and a `.pub` file that is not there yet", facts={"file": shown}
        )
    try:
        public = load_pem_public_key(pem.read_bytes())
    except OSError as exc:
        raise SigningKeyError("cannot read the key", facts={"file": pem, "because": exc.strerror}) from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise SigningKeyError("not a public key in PEM", facts={"file": pem}) from exc
    half = _public_half(public, role, name, pem, expires_at)
    write_atomic(shown, half.to_json())
    return half


def _public_half(
    public: object, role: str, name: str, source: Path, expires_at: datetime | None
) -> PublicKey:
    algorithm, raw = _known(public, source)
    return PublicKey(
        key_id=sha256_bytes(raw),
        name=name,
        algorithm=algorithm,
        public_key=base64.b64encode(raw).decode(),
        roles=(role,),
        expires_at=expires_at,
    )


def _known(public: object, source: Path) -> tuple[Algorithm, bytes]:
    known = raw_public(public)
    if known is None:
        curve = getattr(getattr(public, "curve", None), "name", "")
        raise SigningKeyError(
            "key is of the wrong kind",
            facts={
                "file": source,
                "expected": "Ed25519, or ECDSA on P-256",
                "actual": f"{type(public).__name__} {curve}".strip(),
            },
        )
    return known


def load_key(path: Path) -> SigningKey:
    """
    Read a private key and the `.pub` file beside it, which says its role and name.

    Raises:
        SigningKeyError: a file is missing or unreadable, others may read the private one, it is not an
            Ed25519 or P-256 key in unencrypted PEM, or the two halves do not belong together.
    """
    private = _read_private(path)
    algorithm, raw = _known(private.public_key(), path)
    public = load_public_key(public_path(path))
    if (algorithm, sha256_bytes(raw)) != (public.algorithm, public.key_id):
        raise SigningKeyError(
            "the public file belongs to another key",
            facts={"private": path, "expected": sha256_bytes(raw), "actual": public.key_id},
        )
    return SigningKey(public=public, sign=signing(private))


def _read_private(path: Path) -> PrivateKey:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise SigningKeyError(
                    "others may read this private key",
                    facts={"file": path, "expected": "0600", "actual": f"{stat.S_IMODE(mode):04o}"},
                    hint=f"chmod 600 {path}, and make a new key if others could have read it",
                )
            private = load_pem_private_key(file.read(), password=None)
    except OSError as exc:
        raise SigningKeyError("cannot read the key", facts={"file": path, "because": exc.strerror}) from exc
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SigningKeyError("not an unencrypted private key in PEM", facts={"file": path}) from exc
    _known(private.public_key(), path)
    assert isinstance(private, Ed25519PrivateKey | EllipticCurvePrivateKey)
    return private


def load_public_key(path: Path) -> PublicKey:
    """
    Read a `.pub` file.

    Raises:
        SigningKeyError: it cannot be read, or is not a public key.
    """
    return parse_public_key(parse_key_file(path), path)


def parse_key_file(path: Path) -> object:
    """
    Return the JSON of a key or trust file.

    Raises:
        SigningKeyError: it cannot be read or is not JSON.
    """
    try:
        value: object = parse_json(path.read_bytes())
    except OSError as exc:
        raise SigningKeyError("cannot read the key", facts={"file": path, "because": exc.strerror}) from exc
    except RecordError as exc:
        raise SigningKeyError("not a public key file", facts={"file": path, **exc.facts}) from exc
    return value


def parse_public_key(value: object, source: Path) -> PublicKey:
    """
    Return the public key in a JSON value.

    Raises:
        SigningKeyError: it is not one, or has a field that is not known (a misspelt `expires_at` would
            otherwise trust for ever).
    """
    try:
        key = PublicKey.model_validate_json(canonical_json(value))
    except (ValidationError, RecordError) as exc:
        because = exc.errors()[0]["msg"] if isinstance(exc, ValidationError) else exc
        raise SigningKeyError("not a public key file", facts={"file": source, "because": because}) from exc
    if key.model_extra:
        raise SigningKeyError(
            "public key has an unknown field", facts={"file": source, "field": ", ".join(key.model_extra)}
        )
    return key


def decode_base64(text: str) -> bytes | None:
    """Return the bytes of standard base64, or None unless the text is their one canonical form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data) == text.encode("utf-8", "replace") else None
