"""Which attempt an evaluation is."""

from __future__ import annotations

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Part


class Attempt(Part):
    """Which attempt an evaluation is, with what shows that it was written down before the first prompt was asked."""

    number: int = Field(ge=1)
    nonce: Sha256
    ledger: str
    """Name of the ledger."""
    entry: int = Field(ge=0)
    """Number of the entry, from 0."""
    leaf: str
    """The entry as it stands there, an `AttemptBegun`."""
    size: int = Field(ge=1)
    """Entries that there were, this one included."""
    root_sha256: Sha256
    """Root of the tree over them, as RFC 9162 has it."""
    path: tuple[Sha256, ...] = ()
    """Inclusion proof of RFC 9162, from the leaf to the root."""
    alpha_share: float = Field(gt=0, le=1)
    """Share of the policy's alpha for a pass that this attempt may spend."""
