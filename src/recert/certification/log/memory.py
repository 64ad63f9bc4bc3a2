"""
What a verifier remembers, and refuses because of it. Step numbers are those of `spec/verification.md`.

Nothing here reads or writes a file: a memory goes in, and the memory after it comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from recert.certification.log.checkpoints import LogCheckpoint
from recert.certification.trust.store import TrustStore
from recert.errors import VerificationError
from recert.records.signed.certificate import StatusList
from recert.records.signed.transparency import EarlierTree, SeenStatus, SeenTree, VerifierMemory
from recert.store.transparency.merkle import is_consistent

NOTHING_SEEN: Final = VerifierMemory()
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
_VERSIONS_AT_ONCE: Final = 1000
"""Versions that a status list may rise by at any time, beside one a second since the last that was seen."""
_LISTS_AT_MOST: Final = 1000
"""Status lists that are kept, those issued last; of the others even the newest version expired long ago."""
_TREES_AT_MOST: Final = 1000
"""States of one log that are kept; without the older ones, older proofs are refused."""


class Memory(Protocol):
    """Where a verifier keeps what it saw: in a file, in a gateway's state, or for as long as a process lives."""

    def read(self) -> VerifierMemory:
        """Return what was seen before. Raises RecordError or StoreError where that cannot be told."""

    def keep(self, change: Callable[[VerifierMemory], VerifierMemory]) -> VerifierMemory:
        """
        Keep what is seen now, at once, and return it.

        Args:
            change: from what is remembered to what is to be remembered. Where another process has written meanwhile
                it is given that, and may refuse.

        Raises:
            VerificationError: by `change`: what is seen now goes against what was seen before.
            StoreError, RecordError: it cannot be read or written.
        """


class ProcessMemory:
    """A memory that lives as long as its process: what a later run is shown is not held against it."""

    def __init__(self, seen: VerifierMemory = NOTHING_SEEN) -> None:
        self._seen = seen

    def read(self) -> VerifierMemory:
        """Return what was seen before."""
        return self._seen

    def keep(self, change: Callable[[VerifierMemory], VerifierMemory]) -> VerifierMemory:
        """Keep what is seen now, and return it."""
        self._seen = change(self._seen)
        return self._seen


def require_clock(memory: VerifierMemory, *, now: datetime) -> None:
    """
    Return when the clock was not moved back behind a signed time that was believed: step 7.4.

    Raises:
        VerificationError: `clock-behind`.
    """
    if memory.latest_at is not None and now < memory.latest_at - CLOCK_TOLERANCE:
        raise VerificationError(
            "clock-behind",
            "the clock is behind a signed time that was seen before",
            facts={"seen": memory.latest_at.isoformat(), "now": now.isoformat()},
            hint="set this machine's clock",
        )


def require_newer(
    memory: VerifierMemory, status: StatusList, seen: SeenStatus, *, trust: TrustStore, now: datetime
) -> None:
    """
    Return when a status list goes on from the one that is remembered: step 8.4.

    What is remembered counts while one of the keys that signed it is trusted: with a key that was stolen goes
    whatever it signed, however high its version was.

    Args:
        memory: what was seen before.
        status: the list.
        seen: how it is to be remembered.
        trust: the keys that count now.
        now: the time.

    Raises:
        VerificationError: `status-rollback`, `status-equivocation` or `status-fast-forward`.
    """
    trusted = {key.key_id for key in trust.holders("status", now=now)}
    if status.list_id is None:
        known = [s for s in memory.status_lists.values() if set(s.key_ids) & set(seen.key_ids) & trusted]
        if known:
            raise _refused(
                "status-rollback", "status list is of before its issuer gave lists an id", known[0], seen
            )
        return
    before = memory.status_lists.get(status.list_id)
    if before is None or not trusted & set(before.key_ids):
        return
    if seen.version < before.version:
        raise _refused("status-rollback", "status list is older than one seen before", before, seen)
    if seen.version == before.version and seen.sha256 != before.sha256:
        raise VerificationError(
            "status-equivocation",
            "two status lists with one version say different things",
            facts={"version": seen.version, "seen before": before.sha256, "given": seen.sha256},
            hint="show both to whoever issues it: only one of them can be true",
        )
    elapsed_s = max(0.0, (seen.issued_at - before.issued_at).total_seconds())
    if seen.version - before.version > _VERSIONS_AT_ONCE + elapsed_s:
        raise _refused("status-fast-forward", "status list is implausibly far ahead", before, seen)


