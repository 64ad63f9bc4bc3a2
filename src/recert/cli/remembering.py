"""What commands remember between two runs, so that nobody sets back what they saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recert.records import VerifierMemory

_NONE = "none"

Memory = Annotated[
    str,
    typer.Option(
        metavar="FILE|none",
        help="File of what was seen before, so that a log, a status list or a clock that is set back is noticed; by "
        "default `RECERT_MEMORY`, or `seen.json` in the cache folder.",
    ),
]


def memory_path(given: str) -> Path | None:
    """Return the file of what was seen: the one that is given, by default that of the settings, or none."""
    from recert.certification.transparency.memory_file import default_memory
    from recert.settings import memory_file

    named = given or memory_file()
    return None if named == _NONE else Path(named) if named else default_memory()


def remembering(given: str, step: Callable[[VerifierMemory], VerifierMemory]) -> None:
    """
    Decide with what was seen before, and keep what is seen now.

    Args:
        given: what `--memory` says.
        step: decides, and returns what is to be remembered. It is called once more where another process has
            written meanwhile.

    Raises:
        StoreError, RecordError: what was seen cannot be read or written.
        VerificationError: by `step`.
    """
    from recert.certification.transparency.memory_file import read_memory, update_memory
    from recert.records import VerifierMemory

    path = memory_path(given)
    before = read_memory(path) if path else VerifierMemory()
    after = step(before)
    if path is not None:
        update_memory(path, before, after, step)
