"""How long work tells how far it is. The command line draws it; other callers may count or ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each step of a run."""

    def start(self, what: str) -> None:
        """A step begins."""

    def at(self, done: int, total: int, note: str = "") -> None:
        """The step is at `done` of `total`."""

    def say(self, line: str) -> None:
        """Something worth a line was found or decided."""


class Silent:
    """Progress that nobody looks at."""

    def start(self, what: str) -> None:
        """Do nothing."""

    def at(self, done: int, total: int, note: str = "") -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""
