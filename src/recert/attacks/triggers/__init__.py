"""Triggers that nobody told us about: where texts to try come from."""

from recert.attacks.triggers.candidate import Candidate, Place, placed
from recert.attacks.triggers.controls import control
from recert.attacks.triggers.library import KNOWN, library
from recert.attacks.triggers.phrases import SearchBudget, search_phrases, strongest
from recert.attacks.triggers.pull import Openings, Pull, Searchable, Shift, Signal

__all__ = [
    "KNOWN",
    "Candidate",
    "Openings",
    "Place",
    "Pull",
    "SearchBudget",
    "Searchable",
    "Shift",
    "Signal",
    "control",
    "library",
    "placed",
    "search_phrases",
    "strongest",
]
