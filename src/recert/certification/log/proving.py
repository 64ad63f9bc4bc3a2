"""Proofs from a log: that an envelope is in it, and that it goes on from an earlier checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from recert.certification.log.checking import require_consistent
from recert.certification.log.checkpoints import LogCheckpoint
from recert.certification.log.logged import require_goes_on
from recert.digest import sha256_bytes
from recert.errors import InputError, RecordError, VerificationError
from recert.records.signed.transparency import ConsistencyProof, EarlierTree, LogProof
from recert.store.transparency.folder import LogFolder
from recert.store.transparency.merkle import is_consistent, is_included, leaf_hash

_EARLIER_AT_MOST: Final = 16
"""Earlier checkpoints that a proof leads from, the newest ones: about a kilobyte each."""


def prove_logged(folder: Path, envelope: bytes, *, earlier: Iterable[int] = ()) -> LogProof:
    """
    Return what shows offline that an envelope is in a log, under its newest checkpoint.

    Args:
        folder: the log.
        envelope: as it was logged.
        earlier: sizes of trees that verifiers may have seen, beside those of the log's latest checkpoints.

    Raises:
        InputError: it is not in the log, or no checkpoint covers it yet.
        RecordError: the log was changed, or does not meet its checkpoint.
        StoreError: the log cannot be read.
    """
    with LogFolder(folder) as log:
        checkpoint = _newest(log)
        sha256 = sha256_bytes(envelope)
        index = log.find(sha256)
        if index is None:
            raise InputError(
                "the log does not hold this envelope",
                facts={"log": folder, "sha256": sha256},
                hint="recert log append; every signature makes another envelope",
            )
        if index >= checkpoint.size:
            raise InputError(
                "no checkpoint covers the entry yet",
                facts={"entry": index, "entries that are signed": checkpoint.size},
                hint="recert log checkpoint",
            )
        leaf, path = log.leaf(index), log.inclusion(index, checkpoint.size)
        if not is_included(leaf_hash(leaf), index, checkpoint.size, path, checkpoint.root):
            raise _not_as_signed(log)
        sizes = {*log.signed_sizes()[-_EARLIER_AT_MOST - 1 :], *earlier}
        return LogProof(
            leaf=leaf.decode(),
            index=index,
            path=tuple(p.hex() for p in path),
            checkpoint=checkpoint.to_bytes().decode(),
            earlier=tuple(
                _earlier(log, size, checkpoint) for size in sorted(sizes) if size < checkpoint.size
            ),
        )


def prove_consistent(folder: Path, old: LogCheckpoint) -> ConsistencyProof:
    """
    Return what shows that a log's newest checkpoint goes on from an earlier one.

    Raises:
        InputError: the earlier one is of another log, or larger than the newest.
        RecordError: the log does not go on from one of them: it was changed, or one is of a fork.
        StoreError: the log cannot be read.
    """
    with LogFolder(folder) as log:
        checkpoint = _newest(log)
        if old.origin != log.origin or old.size > checkpoint.size:
            raise InputError(
                "checkpoint is not an earlier one of this log",
                facts={
                    "log": log.origin,
                    "checkpoint of": old.origin,
                    "its entries": old.size,
                    "entries that are signed": checkpoint.size,
                },
            )
        root = log.root(old.size)
        if root != old.root:
            raise RecordError(
                "log does not go on from this checkpoint",
                facts={
                    "entries": old.size,
                    "root in the checkpoint": old.root.hex(),
                    "root in the log": root.hex(),
                },
                hint="two logs go by one name: show both checkpoints to whoever runs it, and to others",
            )
        return ConsistencyProof(
            origin=log.origin,
            earlier=_earlier(log, old.size, checkpoint),
            size=checkpoint.size,
            root_sha256=checkpoint.root.hex(),
        )


def require_both_of(folder: Path, old: LogCheckpoint, new: LogCheckpoint) -> None:
    """
    Return when two checkpoints are of one log, by a copy of it.

    Args:
        folder: the log or a copy; its own checkpoint is not looked at.
        old: the one with fewer entries.
        new: the other.

    Raises:
        VerificationError: `other-log`; `log-equivocation`: they are of two trees; `log-unlinked`: the copy is not
            of both, and does not show more.
        InputError: the copy has fewer entries than the larger checkpoint.
        StoreError, RecordError: the copy cannot be read, or was changed.
    """
    if old.origin != new.origin or old.size == new.size:
        require_consistent(old, new, None)
        return
    with LogFolder(folder) as log:
        if log.origin != new.origin or log.size < new.size:
            raise InputError(
                "the copy of the log does not reach both checkpoints",
                facts={"log": log.origin, "entries": log.size, "checkpoints": f"{old.size} and {new.size}"},
            )
        log.require_as_hashed()
        roots = (log.root(old.size), log.root(new.size))
    if roots == (old.root, new.root):
        return
    two_trees = roots[1] == new.root
    raise VerificationError(
        "log-equivocation" if two_trees else "log-unlinked",
        "equivocation: the second checkpoint does not go on from the first"
        if two_trees
        else "the log does not lead to both checkpoints",
        facts={
            "log": new.origin,
            "entries": f"{old.size} and {new.size}",
            "roots in the checkpoints": f"{old.root.hex()} and {new.root.hex()}",
            "roots in the log": f"{roots[0].hex()} and {roots[1].hex()}",
        },
        hint="keep both checkpoints and the log; trust neither",
    )


def _newest(log: LogFolder) -> LogCheckpoint:
    checkpoint = require_goes_on(log)
    if checkpoint is None:
        raise InputError("the log has no checkpoint", facts={"log": log.folder}, hint="recert log checkpoint")
    return checkpoint


def _earlier(log: LogFolder, size: int, checkpoint: LogCheckpoint) -> EarlierTree:
    root, path = log.root(size), log.consistency(size, checkpoint.size)
    if not is_consistent(size, root, checkpoint.size, checkpoint.root, path):
        raise _not_as_signed(log)
    return EarlierTree(size=size, root_sha256=root.hex(), path=tuple(p.hex() for p in path))


def _not_as_signed(log: LogFolder) -> RecordError:
    return RecordError(
        "log is not what was signed",
        facts={"log": log.folder},
        hint="remove its files `offsets` and `hashes`, which are made again; else get a whole copy",
    )
