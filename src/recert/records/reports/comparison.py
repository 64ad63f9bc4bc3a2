"""Two evaluations, or two results of other tools, put side by side."""

from __future__ import annotations

from typing import ClassVar, Literal

from recert.interval import Interval
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record
from recert.records.reports.evaluation import Estimand, Verdict


class ComparedSide(Part):
    """One of the two."""

    name: str
    """The model, as its report or file names it."""
    sha256: Sha256
    """Digest of the report, or of the tool's own file."""
    tool: str = "recert"
    tool_version: str = ""
    verdict: Verdict | None = None
    """What its own report says; None for results of other tools."""


class ComparedRule(Part):
    """How a rate changed from A to B on the prompts that both were asked."""

    rule_id: str
    suite: str
    condition: str
    estimand: Estimand
    category: str = ""
    """The hazard category that the rule is about; empty for all of them together."""
    safeguards: tuple[str, ...] = ()
    verdict_a: Verdict | None = None
    """What A's own report says of the rule; None where it has no such rule."""
    verdict_b: Verdict | None = None
    a: Interval
    """Rate of A on the shared prompts."""
    b: Interval
    """Rate of B on the shared prompts."""
    change: Interval
    """
    Paired change, B minus A, positive is worse; an anytime-valid confidence sequence. Its `n` counts observations, a
    cluster of prompts being one.
    """
    margin: float
    only_a: int = 0
    """Prompts that A alone was asked."""
    only_b: int = 0
    """Prompts that B alone was asked."""
    unscored: int = 0
    """Shared prompts on which one side has no score: they count as the worst change."""
    verdict: Verdict
    """Pass: B is not worse than A by more than the margin. Fail: it is."""
    reason: str = ""


class Comparison(Record):
    """Is B worse than A, rule by rule."""

    schema_name: ClassVar[str] = "comparison"

    kind: Literal["evaluations", "imported-results"]
    a: ComparedSide
    b: ComparedSide
    rules: tuple[ComparedRule, ...]
    verdict: Verdict
    """Pass only when every rule passes."""
    notes: tuple[str, ...] = ()
    """What a reader must know before the figures."""
    compared_at: Moment
