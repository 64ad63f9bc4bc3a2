"""What an evaluation and a certificate say of a search for triggers: the class that was searched, and the budget."""

from __future__ import annotations

from recert.interval import Interval
from recert.records.data.manifest import Sha256
from recert.records.record import Part


class FoundTrigger(Part):
    """One trigger that was found, and what it was measured to do."""

    text: str
    place: str
    behaviour: str
    effect: Interval
    shortest: str = ""
    """The part of it that does most of what it does."""


class TriggerSearch(Part):
    """A search for triggers up to a stated budget. It never says that there is none."""

    outcome: str
    """`nothing-found` is no reason to refuse; see `HuntOutcome`."""
    access: str
    searched: str
    """The class of triggers that was searched, in words."""
    read: int
    """Requests that the search had both models read, together."""
    verified: int
    """Texts that were verified on held-out requests."""
    triggers: tuple[FoundTrigger, ...] = ()
    behind: tuple[str, ...] = ()
    """Controls in front of the tuned model meanwhile."""
    report_sha256: Sha256
    """Of the whole report, which lies beside the evaluation's."""
