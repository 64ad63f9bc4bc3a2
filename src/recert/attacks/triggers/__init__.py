"""Triggers that nobody told us about: where texts to try come from."""

from recert.attacks.triggers.library import KNOWN
from recert.attacks.triggers.phrases import Candidate, SearchBudget, search_phrases
from recert.attacks.triggers.pull import Openings, Pull, Searchable

__all__ = [
    "KNOWN",
    "Candidate",
    "Openings",
    "Pull",
    "SearchBudget",
    "Searchable",
    "search_phrases",
]