def follow(
    memory: VerifierMemory, checkpoint: LogCheckpoint, earlier: Iterable[EarlierTree]
) -> tuple[SeenTree, ...]:
    """
    Return the states of a log to be remembered, when a checkpoint goes on from those that are: step L7.

    Args:
        memory: what was seen before.
        checkpoint: signed by a trusted log.
        earlier: earlier states with proofs; those that do not hold are passed over.

    Raises:
        VerificationError: `log-equivocation`, `log-rollback` or `log-unlinked`.
    """
    here = SeenTree(size=checkpoint.size, root_sha256=checkpoint.root.hex())
    known = {tree.size: tree.root_sha256 for tree in memory.logs.get(checkpoint.origin, ())}
    proven = {tree.size: tree.root_sha256 for tree in earlier if tree.size and _leads(tree, checkpoint)}
    newest = max(known, default=0)
    if known.get(here.size, here.root_sha256) != here.root_sha256:
        raise _forked(checkpoint, known[here.size])
    if here.size < newest and here.size not in known:
        raise VerificationError(
            "log-rollback",
            "checkpoint is of before one that was seen, and nothing showed that it leads there",
            facts={"log": checkpoint.origin, "entries seen before": newest, "entries": here.size},
            hint="ask the log for a proof under its newest checkpoint: recert log prove",
        )
    if here.size > newest > 0 and proven.get(newest) != known[newest]:
        raise _unlinked(checkpoint, newest, known[newest], proven.get(newest))
    every = {**proven, **known, **({here.size: here.root_sha256} if here.size else {})}
    return tuple(SeenTree(size=size, root_sha256=every[size]) for size in sorted(every)[-_TREES_AT_MOST:])


def remember(
    memory: VerifierMemory,
    *,
    times: Sequence[datetime] = (),
    status: tuple[str, SeenStatus] | None = None,
    log: tuple[str, tuple[SeenTree, ...]] | None = None,
) -> VerifierMemory:
    """
    Return the memory with more in it.

    Args:
        memory: what was seen before.
        times: signed times that were believed.
        status: a status list's id, and what is to be known of it.
        log: a log's origin, and its states as `follow` gives them.
    """
    latest_at = max([*times, *([memory.latest_at] if memory.latest_at else [])], default=None)
    lists = memory.status_lists
    if status is not None:
        kept = sorted({**lists, status[0]: status[1]}.items(), key=lambda one: one[1].issued_at)
        lists = dict(kept[-_LISTS_AT_MOST:])
    logs = memory.logs if log is None else {**memory.logs, log[0]: log[1]}
    return memory.model_copy(update={"latest_at": latest_at, "status_lists": lists, "logs": logs})


def _leads(tree: EarlierTree, checkpoint: LogCheckpoint) -> bool:
    path = [bytes.fromhex(p) for p in tree.path]
    root = bytes.fromhex(tree.root_sha256)
    return is_consistent(tree.size, root, checkpoint.size, checkpoint.root, path)


def _forked(checkpoint: LogCheckpoint, seen_root: str) -> VerificationError:
    return VerificationError(
        "log-equivocation",
        "the log has signed two different trees of one size",
        facts={
            "log": checkpoint.origin,
            "entries": checkpoint.size,
            "root seen before": seen_root,
            "root": checkpoint.root.hex(),
        },
        hint="two logs go by one name: show both checkpoints to whoever runs it, and to others",
    )


def _unlinked(checkpoint: LogCheckpoint, size: int, root: str, proven: str | None) -> VerificationError:
    return VerificationError(
        "log-unlinked",
        "nothing shows that the log goes on from what was seen of it before",
        facts={
            "log": checkpoint.origin,
            "entries seen before": size,
            "root seen before": root,
            **({"root of so many entries now": proven} if proven else {}),
            "entries": checkpoint.size,
            "root": checkpoint.root.hex(),
        },
        hint=f"ask the log for a proof that begins there: recert log prove --from {size}; if it cannot give one, two "
        "logs go by one name",
    )


def _refused(reason: str, message: str, before: SeenStatus, seen: SeenStatus) -> VerificationError:
    return VerificationError(
        reason,
        message,
        facts={
            "seen before": f"{before.version}, issued {before.issued_at.isoformat()}",
            "given": f"{seen.version}, issued {seen.issued_at.isoformat()}",
        },
        hint="get the newest status list from whoever issues it; if their key was stolen, trust the new one only",
    )
