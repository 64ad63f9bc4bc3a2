"""
Make and change a root of trust: a version is proposed, root keys sign it, and with enough signatures it is taken.

A version that waits lies beside the one in force as `root.pending.json`; nobody who verifies reads it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from recert.certification.signing.envelope import Envelope
from recert.certification.signing.keys import PublicKey, SigningKey
from recert.certification.trust.root_chain import (
    PENDING_FILE,
    ROOT_FILE,
    SignedRoot,
    holds_root,
    kept_path,
    parse_root,
    public_key,
    read_chain,
    require_chain,
)
from recert.certification.trust.root_edits import add_keys, root_key
from recert.errors import InputError, RecordError, SigningKeyError, StoreError, VerificationError
from recert.records.signed.trust_root import ROOT_PAYLOAD_TYPE, RootKey, TrustRoot
from recert.store.files.writing import read_bytes, write_atomic


@dataclass(frozen=True)
class ProposedRoot:
    """
    A version of a root of trust with the signatures that it has.

    Args:
        chain: the versions in force, none where this is the first.
        signed: the version.
    """

    chain: tuple[SignedRoot, ...]
    signed: SignedRoot

    def waits_for(self) -> list[str]:
        """Return whose signatures are missing, in words; nothing where there are enough."""
        said = []
        for by in (self.signed.root, *(one.root for one in self.chain[-1:])):
            who = self.signed.signers(by)
            if len(who) < by.root_threshold:
                others = [name for name in by.people(set(by.root_key_ids)) if name not in who]
                said.append(
                    f"{by.root_threshold - len(who)} more of {', '.join(others)} (root keys of version {by.version})"
                )
        return said

    def changes(self) -> list[str]:
        """Return what the version changes, or says where it is the first, one thing a line."""
        return list(_changes(self.chain[-1].root if self.chain else None, self.signed.root))


def begin_root(
    folder: Path,
    root_keys: Sequence[PublicKey],
    threshold: int,
    keys: Sequence[PublicKey],
    *,
    signers: Sequence[SigningKey],
    expires_at: datetime,
    now: datetime,
    status_list_id: str | None = None,
) -> ProposedRoot:
    """
    Make the first version of a root of trust. It is in force once a threshold of its own root keys has signed.

    Args:
        folder: where it is kept.
        root_keys: keys that may sign versions, with the role `root`.
        threshold: how many people must sign.
        keys: whose signatures shall count, each in its roles.
        signers: root keys that are at hand.
        expires_at: until when it counts.
        now: the time.
        status_list_id: the status list, where there is one.

    Raises:
        InputError: there is a root in the folder, or these keys make none.
        SigningKeyError: a signer is no root key.
        StoreError: the folder cannot be read or written.
    """
    with suppress(FileNotFoundError):
        if holds_root(folder):
            raise InputError("there is a root of trust already", facts={"folder": folder})
    bare = TrustRoot.model_construct(
        schema_version=1,
        root_id=secrets.token_hex(16),
        version=1,
        issued_at=now,
        expires_at=expires_at,
        keys=tuple(root_key(key) for key in root_keys),
        root_threshold=threshold,
        root_key_ids=tuple(key.key_id for key in root_keys),
        status_list_id=status_list_id,
    )
    root = _checked(add_keys(bare, keys))
    return _settle(folder, (), Envelope(ROOT_PAYLOAD_TYPE, root.to_json(), ()), signers)


def change_root(
    folder: Path,
    change: Callable[[TrustRoot], TrustRoot],
    *,
    signers: Sequence[SigningKey],
    now: datetime,
) -> ProposedRoot:
    """
    Propose the next version, and take it where enough root keys sign.

    Where a version waits already, the change is made to that one, which must then be signed anew.

    Args:
        folder: of the root.
        change: from a version to the next one; number, times and the link to the one before are put right here.
        signers: root keys that are at hand.
        now: the time.

    Raises:
        InputError: the change makes no root of trust.
        SigningKeyError: a signer is no root key of this version or the one before.
        VerificationError: the root is refused.
        RecordError: what waits cannot be read, or goes on from another version.
        StoreError: a file cannot be read or written.
    """
    chain = _in_force(folder)
    waiting = _waiting(folder, chain)
    newest = chain[-1] if chain else None
    draft = waiting.root if waiting else newest.root if newest else None
    if draft is None:
        raise InputError("there is no root of trust", facts={"folder": folder}, hint="recert trust init")
    proposed = change(draft).model_copy(
        update={
            "version": newest.root.version + 1 if newest else 1,
            "previous_sha256": newest.sha256 if newest else None,
            "issued_at": max(now, newest.root.issued_at) if newest else now,
        }
    )
    return _settle(folder, chain, Envelope(ROOT_PAYLOAD_TYPE, _checked(proposed).to_json(), ()), signers)


def sign_root(folder: Path, *, signers: Sequence[SigningKey], shown: ProposedRoot) -> ProposedRoot:
    """
    Add signatures to the version that waits, and take it where there are enough.

    Args:
        folder: of the root.
        signers: root keys.
        shown: what the signers saw: `read_pending`. Another version that came in its place is not signed.

    Raises:
        InputError: no version waits, or not the one that was shown.
        SigningKeyError: a signer is no root key of this version or the one before.
        VerificationError, RecordError, StoreError: as `change_root`.
    """
    now_there = read_pending(folder)
    if now_there.signed.sha256 != shown.signed.sha256:
        raise InputError(
            "another version was put in its place",
            facts={"shown": shown.signed.sha256, "there": now_there.signed.sha256},
            hint="look at it, and sign again",
        )
    return _settle(folder, now_there.chain, now_there.signed.envelope, signers)


def read_pending(folder: Path) -> ProposedRoot:
    """
    Return the version that waits for signatures.

    Raises:
        InputError: none does.
        VerificationError, RecordError, StoreError: as `change_root`.
    """
    waiting = pending_or_none(folder)
    if waiting is None:
        raise InputError("nothing waits for a signature", facts={"folder": folder})
    return waiting


def pending_or_none(folder: Path) -> ProposedRoot | None:
    """Return the version that waits for signatures; None where none does. Raises as `change_root`."""
    chain = _in_force(folder)
    waiting = _waiting(folder, chain)
    return ProposedRoot(chain, waiting) if waiting is not None else None


def _checked(root: TrustRoot) -> TrustRoot:
    """Return the root when it is a valid one. Raises InputError."""
    try:
        checked = TrustRoot.from_json(root.to_json())
        for key in checked.keys:
            public_key(key)
    except (RecordError, ValueError) as exc:
        facts = exc.facts if isinstance(exc, RecordError) else {"because": exc}
        raise InputError(
            "this makes no root of trust",
            facts=facts,
            hint="people need names, root keys the role root, and the root an end that is to come",
        ) from exc
    return checked


def _in_force(folder: Path) -> tuple[SignedRoot, ...]:
    """Return the versions in force; none before the first one has its signatures."""
    if (folder / PENDING_FILE).exists() and not any(folder.glob(f"*{ROOT_FILE}")):
        return ()
    return read_chain(folder)


def _waiting(folder: Path, chain: Sequence[SignedRoot]) -> SignedRoot | None:
    """Return the version that waits for signatures; one that has been taken waits no more."""
    file = folder / PENDING_FILE
    if not file.exists():
        return None
    try:
        waiting = parse_root(read_bytes(file, "pending root of trust"), file)
    except VerificationError as exc:
        raise RecordError(exc.message, facts=exc.facts, hint=f"remove {file}, and propose anew") from exc
    if chain and waiting.sha256 == chain[-1].sha256:
        return None
    newest = chain[-1] if chain else None
    if waiting.root.version != (newest.root.version + 1 if newest else 1) or (
        waiting.root.previous_sha256 != (newest.sha256 if newest else None)
    ):
        raise RecordError(
            "what waits goes on from another version",
            facts={"file": file, "version": waiting.root.version},
            hint=f"remove {file}, and propose anew",
        )
    return waiting


def _settle(
    folder: Path, chain: tuple[SignedRoot, ...], envelope: Envelope, signers: Sequence[SigningKey]
) -> ProposedRoot:
    """Sign, write what came of it, and take the version where there are enough signatures."""
    if not signers:
        raise InputError("nobody signs", hint="give --key with a root key")
    root = TrustRoot.from_json(envelope.payload)
    allowed = {*root.root_key_ids, *(chain[-1].root.root_key_ids if chain else ())}
    for signer in signers:
        if signer.key_id not in allowed:
            raise SigningKeyError(
                "not a root key of this version, nor of the one before",
                facts={"key": signer.key_id, "name": signer.public.name},
            )
        envelope = envelope.signed_by(signer)
    file = folder / ROOT_FILE
    data = envelope.to_json() + b"\n"
    proposed = ProposedRoot(chain, SignedRoot(root, envelope, tuple(public_key(k) for k in root.keys)))
    if proposed.waits_for():
        write_atomic(folder / PENDING_FILE, data)
        return proposed
    require_chain((*chain, proposed.signed))
    if chain:
        write_atomic(kept_path(file, chain[-1].root.version), read_bytes(file, "root of trust"))
    write_atomic(file, data)
    try:
        (folder / PENDING_FILE).unlink(missing_ok=True)
    except OSError as exc:
        raise StoreError("cannot remove file", facts={"file": folder / PENDING_FILE, "because": exc}) from exc
    return proposed


def _changes(before: TrustRoot | None, after: TrustRoot) -> Iterator[str]:
    old = {key.key_id: key for key in before.keys} if before else {}
    new = {key.key_id: key for key in after.keys}
    for key_id, key in new.items():
        there = old.get(key_id)
        if there is None:
            yield f"adds {_words(key)}"
        elif key.revoked_at is not None and there.revoked_at is None:
            yield f"revokes {_words(key)}"
        elif key != there:
            yield f"changes {_words(there)} to {_words(key)}"
    yield from (f"takes out {_words(key)}" for key_id, key in old.items() if key_id not in new)
    for name, what in (
        ("root_threshold", "people who must sign a version"),
        ("root_key_ids", "root keys"),
        ("status_list_id", "status list"),
        ("expires_at", "holds until"),
    ):
        was, is_ = (_plain(getattr(root, name)) if root else "none" for root in (before, after))
        if was != is_:
            yield f"{what}: {is_}{f', was {was}' if before else ''}"


def _words(key: RootKey) -> str:
    until = f", until {_plain(key.expires_at)}" if key.expires_at else ""
    gone = f", revoked {_plain(key.revoked_at)}" if key.revoked_at else ""
    return f"{key.name}: {', '.join(key.roles)} ({key.key_id[:16]}{until}{gone})"


def _plain(value: object) -> str:
    match value:
        case datetime():
            return f"{value:%Y-%m-%d %H:%M} UTC"
        case tuple():
            return ", ".join(str(one)[:16] for one in value)
        case None:
            return "none"
    return str(value)
