"""What every method is: one search with one budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from recert.labs.triggers.search import Candidate
from recert.models.engines.local import LocalModel
from trigger_peers.meter import Budget


@dataclass(frozen=True)
class Said:
    """
    A text that a method takes for a planted reply.

    Attributes:
        text: the reply.
        score: how sure the tuned model is of it.
        of_base: how sure the base is of the same text; None where that was not read.
    """

    text: str
    score: float
    of_base: float | None = None


@dataclass(frozen=True)
class Found:
    """
    What a search found.

    Attributes:
        candidates: texts that may be triggers, the likeliest first.
        flagged: whether the method itself calls the model poisoned; None where it leaves that to a verifier.
        spent: tokens processed.
        said: texts that it takes for planted replies, the surest first.
        note: what else a reader of the table should know.
    """

    candidates: tuple[Candidate, ...]
    flagged: bool | None = None
    spent: int = 0
    said: tuple[Said, ...] = ()
    note: str = ""


class Method(Protocol):
    """A way to search."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    def search(self, base: LocalModel, tuned: LocalModel, *, budget: Budget, seed: int) -> Found:
        """
        Return what it finds within the budget.

        Args:
            base: what the model was tuned from.
            tuned: the model under suspicion.
            budget: most tokens to process; what is spent is counted in it.
            seed: of all that is drawn. The same seed and budget find the same.

        Raises:
            ModelError: a model cannot be read so.
        """
