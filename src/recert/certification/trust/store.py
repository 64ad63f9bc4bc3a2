"""The trust store: whose signatures count, in which roles, until when, and which keys are one person's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from recert.certification.signing.keys import PublicKey, load_public_key, parse_key_file, parse_public_key
from recert.certification.trust.root_chain import SignedRoot, holds_root, read_chain
from recert.digest import canonical_json, sha256_bytes
from recert.errors import SigningKeyError, VerificationError
from recert.records.signed.certificate import Approval
from recert.records.signed.transparency import SeenRoot, VerifierMemory
from recert.records.signed.trust_root import folded_name

_CLOCK_TOLERANCE: Final = timedelta(minutes=5)


class TrustStore:
    """
    The public keys that a verifier trusts.

    Args:
        keys: as they are, without a root of trust: for trying things.
        chain: the versions of a root of trust whose signatures were verified, as `load` reads them.

    Raises:
        SigningKeyError: there is none, or two entries are for one key.
    """

    def __init__(self, keys: Iterable[PublicKey], *, chain: Sequence[SignedRoot] = ()) -> None:
        self._chain = tuple(chain)
        self._keys: dict[str, PublicKey] = {}
        for key in keys:
            if key.key_id in self._keys:
                raise SigningKeyError(
                    "one key is in the trust store twice",
                    facts={"key": key.key_id, "name": key.name},
                    hint="keep one entry with all its roles",
                )
            self._keys[key.key_id] = key
        if not self._keys:
            raise SigningKeyError("the trust store is empty", hint="put the signers' .pub files into it")
        newest = self._chain[-1].root if self._chain else None
        self._expires_at = newest.expires_at if newest else None
        self._revoked = (
            frozenset(k.key_id for k in newest.keys if k.revoked_at is not None) if newest else set()
        )
        self._people: dict[str, str] = {}
        for key in self._keys.values():
            self._people.setdefault(folded_name(key.name), key.name)

    @classmethod
    def load(cls, path: Path) -> Self:
        """
        Read a root of trust: a folder with `root.json` or that file; or, to try things, a `.pub` file, a folder of
        them, or a JSON file `{"keys": [...]}`.

        Where there is a root, `.pub` files beside it say nothing.

        Raises:
            SigningKeyError: it cannot be read, holds no key, or something in it is not a public key.
            VerificationError: the root of trust is refused: `root-missing`, `root-malformed`, `root-unlinked` or
                `root-unsigned`.
        """
        try:
            names = sorted(path.glob("*.pub")) if path.is_dir() else []
            rooted = path.is_dir() and holds_root(path)
        except OSError as exc:
            raise SigningKeyError(
                "cannot read the trust store", facts={"folder": path, "because": exc}
            ) from exc
        if path.is_dir() and not rooted:
            return cls(load_public_key(name) for name in names)
        value = parse_key_file(path) if not rooted else {"payloadType": ""}
        if isinstance(value, dict) and "payloadType" in value:
            chain = read_chain(path)
            return cls(chain[-1].keys, chain=chain)
        if isinstance(value, dict) and set(value) == {"keys"} and isinstance(value["keys"], list):
            return cls(parse_public_key(item, path) for item in value["keys"])
        return cls([parse_public_key(value, path)])

    @property
    def unsafe(self) -> bool:
        """Whether whoever can write to its files decides who is trusted: anything but a root of trust."""
        return not self._chain

    @property
    def root(self) -> SeenRoot | None:
        """The version of the root of trust that this is; None where there is no root."""
        return self._version(len(self._chain)) if self._chain else None

    @property
    def status_list_id(self) -> str | None:
        """The status list that can end certificates, where a root of trust says so."""
        return self._chain[-1].root.status_list_id if self._chain else None

    @property
    def digest(self) -> str:
        """The sha256 over all that it says: over the keys, and over the root's newest version."""
        said = [key.model_dump(mode="json") for _, key in sorted(self._keys.items())]
        return sha256_bytes(canonical_json({"root": self.root and self.root.sha256, "keys": said}))

    def find(self, key_id: str, *, now: datetime) -> PublicKey | None:
        """Return the key of that id, or None when it is not trusted, was revoked, or it or its root has expired."""
        key = self._keys.get(key_id)
        return key if key is not None and self._counts(key, now) else None

    def known(self, key_id: str) -> PublicKey | None:
        """
        Return the key of that id although it may have expired or been revoked: for what makes an answer stricter.
        """
        return self._keys.get(key_id)

    def holders(self, role: str, *, now: datetime) -> list[PublicKey]:
        """Return the keys that are trusted in a role and count now."""
        return [key for key in self._keys.values() if role in key.roles and self._counts(key, now)]

    def person(self, key_id: str) -> str:
        """
        Return who holds a key: the name in the trust store, in one spelling for all keys of one name.

        A key without a name, or that is not there, is its own person: its key id.
        """
        key = self._keys.get(key_id)
        name = folded_name(key.name) if key is not None else ""
        return self._people[name] if name else key_id

    def _counts(self, key: PublicKey, now: datetime) -> bool:
        over = self._expires_at is not None and now >= self._expires_at
        return not over and key.key_id not in self._revoked and not key.expired(now)

    def _version(self, number: int) -> SeenRoot:
        signed = self._chain[number - 1]
        return SeenRoot(root_id=signed.root.root_id, version=number, sha256=signed.sha256)


