"""What another policy would have done with exchanges of an audit log."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.interval import Interval
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record
from recert.records.reports.evaluation import Verdict


class ControlChange(Part):
    """
    What one control says anew. To object is to block, or in shadow to say that it would have blocked.

    Only exchanges in which it is asked now are counted.
    """

    control: str
    direction: Literal["input", "output"]
    shadow: bool
    """Whether it is in shadow under the policy that is tried."""
    asked: int
    """Exchanges in which it was asked anew."""
    asked_before: int
    """Those of them in which it was asked before: it may have been absent, or another one had blocked already."""
    objects_before: int
    """Of those that it was asked about both times."""
    objects: int
    """Of those that it was asked about both times."""
    newly_objects: Interval
    """Share of those that it was asked about both times: it objects now, and did not."""
    no_longer_objects: Interval
    """Share of those that it was asked about both times: it did object, and does not now."""
    objects_first: int
    """Exchanges that it was not asked about before, and objects to."""
    failed: int
    """Exchanges in which it could not answer now, which is to object."""


class CategoryChange(Part):
    """What changes in one hazard category, by the control that decides; an empty name where it names none."""

    category: str
    newly_blocked: Interval
    """Share of the exchanges that were released."""
    newly_released: Interval
    """Share of the exchanges that were blocked."""


class ChangedExchange(Part):
    """One exchange that would go otherwise, by digest."""

    change: Literal["newly-blocked", "newly-released"]
    request_id: str
    request_sha256: Sha256
    reply_sha256: Sha256
    client: str
    model_name: str
    before: str
    after: str
    control: str
    """The control that blocks now, or blocked before."""
    reason: str = ""
    category: str = ""
    score_before: float | None = None
    score_after: float | None = None
    received_at: Moment


class BacktestBound(Part):
    """The largest share of exchanges that may change, as whoever asked stated it."""

    change: Literal["newly-blocked", "newly-released"]
    most: float = Field(ge=0, le=1)
    share: Interval
    """Exchanges of which no text is left, or not all of it, count as changed."""
    verdict: Verdict
    """Pass: the whole interval is within the bound. Fail: it is beyond it."""


class BacktestReport(Record):
    """What a policy would have done with exchanges of an audit log that another one decided."""

    schema_name: ClassVar[str] = "backtest-report"

    policy_id: str
    policy_version: str
    policy_sha256: Sha256
    first_line: int
    """Number of the first line of the log."""
    last_line: int
    last_line_sha256: Sha256
    """Digest of the last line, which holds all before it."""
    since: Moment
    """When the first exchange that was looked at was received."""
    until: Moment
    compared: int
    """Exchanges that were decided before and are decided anew."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """
    Exchanges that are not compared, by reason: `refused` and `failed` were not decided by controls, `unfinished` have
    no last line, `no-text` were kept by digest only or were deleted, `other-route` are no chats, nor
    what LiteLLM asked about.
    """
    released_before: int
    blocked_before: int
    newly_blocked: Interval
    """Share of the compared exchanges that were released."""
    newly_released: Interval
    """
    Share of the compared exchanges that were blocked: for a request, it would reach the model, and nothing is known of
    what that would say.
    """
    undecided: int
    """Replies that were cut, where nothing objects to what there is of them: what follows is not known."""
    no_text_released: int
    """Exchanges that were released and of which the request is not there."""
    no_text_blocked: int
    controls: tuple[ControlChange, ...]
    categories: tuple[CategoryChange, ...] = ()
    examples: tuple[ChangedExchange, ...] = ()
    """Some of those that change, drawn by their digests."""
    bounds: tuple[BacktestBound, ...] = ()
    verdict: Verdict | None = None
    """Pass only where every stated bound passes; None where none was stated."""
    notes: tuple[str, ...]
    """What a reader must know before the figures."""
    backtested_at: Moment
