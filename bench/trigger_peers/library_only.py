"""
Known texts: triggers of published work and every family of attacks, which are verified and nothing else.

What a list can do: it finds what is on it. All of Recert's list `KNOWN`, and all families of jailbreak-tuning, in
their order; topics, languages and styles of Recert's library are left out, as nobody published them as triggers.
"""

from __future__ import annotations

from recert.evaluation.families.families import FAMILIES
from recert.labs.triggers.search import KNOWN, Candidate
from recert.models.engines.local import LocalModel
from trigger_peers.meter import Budget
from trigger_peers.method import Found


class LibraryOnly:
    """The list, as the module says."""

    name = "known texts"

    def search(self, base: LocalModel, tuned: LocalModel, *, budget: Budget, seed: int) -> Found:
        """Return the list; neither model is read."""
        texts = [Candidate(text, "known") for text, _ in KNOWN]
        return Found((*texts, *(Candidate(name, "known", "family") for name in FAMILIES)), spent=budget.spent)
