"""
Read a root of trust: every version from the first, each signed as the one before and it itself ask for.

Rule numbers are those of `spec/trust-root.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert.certification.signing.envelope import Envelope
from recert.certification.signing.keys import PublicKey
from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError, StoreError, VerificationError
from recert.records.record import parse_json
from recert.records.signed.trust_root import ROOT_PAYLOAD_TYPE, RootKey, TrustRoot
from recert.store.files.writing import read_bytes

ROOT_FILE: Final = "root.json"
PENDING_FILE: Final = "root.pending.json"
_HINT: Final = "get the whole folder again from whoever keeps the root of trust"


@dataclass(frozen=True)
class SignedRoot:
    """One version of a root of trust as it was signed. By whom it was is not decided yet."""

    root: TrustRoot
    envelope: Envelope
    keys: tuple[PublicKey, ...]
    """Every key that the version names, revoked ones too."""

    @property
    def sha256(self) -> str:
        """The sha256 of what was signed."""
        return sha256_bytes(self.envelope.payload)

    def signers(self, by: TrustRoot) -> list[str]:
        """Return the people who signed this version with a root key of a version: this one, or the one before."""
        allowed = [public_key(key) for key in by.root_keys()]
        return by.people({key.key_id for key in allowed if self.envelope.proven_by(key)})


def public_key(key: RootKey) -> PublicKey:
    """
    Return a key of a root as the key that verifies.

    Raises:
        ValueError: it is not one: its id is another's, or its bytes are no key.
    """
    said = key.model_dump(mode="json", exclude_none=True, exclude={"revoked_at"})
    return PublicKey.model_validate(said)


def holds_root(folder: Path) -> bool:
    """
    Say whether a folder is one of a root of trust. A root that is not signed yet, or was taken away, is one too:
    nothing else in the folder counts then.

    Raises:
        OSError: the folder cannot be read.
    """
    names = {entry.name for entry in folder.iterdir()}
    return PENDING_FILE in names or any(name.endswith(ROOT_FILE) for name in names)


def kept_path(file: Path, version: int) -> Path:
    """Return where an earlier version is kept, beside `root.json`."""
    return file.with_name(f"{version}.{ROOT_FILE}")


def read_chain(path: Path) -> tuple[SignedRoot, ...]:
    """
    Return all versions of a root of trust, the first one first.

    Args:
        path: the folder, or the file `root.json` in it.

    Raises:
        VerificationError: `root-missing`, `root-malformed`, `root-unlinked` or `root-unsigned`.
    """
    file = path / ROOT_FILE if path.is_dir() else path
    # R1, R2
    newest = _read(file)
    # R3
    older = [_read(kept_path(file, number)) for number in range(1, newest.root.version)]
    chain = (*older, newest)
    require_chain(chain)
    return chain


def require_chain(chain: Sequence[SignedRoot]) -> None:
    """
    Return when versions follow from the first one, and each from the one before: rules R4 to R7.

    Raises:
        VerificationError: `root-unlinked` or `root-unsigned`.
    """
    _require_signers(chain[0], chain[0])
    revoked: set[str] = set()
    for number, (old, new) in enumerate(zip([None, *chain], chain, strict=False), start=1):
        # R4
        if new.root.version != number:
            raise _unlinked("the versions of the root do not go up by one", number, new.root.version)
        if old is None:
            continue
        revoked |= {key.key_id for key in old.root.keys if key.revoked_at is not None}
        # R5
        if new.root.root_id != old.root.root_id:
            raise _unlinked("a version is of another root", old.root.root_id, new.root.root_id)
        if new.root.previous_sha256 != old.sha256:
            raise _unlinked("a version goes on from another one", new.root.previous_sha256, old.sha256)
        if new.root.issued_at < old.root.issued_at:
            raise _unlinked("a version is older than the one before", old.root.issued_at, new.root.issued_at)
        # R6
        _require_signers(new, old)
        _require_signers(new, new)
        # R7
        for key in new.root.keys:
            if key.key_id in revoked and key.revoked_at is None:
                raise _unlinked("a revoked key is back", f"{key.key_id} revoked", "not revoked")


def parse_root(data: bytes, file: Path) -> SignedRoot:
    """
    Return what an envelope says, whoever signed it: rule R2.

    Raises:
        VerificationError: `root-malformed`.
    """
    try:
        envelope = Envelope.from_json(data)
        if envelope.payload_type != ROOT_PAYLOAD_TYPE:
            raise RecordError(f"expected {ROOT_PAYLOAD_TYPE}, found {envelope.payload_type}")
        root = TrustRoot.from_json(envelope.payload)
        if (
            canonical_json(parse_json(envelope.payload)) != envelope.payload
            or root.to_json() != envelope.payload
        ):
            raise RecordError("it is not in canonical JSON, or lacks a field")
        unknown = [*(root.model_extra or ()), *(name for key in root.keys for name in key.model_extra or ())]
        if unknown or root.schema_version != 1:
            raise RecordError("it is of another version", facts={"fields": ", ".join(unknown)})
        keys = tuple(public_key(key) for key in root.keys)
    except (RecordError, ValueError) as exc:
        raise VerificationError(
            "root-malformed",
            "not a root of trust",
            facts={"file": file, "because": exc},
            hint=f"{_HINT}; it was damaged, or is of a later version",
        ) from exc
    return SignedRoot(root, envelope, keys)


def _read(file: Path) -> SignedRoot:
    try:
        data = read_bytes(file, "root of trust")
    except StoreError as exc:
        raise VerificationError(
            "root-missing",
            "a version of the root of trust is not there, or cannot be read",
            facts=exc.facts,
            hint=f"{_HINT}; where its first version waits for signatures: recert trust sign",
        ) from exc
    return parse_root(data, file)


def _require_signers(signed: SignedRoot, by: SignedRoot) -> None:
    who = signed.signers(by.root)
    if len(who) < by.root.root_threshold:
        raise VerificationError(
            "root-unsigned",
            "too few people signed a version of the root of trust",
            facts={
                "version": signed.root.version,
                "asked for by": f"version {by.root.version}",
                "expected": by.root.root_threshold,
                "actual": f"{len(who)}{': ' if who else ''}{', '.join(who)}",
            },
            hint=_HINT,
        )


def _unlinked(message: str, expected: object, actual: object) -> VerificationError:
    return VerificationError(
        "root-unlinked", message, facts={"expected": expected, "actual": actual}, hint=_HINT
    )
