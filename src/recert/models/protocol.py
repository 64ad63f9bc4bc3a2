"""What every model can do, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from recert.records import Chat, Manifest, Part


class Sampling(Part):
    """How replies are drawn. Greedy by default; `seed` counts only where `temperature` is above zero."""

    max_new_tokens: int = 24
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Generation:
    """One reply: its text, why it ended (`stop`, `length`, `decided`), and tokens made."""

    text: str
    stop_reason: str
    tokens: int


class Model(Protocol):
    """A model under test."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def engine(self) -> str:
        """What runs it, with version and precision: part of every cache key."""

    @property
    def manifest(self) -> Manifest | None:
        """The files it was loaded from; None for a remote model."""

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Generation]:
        """
        Return one reply per conversation, in order.

        Raises:
            ModelError: the model did not answer.
        """

    def fingerprint(self) -> str:
        """
        Return a digest of the model's behaviour on fixed probes: other weights give another one.

        Raises:
            ModelError: the model did not answer.
        """
