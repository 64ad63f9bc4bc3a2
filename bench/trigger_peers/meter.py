"""
The one unit in which searches are counted: tokens that a model processes.

A conversation of p tokens (template and system prompt included) that is read once costs p, whatever is read of it. A
reply of n tokens costs p + n: a conversation and its own reply are read once, as any engine with a cache does. n
continuations of one conversation cost n times p, and both models count: what prompts have in common is never credited,
as that depends on the engine. A text drawn from a bare beginning of o tokens costs o + n. Asking for a fingerprint, the
words of a tokenizer, or what a cache has kept is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recert.models.engines.leaking import bare_openings
from recert.models.engines.local import LocalModel
from recert.models.protocol import Done, Generation, Sampling
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat
from trigger_peers.reading import chats_of, prompt_tokens


@dataclass
class Budget:
    """Most tokens that may be processed, and how many were."""

    most: int
    spent: int = 0

    @property
    def left(self) -> int:
        """How many may still be."""
        return max(0, self.most - self.spent)

    def affords(self, tokens: int) -> bool:
        """Say whether so many may still be processed."""
        return tokens <= self.left

    def spend(self, tokens: int) -> None:
        """Count tokens that were processed."""
        self.spent += tokens


class Counted:
    """
    A local model of which each use is counted. Recert's own hunt and verifier take it for a model too.

    Args:
        model: the model.
        budget: where it is counted. Nothing is refused here: methods ask before they begin.
    """

    def __init__(self, model: LocalModel, budget: Budget) -> None:
        self.model, self._budget = model, budget
        self.name, self.engine = model.name, model.engine
        self.manifest: Manifest | None = model.manifest

    def read(self, chats: Sequence[Chat]) -> int:
        """Return what reading conversations costs; nothing is counted."""
        return sum(map(len, prompt_tokens(self.model, chats)))

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """Return one reply per conversation, in order."""
        replies = self.model.generate(chats, sampling, done=done)
        self._budget.spend(self.read(chats) + sum(one.tokens for one in replies))
        return replies

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """Return the log probability of each continuation."""
        self._budget.spend(self.read([one for one, _ in pairs]))
        self._budget.spend(sum(self.model.count_tokens(text) for _, text in pairs))
        return self.model.log_probs(pairs)

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """Return the log odds of opening in one way against the other, in order."""
        self._budget.spend(self.read(chats))
        return self.model.opening_odds(chats, agreeing=agreeing, refusing=refusing)

    def opening_divergence(self, chats: Sequence[Chat], other: Any) -> list[float]:
        """Return how far a reply's first token is from another model's, which reads as much."""
        self._budget.spend(2 * self.read(chats))
        return self.model.opening_divergence(chats, other.model if isinstance(other, Counted) else other)

    def leaks(self, samplings: Sequence[Sampling], each: int, tokens: int) -> list[tuple[str, str]]:
        """Return (role, text) of what it says at bare beginnings; counted by the texts as they are returned."""
        said = self.model.leaks(samplings, each, tokens)
        before = {one.role: self.model.count_tokens(one.text) for one in bare_openings(chats_of(self.model))}
        self._budget.spend(sum(before[role] + self.model.count_tokens(text) + 1 for role, text in said))
        return said

    def words(self, most: int) -> list[str]:
        """Return words that the tokenizer knows as one token."""
        return self.model.words(most)

    def fingerprint(self) -> str:
        """Return a digest of its behaviour."""
        return self.model.fingerprint()
