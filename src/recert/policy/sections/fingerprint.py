"""When a server elsewhere is no longer taken for the certified model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from recert.interval import exact_interval, upper_tail
from recert.records.record import Part
from recert.records.signed.fingerprint import Fingerprint, FingerprintTrial


class FingerprintPolicy(Part):
    """
    How a fingerprint is made and compared.

    `max_unlike` was measured (`bench/fingerprint.py`): the certified weights in another precision stay below it on
    nearly all probes, and another tune of the same base does not on most.
    """

    max_unlike: float = Field(default=0.05, gt=0, lt=1)
    """Largest distance of a probe's probabilities, in [0, 1], at which it is still alike."""
    max_unlike_answer: float = Field(default=0.5, gt=0, lt=1)
    """The same of a probe's text, where a server gives no probabilities: the share that is not the same."""
    false_alarm: float = Field(default=1e-5, gt=0, lt=0.5)
    """Largest chance that one comparison stops the certified model."""
    miss: float = Field(default=1e-3, gt=0, lt=0.5)
    """Largest chance that one comparison passes another model that the fingerprint was made against."""
    min_asked: int = Field(default=12, ge=2)
    """Fewest probes of a comparison."""
    every_s: float = Field(default=600, gt=0, le=86_400)
    """From the begin of one comparison to its end: its probes are spread over this time by chance."""


LEVEL: Final = 0.95
"""Coverage of the exact intervals that chances are computed from."""


@dataclass(frozen=True)
class Comparison:
    """How many probes are asked, how many unlike ones are too many, and how often that errs at most."""

    asked: int
    alarm_at: int
    false_alarm: float
    miss: float


def plan_comparison(
    same: FingerprintTrial, others: Sequence[FingerprintTrial], bounds: FingerprintPolicy
) -> Comparison | None:
    """
    Return the smallest comparison that errs as seldom as the policy asks, or None where the probes are too few for any.

    Each chance is that of a binomial count, at the worse end of the exact interval of what was counted: for the
    certified weights, and for the other model that was unlike least often.
    """
    alike, apart = _rates(same, others)
    alarm_at = 1
    for asked in range(bounds.min_asked, same.probes + 1):
        while alarm_at <= asked and upper_tail(alarm_at, asked, alike) > bounds.false_alarm:
            alarm_at += 1  # more probes never need fewer
        if alarm_at > asked:
            continue
        found = Comparison(
            asked, alarm_at, upper_tail(alarm_at, asked, alike), 1 - upper_tail(alarm_at, asked, apart)
        )
        if found.miss <= bounds.miss:
            return found
    return None


def why_too_weak(fingerprint: Fingerprint, bounds: FingerprintPolicy) -> str:
    """Return why a fingerprint does not compare as the policy asks, or an empty text; chances are computed again."""
    limit = bounds.max_unlike if fingerprint.compares == "log-probs" else bounds.max_unlike_answer
    alike, apart = _rates(fingerprint.same, fingerprint.others)
    miss = 1 - upper_tail(fingerprint.alarm_at, fingerprint.asked, apart)
    false_alarm = upper_tail(fingerprint.alarm_at, fingerprint.asked, alike)
    checks = (
        (not fingerprint.others, "it was tried on no other model"),
        (fingerprint.max_unlike > limit, f"it calls {fingerprint.max_unlike} alike, at most {limit} is"),
        (fingerprint.asked < bounds.min_asked, f"it asks {fingerprint.asked} probes of {bounds.min_asked}"),
        (fingerprint.asked > fingerprint.probes, "it asks more probes than there are"),
        (
            miss > bounds.miss,
            f"it misses another model with a chance up to {miss:.2g}, not {bounds.miss:.2g}",
        ),
        (
            false_alarm > bounds.false_alarm,
            f"it alarms falsely with a chance up to {false_alarm:.2g}, not {bounds.false_alarm:.2g}",
        ),
    )
    return next((words for failed, words in checks if failed), "")


def _rates(same: FingerprintTrial, others: Sequence[FingerprintTrial]) -> tuple[float, float]:
    """The most probes that the certified weights may be unlike on, and the fewest that another model may be."""
    alike = exact_interval(same.unlike, same.probes, level=LEVEL).high
    apart = min((exact_interval(o.unlike, o.probes, level=LEVEL).low for o in others), default=0.0)
    return alike, apart
