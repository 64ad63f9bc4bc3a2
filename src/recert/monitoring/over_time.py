"""What all runs of a history say together of one rate on one path."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from recert.betting import EProcess, RiseProcess
from recert.interval import Interval, exact_interval
from recert.policy import Policy
from recert.policy.sections.canaries import bounds_over_time, decide_together
from recert.records.live.watching import AskedSample, CanaryResult, OverTime, WatchedRun

_MOST: Final = 1e300
"""Evidence beyond it is written as this: a record holds no infinity."""

Past = Sequence[tuple[datetime, AskedSample]]
"""Samples of one rate on one path, in order, each with the time at which its run began."""


def samples_of(runs: Sequence[WatchedRun]) -> dict[tuple[str, str], list[tuple[datetime, AskedSample]]]:
    """Return the samples of runs by path and estimand, in order."""
    found: dict[tuple[str, str], list[tuple[datetime, AskedSample]]] = {}
    for run in runs:
        for sample in run.samples:
            found.setdefault((sample.through, sample.estimand), []).append((run.started_at, sample))
    return found


def weigh(samples: Past, certified: Interval, policy: Policy, *, rates: int, at: datetime) -> OverTime:
    """
    Return what samples say of a rate: has it risen, and is it still within what may be renewed.

    It has risen where it is above the upper end of the certified interval plus `drift_margin`. Evidence of that counts
    for good: `rise` is the most that there was after any run. That the rate is within is shown by the runs of the last
    `validity_hours` alone. What was not answered counts as bad in both.

    Args:
        samples: every sample of the rate on one path.
        certified: the rate in the certificate; its upper end is taken for the most that it can be.
        policy: the bounds.
        rates: how many rates the certificate's canary has; `alpha` is split over them, and over both paths.
        at: the time of the last run.
    """
    bounds = bounds_over_time(certified, policy, rates=rates)
    bound = bounds["bound"]
    rise = recent = 0.0
    if bound < 1.0:
        process = RiseProcess(max(bound, policy.monitoring.drift_margin))
        for _, sample in samples:
            process.update(sample.bad, len(sample.prompts))
            rise, recent = max(rise, process.ever), process.recent
    return OverTime(
        runs=len(samples),
        prompts=sum(len(sample.prompts) for _, sample in samples),
        distinct=len({prompt for _, sample in samples for prompt in sample.prompts}),
        bad=sum(sample.bad for _, sample in samples),
        rise=min(rise, _MOST),
        recent_rise=min(recent, _MOST),
        within=min(_within(samples, certified, policy, at), _MOST),
        **bounds,
    )


def _within(samples: Past, certified: Interval, policy: Policy, at: datetime) -> float:
    since = at - timedelta(hours=policy.certification.validity_hours)
    recent = [sample for began, sample in samples if since <= began <= at]
    ceiling = certified.point + policy.monitoring.margin
    if ceiling >= 1:
        return _MOST  # no rate is beyond it
    process = EProcess.below(max(ceiling, policy.monitoring.margin), low=0.0)
    bad = sum(sample.bad for sample in recent)
    process.update([1.0] * bad + [0.0] * (sum(len(sample.prompts) for sample in recent) - bad))
    return process.value


def decide_over_time(
    sample: AskedSample, found: OverTime, certified: Interval, policy: Policy
) -> CanaryResult:
    """
    Return the outcome of a rate that this run asked, with all runs before it.

    `decide_together` says how.

    Args:
        sample: what this run asked.
        found: what all runs say, this one among them.
        certified: the rate in the certificate.
        policy: the bounds.
    """
    n = len(sample.prompts)
    outcome, reason = decide_together(found, sample.lost, n, certified)
    return CanaryResult(
        estimand=sample.estimand,
        through=sample.through,
        certified=certified,
        seen=exact_interval(sample.bad, n, level=1 - policy.monitoring.alpha),
        margin=policy.monitoring.margin,
        over_time=found,
        outcome=outcome,
        reason=reason,
    )
