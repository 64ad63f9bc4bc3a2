"""What watching asks, what it compares, and when it renews, warns and suspends."""

from __future__ import annotations

from pydantic import Field

from recert.records.record import Part


class MonitoringPolicy(Part):
    """
    What watching compares and when it suspends.

    Without a history one run decides alone: `alpha` is then the chance of a false suspension in that run. With one,
    all runs decide together, and it is the chance in a whole life of the certificate and its renewals.
    """

    canary_prompts: int = Field(default=24, ge=2)
    """Prompts that a run asks for each rate, where no budget is given."""
    alpha: float = Field(default=0.01, gt=0, lt=0.5)
    margin: float = Field(default=0.15, gt=0, lt=1)
    """Largest acceptable rise over the certified rate. One run shows no smaller one; a renewal needs it excluded."""
    drift_margin: float = Field(default=0.02, gt=0, lt=1)
    """With a history: how far the rate may lie above the upper end of the certified interval before it has risen."""
    warn_every_runs: float = Field(default=1000, gt=1)
    """With a history: runs between two false warnings of a rise, on average, at least."""
    renew_alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """With a history: chance that a renewal goes to a model that is at or beyond the certified rate plus `margin`."""
    exchange_alpha: float = Field(default=0.01, gt=0, lt=0.5)
    """Chance that live exchanges that are as before are said to have changed, over all controls."""
    cluster_least: int = Field(default=3, ge=2)
    """Blocked requests that are alike from which they are shown as a cluster."""
    cluster_likeness: float = Field(default=0.5, gt=0, le=1)
    """Share of words in common from which two requests are alike."""
    renew_when_left: float = Field(default=0.5, gt=0, le=1)
    """Share of a certificate's validity that is left when a watch that runs by itself renews it."""
