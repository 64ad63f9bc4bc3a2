"""What proves one line of an audit log: the lines beside it, and the chain to a signed checkpoint that covers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from recert.errors import RecordError, StoreError
from recert.records.live.audit import AuditCheckpoint
from recert.store.audit.chain import GENESIS, AuditLine, read_line, walk
from recert.store.audit.checkpoints import Checks, is_signed, signed_path
from recert.store.audit.search import halved, lines_from

MOST_LINES: Final = 20_000
"""Lines that are walked from a line to its checkpoint at most."""


@dataclass(frozen=True)
class LineProof:
    """A line, what stands beside it, and what was found of it."""

    line: AuditLine
    before: AuditLine | None
    after: AuditLine | None
    chained: bool
    """It names the line before, and the line after names it, as far as both are there."""
    checkpoint: AuditCheckpoint | None
    """The first signed checkpoint at or after it that was looked at; None where there is none."""
    holds: bool
    """The chain leads from it to what a trusted key signed."""
    words: str
    """What was found, as a sentence."""


def prove_line(path: Path, seq: int, key_of: Callable[[str], Checks | None]) -> LineProof | None:
    """
    Return a line with its proof; None where the log has no such line.

    Args:
        path: the log.
        seq: the line's number.
        key_of: from a key's id to the trusted key that signs checkpoints, or None.

    Raises:
        StoreError: the log or its checkpoints cannot be read.
        RecordError: a line beside it is none.
    """
    beside = [read_line(raw[:-1], path, 0) for raw in islice(lines_from(path, max(1, seq - 1)), 3)]
    line = next((one for one in beside if one.seq == seq), None)
    if line is None:
        return None
    before = next((one for one in beside if one.seq == seq - 1), None)
    after = next((one for one in beside if one.seq == seq + 1), None)
    chained = line.prev == (before.sha256 if before else GENESIS if seq == 1 else line.prev)
    chained = chained and (after is None or after.prev == line.sha256)
    checkpoint, holds, words = (
        None,
        False,
        "The line and those beside it do not fit together: one was changed.",
    )
    if chained:
        checkpoint, holds, words = _covered(path, line, key_of)
    return LineProof(line, before, after, chained, checkpoint, holds, words)


def _covered(
    path: Path, line: AuditLine, key_of: Callable[[str], Checks | None]
) -> tuple[AuditCheckpoint | None, bool, str]:
    try:
        checkpoint = _checkpoint_from(signed_path(path), line.seq)
    except RecordError:
        return None, False, "The file of signed checkpoints beside the log is damaged."
    if checkpoint is None:
        return (
            None,
            False,
            "No signed checkpoint covers this line: who can write the log could have changed it.",
        )
    key = key_of(checkpoint.key_id)
    if key is None or not is_signed(checkpoint, [key]):
        because = (
            "its key is not trusted in the role audit" if key is None else "its signature does not verify"
        )
        return checkpoint, False, f"A checkpoint covers this line, and does not count: {because}."
    if checkpoint.seq - line.seq > MOST_LINES:
        far = f"A signed checkpoint covers this line, {checkpoint.seq - line.seq} lines further on; "
        return checkpoint, False, f"{far}that is too far to be walked here: the command below does it."
    holds, words = _walked(path, line, checkpoint)
    return checkpoint, holds, words


def _walked(path: Path, line: AuditLine, checkpoint: AuditCheckpoint) -> tuple[bool, str]:
    """Whether the chain leads from a line to a checkpoint, and what was found, as a sentence."""
    last = None
    try:
        for last in walk(lines_from(path, line.seq), path, seq=line.seq - 1, prev=line.prev):
            if last.seq == checkpoint.seq:
                break
    except RecordError as exc:
        return False, f"The chain from this line to its checkpoint is broken: {exc.message}."
    if last is None or (last.seq, last.sha256) != (checkpoint.seq, checkpoint.sha256):
        return False, "The log is not what the signed checkpoint says that it was."
    steps = checkpoint.seq - line.seq
    chain = "It is the very line" if not steps else f"The chain leads over {steps} lines to the one"
    return True, f"{chain} that a trusted key signed: nobody has changed this line since."


def _checkpoint_from(path: Path, seq: int) -> AuditCheckpoint | None:
    """The first checkpoint at or after a line."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            file.seek(halved(file, lambda raw: AuditCheckpoint.from_json(raw).seq >= seq))
            raw = file.readline()
    except OSError as exc:
        raise StoreError("cannot read checkpoints", facts={"file": path, "because": exc.strerror}) from exc
    return AuditCheckpoint.from_json(raw[:-1]) if raw.endswith(b"\n") else None
