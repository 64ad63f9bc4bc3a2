"""How far work is that has not ended: what `progress.json` in its folder says. None of it is a verdict."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.interval import Interval
from recert.records.record import Moment, Part, Record
from recert.records.reports.evaluation import Verdict


class EvidencePoint(Part):
    """Evidence of one rule after a number of observations, as natural logarithms of e-values."""

    n: int
    within: float
    """That the change is below the margin."""
    beyond: float
    """That it is above, corrected for the rules beside it."""


class RuleProgress(Part):
    """One rule under one condition while it is measured."""

    rule_id: str
    estimand: str
    suite: str
    condition: str
    safeguards: tuple[str, ...] = ()
    gates: bool
    """False for a control, which decides nothing."""
    asked: int
    limit: int
    """Prompts that may be asked at most."""
    margin: float
    change: Interval | None = None
    """Tuned minus base so far; its bounds hold however often one looks. None where nothing was measured."""
    enough: float
    """What evidence decides at, as a natural logarithm."""
    path: tuple[EvidencePoint, ...] = ()
    """How evidence came about, the last point the newest; thinned out where there are many."""
    verdict: Verdict | None = None
    """None while more is asked."""
    reason: str = ""


class StageProgress(Part):
    """One step of a run."""

    name: str
    """As the command says it, such as `sql: screen`."""
    started_at: Moment
    ended_at: Moment | None = None
    done: int = 0
    of: int = 0
    """How much there is at most; 0 where that is not known."""
    note: str = ""


class RunProgress(Record):
    """How far a run is. Its file is touched every few seconds: one that is not is of a run that was killed."""

    schema_name: ClassVar[str] = "run-progress"

    name: str
    """What the model is called."""
    command: str
    """`run`, `evaluate` or `service`."""
    state: Literal["running", "ended", "failed"]
    """`failed`: it could not answer; `reason` says why."""
    reason: str = ""
    stages: tuple[StageProgress, ...] = ()
    rules: tuple[RuleProgress, ...] = ()
    block: int = Field(default=0, ge=0)
    """Blocks of prompts that were judged."""
    started_at: Moment
    written_at: Moment
