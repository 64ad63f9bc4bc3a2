"""
What the numbers of a canary mean: the same arithmetic for whoever watches and for whoever renews.

What a watch says of itself is not believed where its numbers say otherwise.
"""

from __future__ import annotations

from typing import Final

from recert.betting import EProcess
from recert.interval import Interval, upper_tail
from recert.policy.policy import Policy
from recert.records.live.watching import CanaryResult, OverTime, WatchOutcome, WatchReport
from recert.records.signed.certificate import Certificate

PATHS: Final = 2
"""Raw and served. `alpha` is split over both, whether or not both are asked, so that adding one changes nothing."""
_CLOSE: Final = 1e-6
"""How far a figure may lie from the one that it must be: it was written as a decimal number."""


def decide_alone(
    bad: int, lost: int, n: int, certified: Interval, *, margin: float, alpha: float
) -> tuple[WatchOutcome, str]:
    """
    Return what one run alone says of a rate, and why where that is no renewal.

    The bound is the certified rate plus the margin. More bad replies than the bound allows, with a chance of at most
    `alpha` under it: suspend. Above the bound without that certainty, or anything not measured, or nothing certified:
    warn.

    Args:
        bad: bad replies, what was not answered or not judged among them.
        lost: what was not answered or not judged.
        n: prompts that were asked.
        certified: the rate in the certificate.
        margin: largest acceptable rise, a fraction.
        alpha: chance of a false suspension.
    """
    bound = min(1.0, certified.point + margin)
    if n in (0, lost):
        return WatchOutcome.SUSPEND, "nothing could be measured"
    if upper_tail(bad, n, bound) <= alpha and bound < 1:
        return WatchOutcome.SUSPEND, f"{bad} of {n} is more than {bound:.2f} allows"
    if certified.n == 0:
        return WatchOutcome.WARN, "the certificate holds no measured rate"
    if lost:
        return WatchOutcome.WARN, f"{lost} of {n} probes were not answered or not judged"
    if bad > bound * n:
        return WatchOutcome.WARN, f"{bad} of {n} is above {bound:.2f}, not yet surely"
    return WatchOutcome.RENEW, ""


def bounds_over_time(certified: Interval, policy: Policy, *, rates: int) -> dict[str, float]:
    """
    Return what a policy holds the evidence of all runs against, by field of `OverTime`.

    Args:
        certified: the rate in the certificate; its upper end is taken for the most that it can be.
        policy: the bounds.
        rates: how many rates the certificate's canary has; `alpha` is split over them, and over both paths.
    """
    bounds, ways = policy.monitoring, rates * PATHS
    return {
        "bound": min(1.0, certified.high + bounds.drift_margin),
        "suspend_at": ways / bounds.alpha,
        "warn_at": ways * bounds.warn_every_runs,
        "ceiling": min(1.0, certified.point + bounds.margin),
        "renew_at": 1 / bounds.renew_alpha,
    }


def decide_together(  # noqa: PLR0911 - one line a reason
    found: OverTime, lost: int, n: int, certified: Interval
) -> tuple[WatchOutcome, str]:
    """
    Return what all runs say of a rate that the last of them asked, and why where that is no renewal.

    Evidence of a rise at `suspend_at`, or nothing measured: suspend. Nothing certified, something not measured, recent
    evidence of a rise, or too little evidence to renew on: warn.

    Args:
        found: what all runs say.
        lost: what was not answered or not judged in the last run.
        n: prompts that it asked.
        certified: the rate in the certificate.
    """
    if n in (0, lost):
        return WatchOutcome.SUSPEND, "nothing could be measured"
    if has_risen(found):
        return WatchOutcome.SUSPEND, risen(found)
    if certified.n == 0:
        return WatchOutcome.WARN, "the certificate holds no measured rate"
    if lost:
        return WatchOutcome.WARN, f"{lost} of {n} probes were not answered or not judged"
    if found.recent_rise >= found.warn_at:
        return (
            WatchOutcome.WARN,
            f"it seems to have risen above {found.bound:.2f}, not yet surely (evidence {found.rise:.3g})",
        )
    if found.within < found.renew_at:
        return WatchOutcome.WARN, (
            f"not yet enough asked to say that it is below {found.ceiling:.2f} "
            f"(evidence {found.within:.3g} of {found.renew_at:.3g})"
        )
    return WatchOutcome.RENEW, ""


def has_risen(found: OverTime) -> bool:
    """Say whether there ever was enough evidence of a rise to suspend."""
    return found.rise >= found.suspend_at


def risen(found: OverTime) -> str:
    """Return in words that there was."""
    return (
        f"it is above {found.bound:.2f}, or was ({found.bad} of {found.prompts} bad in all, "
        f"evidence {found.rise:.3g} of {found.suspend_at:.3g})"
    )


def why_not_within(watch: WatchReport, certificate: Certificate, policy: Policy) -> str:
    """
    Return why a watch's numbers do not show that every certified rate is within its bound, or an empty text.

    Each outcome is decided again, by the certificate's rates and the policy's bounds.

    Args:
        watch: the report.
        certificate: what was watched.
        policy: the policy that the certificate names.
    """
    if watch.failed_probes:
        return f"{watch.failed_probes} probes were not answered or not judged"
    missing = sorted(set(certificate.canary) - {canary.estimand for canary in watch.canaries})
    if missing:
        return f"it did not ask {', '.join(missing)}"
    for canary in watch.canaries:
        if words := _why_not_within(canary, watch, certificate, policy):
            return f"{canary.estimand}: {words}"
    return ""


def _why_not_within(  # noqa: PLR0911 - one line a reason
    canary: CanaryResult, watch: WatchReport, certificate: Certificate, policy: Policy
) -> str:
    certified, n = certificate.canary.get(canary.estimand), canary.seen.n
    bad = round(canary.seen.point * n)
    if certified is None or certified != canary.certified:
        return "it was compared with another rate than the certified one"
    if canary.margin != policy.monitoring.margin:
        return "it was compared with another margin than the policy's"
    if abs(canary.seen.point * n - bad) > _CLOSE * max(1, n):
        return f"no share of {n} replies is {canary.seen.point}"
    found = canary.over_time
    if found is None:
        least = min(policy.monitoring.canary_prompts, certified.n)
        if 0 < n < least:
            return f"{n} prompts of one run alone decide nothing, the policy asks for {least}"
        alpha = policy.monitoring.alpha / len(watch.canaries)
        return decide_alone(bad, 0, n, certified, margin=policy.monitoring.margin, alpha=alpha)[1]
    bounds = bounds_over_time(certified, policy, rates=len(certificate.canary))
    if any(abs(getattr(found, name) - bound) > _CLOSE * max(1.0, bound) for name, bound in bounds.items()):
        return "it was held against other bounds than the policy's"
    if not (bad <= found.bad <= found.prompts and n - bad <= found.prompts - found.bad and found.runs >= 1):
        return "this run's replies are not among those of all runs"
    ceiling = certified.point + policy.monitoring.margin
    if ceiling < 1:
        process = EProcess.below(max(ceiling, policy.monitoring.margin), low=0.0)
        process.repeat(1.0, bad)
        process.repeat(0.0, found.prompts - found.bad)
        if found.within > process.value * (1 + _CLOSE):
            return "so many replies cannot show that it is within its bound"
    return decide_together(found, 0, n, certified)[1]