class TrustFiles:
    """
    The trust store as it is on disk, for who asks again and again: it is read anew where a file of it was touched.

    Args:
        path: as for `TrustStore.load`, which is called at once.

    Raises:
        SigningKeyError, VerificationError: as `TrustStore.load`, now or at any later call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = self._look()
        self._store = TrustStore.load(path)

    def __call__(self) -> TrustStore:
        """Return who is trusted now: the same object while no file was touched."""
        looked = self._look()
        if looked != self._looked:
            self._store, self._looked = TrustStore.load(self._path), looked
        return self._store

    def _look(self) -> list[tuple[str, int, int, int]]:
        try:
            paths = [self._path, *(self._path.iterdir() if self._path.is_dir() else ())]
            seen = [(str(path), path.stat()) for path in sorted(paths)]
        except OSError:
            return []  # loading it says what is wrong
        return [(name, s.st_size, s.st_ctime_ns, s.st_ino) for name, s in seen]


def note_root(trust: TrustStore, memory: VerifierMemory) -> VerifierMemory:
    """
    Return the memory with this root of trust in it, when it goes on from the version that was seen: rules R10, R11.

    It may have expired: what is seen counts at once, whatever the answer will be. Without a root nothing changes.

    Raises:
        VerificationError: `root-rollback` or `root-equivocation`.
    """
    root = trust.root
    seen = memory.roots.get(root.root_id) if root is not None else None
    if root is None:
        return memory
    if seen is not None:
        # R10
        if root.version < seen.version:
            raise VerificationError(
                "root-rollback",
                "the root of trust is older than one seen before",
                facts={"root": root.root_id, "seen before": seen.version, "given": root.version},
                hint="get the newest root of trust from whoever keeps it",
            )
        # R11
        same = trust._version(seen.version)
        if same.sha256 != seen.sha256:
            raise VerificationError(
                "root-equivocation",
                "two roots of trust with one version say different things",
                facts={
                    "root": root.root_id,
                    "version": seen.version,
                    "seen before": seen.sha256,
                    "given": same.sha256,
                },
                hint="show both to whoever keeps the root: only one of them can be true",
            )
    return memory.model_copy(update={"roots": {**memory.roots, root.root_id: root}})


def require_newest(trust: TrustStore, memory: VerifierMemory, *, now: datetime) -> VerifierMemory:
    """
    Return the memory with this root of trust in it, when it is in force now and none newer was seen: R10 to R13.

    Keep what `note_root` returns also where this refuses. Without a root nothing is asked and nothing changes.

    Raises:
        VerificationError: `root-rollback`, `root-equivocation`, `root-expired`, or `clock-behind` where the root was
            issued in the future.
    """
    after = note_root(trust, memory)
    if trust.unsafe:
        return after
    root = trust._chain[-1].root
    # R12
    if root.issued_at > now + _CLOCK_TOLERANCE:
        raise VerificationError(
            "clock-behind",
            "the root of trust was issued in the future",
            facts={"issued at": root.issued_at.isoformat(), "now": now.isoformat()},
            hint="set this machine's clock",
        )
    # R13
    if now >= root.expires_at:
        raise VerificationError(
            "root-expired",
            "the root of trust has expired",
            facts={"expired at": root.expires_at.isoformat(), "now": now.isoformat()},
            hint="get the newest one from whoever keeps it; they lengthen it with `recert trust extend`",
        )
    return after


def same_person(trust: TrustStore, key_ids: Sequence[str]) -> tuple[str, ...] | None:
    """
    Return the keys of the first person who holds two or more of these; None where everybody holds one.

    A key that is named twice is held twice. `trust.person` says who it is.
    """
    held: dict[str, list[str]] = {}
    for key_id in key_ids:
        held.setdefault(folded_name(trust.person(key_id)), []).append(key_id)
    return next((tuple(keys) for keys in held.values() if len(keys) > 1), None)


def misnamed(trust: TrustStore, approvals: Iterable[Approval]) -> tuple[Approval, ...]:
    """Return the approvals whose name is not the one that the trust store has for their key, or has none for."""
    found = [(approval, trust.known(approval.key_id)) for approval in approvals]
    return tuple(approval for approval, key in found if key is None or key.name != approval.name)


def unsafe_words(trust: TrustStore) -> str:
    """Return what is unsafe about a trust store and the way out, in one sentence; nothing of a root of trust."""
    if not trust.unsafe:
        return ""
    return (
        "unsafe trust store: whoever can write to these files decides who is trusted; make a root of trust with "
        "`recert trust init`"
    )
