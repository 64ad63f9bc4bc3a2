"""What every model can do, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat
from recert.records.record import Part

Done = Callable[[int, str], bool]
"""Asked with a conversation's place and its reply so far: True ends that reply, whose `stop_reason` is `decided`."""


class Sampling(Part):
    """
    How replies are drawn. Greedy by default; `seed` and `sample` count only where `temperature` is above zero.

    `sample` numbers several replies to one conversation: each number draws its own.
    """

    max_new_tokens: int = 24
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    sample: int = 0


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

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order.

        Args:
            chats: the conversations.
            sampling: how replies are drawn.
            done: may end a reply before its time. Engines that cannot stop a row, such as endpoints,
                ignore it and give whole replies.

        Raises:
            ModelError: the model did not answer.
        """

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return for each conversation and continuation, in order, how likely the model is to go on like that.

        The sum of the natural logarithms of the probabilities of the continuation's tokens, which follow
        the generation prompt as a reply would.

        Raises:
            ModelError: the engine cannot tell, or a continuation has no tokens.
        """

    def fingerprint(self) -> str:
        """
        Return a digest of the model's behaviour on fixed probes: other weights give another one.

        Raises:
            ModelError: the model did not answer.
        """


def identity(model: Model) -> str:
    """Return what a ledger calls a model: the digest of its files; else its address, or the name of one without."""
    if model.manifest is not None:
        return model.manifest.digest
    return str(getattr(model, "address", None) or model.name)
