"""Appending to a log what was signed, and signing where the log stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from recert.certification.clock import moment
from recert.certification.envelope import Envelope
from recert.certification.keys import SigningKey
from recert.certification.transparency.checkpoints import LogCheckpoint, sign_checkpoint
from recert.digest import sha256_bytes
from recert.errors import RecordError
from recert.records import LogEntry, parse_json
from recert.records.certificate import PAYLOAD_TYPE
from recert.store.transparency.folder import LogFolder

_RECERT_TYPE: Final = ("application/vnd.recert.", "+json")
_PREDICATES: Final = "https://recert.dev/"


@dataclass(frozen=True)
class Appended:
    """Where an envelope is in a log; `added` is False where it was in it before."""

    index: int
    added: bool
    torn: bytes
    """What a crash had left of an earlier line, and was removed."""


def entry_of(envelope: bytes, *, now: datetime) -> LogEntry:
    """
    Return the entry for an envelope: its digest, and what it says that it is. No signature is checked.

    Certificates, status lists, and whatever else Recert signs in an envelope can be logged.

    Raises:
        RecordError: it is not an envelope, or not one of Recert's.
    """
    opened = Envelope.from_json(envelope)
    value: Any = parse_json(opened.payload)
    before, after = _RECERT_TYPE
    kind = ""
    match value:
        case {"predicateType": str(named), "predicate": inner} if opened.payload_type == PAYLOAD_TYPE:
            if named.startswith(_PREDICATES):
                kind, value = named.removeprefix(_PREDICATES).partition("/")[0], inner
        case _ if opened.payload_type.startswith(before) and opened.payload_type.endswith(after):
            kind = opened.payload_type.removeprefix(before).removesuffix(after)
    if not kind or not isinstance(value, dict):
        raise RecordError(
            "envelope holds nothing that is logged", facts={"payload type": opened.payload_type}
        )
    serial, version = value.get("serial"), value.get("version")
    return LogEntry(
        kind=kind,
        sha256=sha256_bytes(envelope),
        serial=serial if isinstance(serial, str) else "",
        version=version if type(version) is int and version >= 1 else None,
        logged_at=now,
    )


def log_envelope(folder: Path, envelope: bytes, *, now: datetime | None = None) -> Appended:
    """
    Append an envelope to a log, unless it is in it.

    Whoever signs appends first and writes the file after: an entry whose file was lost says nothing false, a file
    without an entry is refused where logging is required.

    Args:
        folder: the log.
        envelope: a certificate, status list or other signed record, with all its signatures.
        now: the time; the present by default.

    Raises:
        RecordError: it is not an envelope; or the log is none, was changed, or does not meet its checkpoint.
        StoreError: the log cannot be written; then it is as it was.
    """
    entry = entry_of(envelope, now=moment(now))
    with LogFolder(folder, write=True) as log:
        require_goes_on(log)
        index = log.find(entry.sha256)
        if index is not None:
            return Appended(index, added=False, torn=log.torn)
        return Appended(log.append([entry])[0], added=True, torn=log.torn)


def log_checkpoint(folder: Path, key: SigningKey) -> LogCheckpoint:
    """
    Sign where a log stands, after reading all of it, and keep the checkpoint in its folder.

    Raises:
        RecordError: the log was changed, or does not go on from what was signed before.
        SigningKeyError: the key has not the role `log`, or is for a log of another name.
        StoreError: the log cannot be read or written.
    """
    with LogFolder(folder, write=True) as log:
        require_goes_on(log)
        log.require_as_hashed()
        checkpoint = sign_checkpoint(log.origin, log.size, log.root(), key)
        log.keep_checkpoint(checkpoint.size, checkpoint.root, checkpoint.to_bytes())
        return checkpoint


def require_goes_on(log: LogFolder) -> LogCheckpoint | None:
    """
    Return a log's newest checkpoint, once the log has been found to go on from it; None where there is none.

    Raises:
        RecordError: it is of another log, or the log does not go on from it.
    """
    data = log.checkpoint()
    if data is None:
        return None
    checkpoint = LogCheckpoint.parse(data)
    facts: dict[str, object] = {"log": log.folder, "signed entries": checkpoint.size, "entries": log.size}
    if checkpoint.origin != log.origin:
        raise RecordError(
            "checkpoint is of another log", facts={"expected": log.origin, "actual": checkpoint.origin}
        )
    if checkpoint.size > log.size:
        raise RecordError("log is shorter than its checkpoint", facts=facts, hint="its end was cut off")
    root = log.root(checkpoint.size)
    if root != checkpoint.root:
        raise RecordError(
            "log is not what was signed",
            facts=facts | {"root that was signed": checkpoint.root.hex(), "root": root.hex()},
            hint="an entry was changed: get a whole copy",
        )
    return checkpoint
