"""What live exchanges look like beside those of before."""

from __future__ import annotations

from typing import ClassVar

from recert.interval import Interval
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record


class ControlDrift(Part):
    """One control, on requests or on replies: what it said before and now."""

    control: str
    direction: str
    """`input` or `output`."""
    before: Interval
    """Share of the exchanges of before that it blocked."""
    now: Interval
    failed_before: int
    """Exchanges in which it gave no score."""
    failed_now: int
    mean_before: float | None = None
    """Mean score; None where it gave none."""
    mean_now: float | None = None
    pairs: int
    """Exchanges of before and now that were compared, one with one."""
    evidence: float
    """Evidence that scores or blocks are not distributed as before, an e-value."""
    changed: bool
    """Whether it reached the threshold."""


class BlockedCluster(Part):
    """Blocked requests that are alike: something for a person to look at, and perhaps to make a suite's prompts of."""

    control: str
    category: str = ""
    size: int
    """Blocked requests in it."""
    clients: int
    """Different keys that they came with."""
    seen_before: int
    """Blocked requests of before that would have been in it."""
    requests: tuple[Sha256, ...]
    """Digests of some of them, different ones."""
    prompt: str | None = None
    """The last user turn of one of them; None unless texts were kept and asked for."""


class ExchangeDrift(Record):
    """Exchanges of an audit log since some time, compared with those of before."""

    schema_name: ClassVar[str] = "exchange-drift"

    policy_sha256: Sha256
    since: Moment
    exchanges_before: int
    exchanges_now: int
    changed_at: float
    """Evidence from which a control counts as changed: their number by the policy's `exchange_alpha`."""
    controls: tuple[ControlDrift, ...]
    clusters: tuple[BlockedCluster, ...]
    by_text: bool
    """Whether requests were compared by their words; else by digest, control, category and score alone."""
    looked_at: Moment
