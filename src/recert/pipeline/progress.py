"""How long work tells how far it is. The command line draws it; other callers may count or ignore it."""

from __future__ import annotations

from recert.evaluation.hunt_progress import Progress, Silent

__all__ = ["Progress", "Silent"]
