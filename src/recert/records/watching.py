"""What monitoring hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from recert.interval import Interval
from recert.records.manifest import Sha256
from recert.records.record import Moment, Part, Record


class WatchOutcome(StrEnum):
    """What watching says should happen. Anything but `renew` never lengthens a certificate's life."""

    RENEW = "renew"
    WARN = "warn"
    SUSPEND = "suspend"


class CanaryResult(Part):
    """One estimand on the canary sample: what was certified, what is seen now."""

    estimand: str
    certified: Interval
    seen: Interval
    margin: float
    outcome: WatchOutcome
    reason: str = ""


class WatchReport(Record):
    """Is it still the model that was certified, and still as safe."""

    schema_name: ClassVar[str] = "watch-report"

    serial: str
    certificate_sha256: Sha256
    through: str
    """`raw` (the model itself) or `served` (through the gateway)."""
    fingerprint_matches: bool | None = None
    """None when the path gives no logits to compare."""
    canaries: tuple[CanaryResult, ...]
    failed_probes: int = 0
    outcome: WatchOutcome
    reasons: tuple[str, ...]
    started_at: Moment
    watched_at: Moment
