"""A list of every system whose records lie in folders, made anew from the records at any time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

RECORD_NAMES: Final = ("screen", "tune", "evaluation", "hunt", "attack", "stress", "certificate", "watch")
"""Records that a system may have, by the stage that makes them."""


@dataclass(frozen=True)
class IndexedSystem:
    """One system: a base, a tune or a checkpoint, with what its records say."""

    id: str
    """Stable, and safe in a path: letters and digits."""
    name: str
    kind: str
    """`base`, `tune` or `checkpoint`."""
    base: str
    """Name of the base; for a base its own."""
    parent: str
    """Id of the system that it was made from, where that is listed too; else empty."""
    verdict: str
    """Of its evaluation; empty where there is none."""
    state: str
    """
    Of its certificate: `none`, `awaiting`, `signed`, `expired`, `suspended`, `revoked`, `stale`, `refused` or
    `unreadable`.
    """
    serial: str
    """Of its certificate; empty where there is none."""
    expires_at: datetime | None
    updated_at: datetime
    folder: Path
    records: Mapping[str, Path] = field(default_factory=dict)
    """Where its records lie, by the names in RECORD_NAMES; those that are not there are left out."""
