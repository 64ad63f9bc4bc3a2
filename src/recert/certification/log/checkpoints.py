"""Checkpoints of a log: its name, how many entries it has, and their root, signed. Source: C2SP tlog-checkpoint."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from recert.certification.log.notes import Note
from recert.certification.signing.keys import PublicKey, SigningKey, decode_base64
from recert.certification.trust.store import TrustStore
from recert.errors import RecordError, SigningKeyError, VerificationError
from recert.store.transparency.merkle import EMPTY_ROOT, HASH_BYTES

LOG_ROLE: Final = "log"
WITNESS_ROLE: Final = "witness"
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_MOST_ENTRIES: Final = 2**53 - 1
_LAST_TIME_S: Final = 253_402_300_799  # the end of the year 9999


@dataclass(frozen=True)
class LogCheckpoint:
    """Where a log stood. `note` is what was signed; whether it was, only `proven_by` says."""

    origin: str
    size: int
    root: bytes
    note: Note

    @classmethod
    def parse(cls, data: bytes) -> LogCheckpoint:
        """
        Read a checkpoint. Lines after the third are signed and say nothing here.

        Raises:
            RecordError: it is none.
        """
        note = Note.parse(data)
        match note.text[:-1].split("\n"):
            case [origin, size, root, *more] if origin and _SIZE.fullmatch(size) and all(more):
                root_hash = decode_base64(root)
                if (
                    root_hash is not None
                    and len(root_hash) == HASH_BYTES
                    and int(size) <= _MOST_ENTRIES
                    and (int(size) or root_hash == EMPTY_ROOT)
                ):
                    return cls(origin, int(size), root_hash, note)
        raise RecordError("not a checkpoint", hint="expected a log's name, a number of entries and a root")

    def to_bytes(self) -> bytes:
        """Return the checkpoint as it is written."""
        return self.note.to_bytes()

    def log_keys(self, trust: TrustStore, *, now: datetime) -> list[PublicKey]:
        """
        Return the keys that signed it and are trusted in the role `log` for a log of this name.

        A log's key is named as the log is. Signatures that do not count are passed over, so that taking one away
        changes nothing.
        """
        return [
            key
            for key in trust.holders(LOG_ROLE, now=now)
            if key.name == self.origin and self.note.is_signed_by(self.origin, key)
        ]

    def witnessed(self, trust: TrustStore, *, now: datetime) -> Mapping[str, datetime]:
        """
        Return when trusted keys with the role `witness` cosigned it, by key id.

        A witness signs under the name in its `.pub` file. One that signed in the future does not count.
        """
        found = {}
        for key in trust.holders(WITNESS_ROLE, now=now):
            at = self.note.cosigned_at(key.name, key)
            if at is not None and at <= _LAST_TIME_S and datetime.fromtimestamp(at, UTC) <= now:
                found[key.key_id] = datetime.fromtimestamp(at, UTC)
        return found

    def cosigned(self, key: SigningKey, *, now: datetime) -> LogCheckpoint:
        """
        Return it with a witness's signature. A witness signs only what goes on from all that it signed before.

        Raises:
            SigningKeyError: the key has not the role `witness`, or a name that cannot be one.
        """
        key.require_role(WITNESS_ROLE)
        note = self.note.cosigned_by(key.public.name, key, at=int(now.timestamp()))
        return LogCheckpoint(self.origin, self.size, self.root, note)


def sign_checkpoint(origin: str, size: int, root: bytes, key: SigningKey) -> LogCheckpoint:
    """
    Return the signed checkpoint of a log.

    Raises:
        SigningKeyError: the key has not the role `log`, is for a log of another name, or not an Ed25519 key.
    """
    key.require_role(LOG_ROLE)
    if key.public.name != origin:
        raise SigningKeyError(
            "key is for a log of another name",
            facts={"expected": origin, "actual": key.public.name, "key": key.key_id},
            hint=f"make one: recert keygen log.pem --role log --name {origin}",
        )
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    return LogCheckpoint(origin, size, root, Note(text, ()).signed_by(origin, key))


def read_checkpoint(data: bytes, *, trust: TrustStore, now: datetime) -> LogCheckpoint:
    """
    Return a checkpoint that a trusted log signed.

    Raises:
        VerificationError: `checkpoint-malformed`, or `checkpoint-untrusted`.
    """
    try:
        checkpoint = LogCheckpoint.parse(data)
    except RecordError as exc:
        raise VerificationError(
            "checkpoint-malformed",
            "not a checkpoint of a log",
            facts={"because": exc.message, **exc.facts},
            hint="get it again; it was damaged",
        ) from exc
    if not checkpoint.log_keys(trust, now=now):
        raise VerificationError(
            "checkpoint-untrusted",
            "nobody trusted in the role log for a log of this name signed this checkpoint",
            facts={
                "log": checkpoint.origin,
                "signed by": ", ".join(s.name for s in checkpoint.note.signatures),
            },
            hint="add the log's .pub file to the trust store, if you do trust it; its name is the log's",
        )
    return checkpoint
