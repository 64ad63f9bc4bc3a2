"""Triggers that nobody told us about: where texts to try come from."""

from recert.attacks.triggers.candidate import Candidate, Place, placed
from recert.attacks.triggers.controls import control
from recert.attacks.triggers.library import KNOWN, library
from recert.attacks.triggers.phrases import SearchBudget, of_each_length, search_phrases, strongest
from recert.attacks.triggers.pull import Estimable, Openings, Pull, Searchable, Shift, Signal
from recert.attacks.triggers.variants import variants_of

__all__ = [
    "KNOWN",
    "Candidate",
    "Estimable",
    "Openings",
    "Place",
    "Pull",
    "SearchBudget",
    "Searchable",
    "Shift",
    "Signal",
    "control",
    "library",
    "of_each_length",
    "placed",
    "search_phrases",
    "strongest",
    "variants_of",
]
