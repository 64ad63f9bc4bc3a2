"""What commands that sign do with a transparency log: append first, then write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recert.certification import SigningKey
    from recert.certification.log.checkpoints import LogCheckpoint
    from recert.certification.log.logged import Appended

Log = Annotated[
    Path | None,
    typer.Option(
        help="Transparency log to append to before the file is written: a folder of `recert log init`."
    ),
]


def write_logged(path: Path, envelope: bytes, log: Path | None) -> None:
    """
    Append what was signed to a log, where one is given, and then write it to a file.

    In this order: an entry whose file was lost is harmless, a file without an entry is refused where logging is
    required.

    Raises:
        RecordError, StoreError: the log cannot be appended to; nothing is written then. Or the file cannot be.
    """
    from recert.store.files.writing import write_atomic

    if log is not None:
        append(log, envelope, path)
    write_atomic(path, envelope)


def append(log: Path, envelope: bytes, name: object) -> int:
    """Append to a log, say so on stderr, and return the entry's number. Raises as `log_envelope`."""
    from recert.certification.log.logged import log_envelope

    appended = log_envelope(log, envelope)
    say_logged(appended, log, name)
    return appended.index


def sign_checkpoint(log: Path, key: SigningKey, *, first: bool = False, adopt: bool = False) -> LogCheckpoint:
    """Sign where a log stands, held to what this user has signed with the key before. Raises as `log_checkpoint`."""
    from recert.certification.log.logged import log_checkpoint
    from recert.certification.signing.issued import hold_memory

    with hold_memory() as memory:
        memory.require_apart(log)
        return log_checkpoint(log, key, memory=memory, first=first, adopt=adopt)


def say_logged(appended: Appended | None, log: Path | None, name: object) -> None:
    """Say on stderr where something is in a log; nothing where there is none."""
    from recert.cli.printing import talk

    if appended is None:
        return
    if appended.torn:
        talk().print(
            f"{log}: removed {len(appended.torn)} bytes that a crash had left of an entry", soft_wrap=True
        )
    said = "is" if appended.added else "was already"
    talk().print(f"{name} {said} entry {appended.index} of {log}", soft_wrap=True)
