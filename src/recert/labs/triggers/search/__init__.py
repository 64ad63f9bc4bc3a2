"""Triggers that nobody told us about: where texts to try come from."""

from recert.labs.triggers.search.candidate import Candidate, Place, placed
from recert.labs.triggers.search.controls import control
from recert.labs.triggers.search.library import KNOWN, library
from recert.labs.triggers.search.logit_shift import Estimable, LogitShift, Openings, Searchable, Shift, Signal
from recert.labs.triggers.search.phrases import SearchBudget, of_each_length, search_phrases, strongest
from recert.labs.triggers.search.variants import variants_of

__all__ = [
    "KNOWN",
    "Candidate",
    "Estimable",
    "LogitShift",
    "Openings",
    "Place",
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
