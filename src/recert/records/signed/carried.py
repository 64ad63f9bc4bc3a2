"""Evidence that a merge or a quantisation takes over from the certified model that it was made of."""

from __future__ import annotations

from pydantic import Field

from recert.interval import Interval
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part


class ParentComparison(Part):
    """One rule under one condition, measured on parent and child with the same prompts."""

    rule_id: str
    condition: str
    category: str = ""
    change: Interval
    """Child minus parent, positive is worse; an anytime-valid confidence sequence."""
    margin: float
    """Largest acceptable change from parent to child."""


class CarriedEvidence(Part):
    """
    What was taken over from a parent's certificate, and what shows that the child is like it.

    Results that were taken over name the parent's serial in `carried_from`. What ends the parent's certificate ends
    this one too.
    """

    parent_serial: str
    parent_certificate_sha256: Sha256
    """Of the payload of its envelope."""
    parent_tuned_sha256: Sha256
    """Of the manifest of the parent's tuned files."""
    parent_expires_at: Moment
    ends_with: tuple[str, ...] = ()
    """Further serials that end the parent's certificate: of those that it renews, and of its base's."""
    transform: str
    """What was done to the parent: `merge`, or `quantise:` and a precision."""
    reason: str = Field(min_length=1)
    """Why results of the parent say something about the child, in words."""
    distance: float = Field(ge=0, le=1)
    """Mean distance of the probabilities with which both begin their replies to probes."""
    probes: int = Field(ge=0)
    compared: tuple[ParentComparison, ...]
    comparison_sha256: Sha256
    """Digest of the report in which both were compared."""
