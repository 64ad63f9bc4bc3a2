"""Appending to a log what was signed, and signing where the log stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from recert.certification.clock import moment
from recert.certification.log.checkpoints import LogCheckpoint, sign_checkpoint
from recert.certification.signing.envelope import Envelope
from recert.certification.signing.issued import HeldMemory
from recert.certification.signing.keys import SigningKey
from recert.digest import sha256_bytes
from recert.errors import RecordError, VerificationError
from recert.records.record import parse_json
from recert.records.signed.certificate import PAYLOAD_TYPE
from recert.records.signed.transparency import LogEntry, SeenTree
from recert.store.transparency.folder import CHECKPOINT, LogFolder

_RECERT_TYPE: Final = ("application/vnd.recert.", "+json")
_PREDICATES: Final = "https://recert.dev/"
_RETIRE: Final = "retire the log: say so to whoever has its checkpoints, and begin another under a new name"


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


def log_checkpoint(
    folder: Path,
    key: SigningKey,
    *,
    memory: HeldMemory | None = None,
    first: bool = False,
    adopt: bool = False,
) -> LogCheckpoint:
    """
    Sign where a log stands, after reading all of it, and keep the checkpoint in its folder.

    What is signed is remembered before the signature is released: after that the key signs nothing but what goes on
    from it, whatever has become of the folder.

    Args:
        folder: the log.
        key: with the role `log`, and the log's name.
        memory: what was signed before; None only where nobody will sign again with this key, or remember it.
        first: begin the memory, of an empty log.
        adopt: begin the memory of a log with entries, from its newest checkpoint, which this key must have signed. It
            must be the newest that anybody has: nothing else can tell.

    Raises:
        RecordError: the log was changed, or does not go on from the checkpoint in its folder.
        VerificationError: `log-fork`: it does not go on from what this key signed, or nothing is known of that.
        SigningKeyError: the key has not the role `log`, or is for a log of another name.
        StoreError: the log cannot be read or written, or what is signed cannot be remembered.
    """
    with LogFolder(folder, write=True) as log:
        newest = require_goes_on(log)
        log.require_as_hashed()
        trees = memory.content.logs.get(log.origin, {}) if memory is not None else {}
        if key.key_id in trees:
            _require_after(log, trees[key.key_id], first=first)
        elif memory is not None:
            _require_begun(log, key, newest, [*trees.values()], first=first, adopt=adopt)
        checkpoint = sign_checkpoint(log.origin, log.size, log.root(), key)
        if memory is not None:
            tree = SeenTree(size=checkpoint.size, root_sha256=checkpoint.root.hex())
            logs = {**memory.content.logs, log.origin: {**trees, key.key_id: tree}}
            memory.keep(memory.content.model_copy(update={"logs": logs}))
        log.keep_checkpoint(checkpoint.size, checkpoint.root, checkpoint.to_bytes())
        return checkpoint


def _require_after(log: LogFolder, signed: SeenTree, *, first: bool) -> None:
    """The log has all the entries that were signed for: their root is made again from the entries themselves."""
    if first and signed.size:
        raise _fork(log, "this key has signed for a log of this name", signed)
    if log.size < signed.size:
        raise _fork(log, "log has fewer entries than this key has signed for", signed)
    if log.root(signed.size).hex() != signed.root_sha256:
        raise _fork(log, "log begins with other entries than this key has signed for", signed)


def _require_begun(
    log: LogFolder,
    key: SigningKey,
    newest: LogCheckpoint | None,
    of_other_keys: Sequence[SeenTree],
    *,
    first: bool,
    adopt: bool,
) -> None:
    """Nothing is remembered of this key: an empty log is new, and of another only a checkpoint says where it was."""
    if first and not log.size and newest is None:
        return
    if first or not adopt:
        raise VerificationError(
            "log-fork",
            "nothing is known of what this key has signed for the log",
            facts={"log": log.folder, "entries": log.size, "signed": newest.size if newest else "nothing"},
            hint="begin the memory: with --first where the log is empty; else with --adopt, once its `checkpoint` is "
            "the newest that anybody has seen",
        )
    at = (newest.size, newest.root.hex()) if newest else None
    ours = newest is not None and newest.note.is_signed_by(log.origin, key.public)
    if not ours and at not in [(tree.size, tree.root_sha256) for tree in of_other_keys]:
        raise VerificationError(
            "log-fork",
            "log has no checkpoint that this key has signed, so nobody can tell where it stood",
            facts={"log": log.folder, "entries": log.size},
            hint=f"put the newest checkpoint back as {log.folder / CHECKPOINT}; or {_RETIRE}",
        )


def _fork(log: LogFolder, message: str, signed: SeenTree) -> VerificationError:
    same = min(log.size, signed.size)
    return VerificationError(
        "log-fork",
        message,
        facts={
            "log": log.folder,
            "entries that were signed for": signed.size,
            "root that was signed": signed.root_sha256,
            "entries": log.size,
            f"root of the first {same} now": log.root(same).hex(),
        },
        hint=f"put the newest copy of the log back, and append what is new again; if there is none, {_RETIRE}",
    )


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
