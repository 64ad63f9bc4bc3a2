"""What monitoring hands over, and what it keeps from run to run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from recert.interval import Interval
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record

ShortDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""The first 16 hex digits of a sha256: enough to tell prompts apart, and a year of hourly runs stays small."""


class WatchOutcome(StrEnum):
    """What watching says should happen. Anything but `renew` never lengthens a certificate's life."""

    RENEW = "renew"
    WARN = "warn"
    SUSPEND = "suspend"


class OverTime(Part):
    """What all runs of a history say of one rate on one path, this run included."""

    runs: int
    prompts: int
    distinct: int
    """Different prompts among them."""
    bad: int
    bound: float
    """The largest rate that is no rise: the upper end of the certified interval plus the policy's `drift_margin`."""
    rise: float
    """Most evidence of a rise that there ever was, an e-value."""
    suspend_at: float
    """What `rise` suspends at: the number of rates and paths by the policy's `alpha`."""
    recent_rise: float
    """Evidence that a rise began at any run, in the sum of those who bet on it."""
    warn_at: float
    ceiling: float
    """The certified rate plus the policy's `margin`: what a renewal needs excluded."""
    within: float
    """Evidence, from runs of the last period of validity, that the rate is below `ceiling`; an e-value."""
    renew_at: float


class CanaryResult(Part):
    """One estimand on the canary sample: what was certified, what is seen now."""

    estimand: str
    through: Literal["raw", "served"] | None = None
    """The path; None in reports of before one run could ask on two."""
    certified: Interval
    seen: Interval
    margin: float
    over_time: OverTime | None = None
    """None where no history was given, and this run decides alone."""
    outcome: WatchOutcome
    reason: str = ""


class HistoryPoint(Part):
    """Where a history stood: so many lines, and the digest of the last."""

    seq: int = Field(ge=1)
    sha256: Sha256


class WatchReport(Record):
    """Is it still the model that was certified, and still as safe."""

    schema_name: ClassVar[str] = "watch-report"

    serial: str
    certificate_sha256: Sha256
    through: str
    """`raw` (the model itself), `served` (through the gateway) or `both`."""
    fingerprint_matches: bool | None = None
    """None when the path gives no logits to compare."""
    canaries: tuple[CanaryResult, ...]
    failed_probes: int = 0
    history: HistoryPoint | None = None
    """The history's end with this run in it; None where there is none, or this run could not be added."""
    outcome: WatchOutcome
    reasons: tuple[str, ...]
    started_at: Moment
    watched_at: Moment


class AskedSample(Part):
    """What one run asked for one rate on one path. Which prompts were answered badly is not kept."""

    through: Literal["raw", "served"]
    estimand: str
    """`suite/estimand`."""
    prompts: tuple[ShortDigest, ...]
    """The prompts, in the order of their digests."""
    bad: int = Field(ge=0)
    """Bad replies, what was not answered or not judged among them."""
    lost: int = Field(default=0, ge=0)
    """Prompts that were not answered or not judged."""

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        if not self.lost <= self.bad <= len(self.prompts):
            raise ValueError("expected lost <= bad <= prompts")
        return self


class HistoryStart(Record):
    """The first line of a history: whose it is."""

    schema_name: ClassVar[str] = "watch-history-start"

    lineage: str
    """Serial of the certificate that was renewed first; renewals of it share the history."""
    tuned_sha256: Sha256
    policy_sha256: Sha256
    begun_at: Moment


class WatchedRun(Record):
    """One run in a history: what was asked, and what came of it. One line."""

    schema_name: ClassVar[str] = "watched-run"

    serial: str
    samples: tuple[AskedSample, ...]
    outcome: WatchOutcome
    seconds: float = Field(ge=0)
    """Time that asking and judging took."""
    started_at: Moment
    watched_at: Moment
