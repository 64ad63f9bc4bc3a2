"""From distances of single probes to the chance that a comparison of so many alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recert.interval import Interval, exact_interval, upper_tail
from recert.policy.sections.fingerprint import LEVEL


@dataclass(frozen=True)
class Rule:
    """When one comparison alarms: so many of so many probes are further away than `limit`."""

    limit: float
    alarm_at: dict[int, int]

    def unlike(self, distances: Sequence[float]) -> Interval:
        """Return the share of probes that are unlike, with its exact interval."""
        return exact_interval(sum(d > self.limit for d in distances), len(distances), level=LEVEL)

    def alarm(self, distances: Sequence[float], asked: int) -> tuple[float, float, float]:
        """Return the chance that a comparison alarms, and the same at both ends of that interval."""
        share = self.unlike(distances)
        at = self.alarm_at[asked]
        low, point, high = (upper_tail(at, asked, rate) for rate in (share.low, share.point, share.high))
        return point, low, high


def rule_of(same: Sequence[float], limit: float, asked: Sequence[int], false_alarm: float) -> Rule:
    """
    Return the rule that Recert makes of what the certified weights do in another precision.

    For each number of probes it is the smallest count that comes by chance at most as often as `false_alarm`, at the
    worse end of the exact interval; above the number of probes where none does, so that it never alarms.
    """
    rate = exact_interval(sum(d > limit for d in same), len(same), level=LEVEL).high
    found = {}
    for n in asked:
        found[n] = next((at for at in range(1, n + 1) if upper_tail(at, n, rate) <= false_alarm), n + 1)
    return Rule(limit, found)
