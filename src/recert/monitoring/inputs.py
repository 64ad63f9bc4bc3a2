"""Live requests beside the certified distribution of inputs: scores that the audit log holds, and no text."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from recert.errors import InputError
from recert.policy import Policy
from recert.records.live.exchange import Exchange
from recert.records.live.input_drift import ControlInputDrift, InputDrift
from recert.records.record import now
from recert.records.signed.certificate import Certificate
from recert.records.signed.input_distribution import ControlCounts, InputDistribution

_LEAST_DRAWS: Final = 9_999
_ENOUGH: Final = 20
"""Draws at least as far apart after which no more are needed: the two are alike enough to say so."""
_ROUNDING: Final = 1e-12


def compare_inputs(
    certificate: Certificate, exchanges: Sequence[Exchange], *, policy: Policy, at: datetime
) -> InputDrift:
    """
    Return how live requests differ from those that were expected when a model was certified, control by control.

    Both are counts in the same bins of scores. The distance is Jensen and Shannon's divergence; its p-value comes from
    permutations of which request is whose, so it holds for any counts, where requests are drawn independently and the
    window is looked at once. Where a control of the certificate was not asked about live requests at all, that is a
    change.

    Args:
        certificate: holds the distribution.
        exchanges: live exchanges of the time that is looked at.
        policy: the bound, `monitoring.exchange_alpha`, over all controls.
        at: when that time begins.

    Raises:
        InputError: the certificate has no distribution, or no control was asked about a live request.

    Source:
        Lin 1991, "Divergence measures based on the Shannon entropy"; Holm 1979, "A simple sequentially rejective
        multiple test procedure".
    """
    certified = certificate.inputs
    if certified is None:
        raise InputError(
            "the certificate has no distribution of inputs",
            facts={"serial": certificate.serial},
            hint="certify with --traffic and a sample of expected requests, or compare with an earlier time",
        )
    scores = [said for e in exchanges if (said := [s for s in e.scores if s.direction == "input"])]
    if not scores:
        raise InputError(
            "no live request can be compared",
            facts={"exchanges": len(exchanges)},
            hint="give a time since when controls were asked about requests",
        )
    live = [ControlCounts.of(one.control, scores, certified.edges) for one in certified.controls]
    alpha = policy.monitoring.exchange_alpha
    names = {one.control for one in certified.controls}
    return InputDrift(
        certificate_serial=certificate.serial,
        policy_sha256=policy.digest,
        since=at,
        certified_requests=certified.requests,
        live_requests=len(scores),
        left_out=len(exchanges) - len(scores),
        alpha=alpha,
        edges=certified.edges,
        controls=tuple(_controls(certified, live, alpha)),
        not_compared=tuple(sorted({s.control for said in scores for s in said} - names)),
        looked_at=now(),
    )


def _controls(
    certified: InputDistribution, live: Sequence[ControlCounts], alpha: float
) -> Iterator[ControlInputDrift]:
    draws = max(_LEAST_DRAWS, math.ceil(len(live) / alpha))
    pairs = [(old.counts, new.counts) for old, new in zip(certified.controls, live, strict=True)]
    found = [homogeneity_p_value(*pair, draws=draws) for pair in pairs]
    for control, pair, p_value, adjusted in zip(live, pairs, found, holm(found), strict=True):
        yield ControlInputDrift(
            control=control.control,
            certified=pair[0],
            now=pair[1],
            distance=round(divergence(*pair), 9),
            p_value=p_value,
            p_adjusted=adjusted,
            changed=adjusted <= alpha,
        )


def divergence(some: Sequence[int], others: Sequence[int]) -> float:
    """Return the Jensen-Shannon divergence of two rows of counts, each of its own sum, in bits: in [0, 1]."""
    n, m = sum(some), sum(others)
    parts = []
    for a, b in zip(some, others, strict=True):
        p, q = a / n, b / m
        parts += [x * math.log2(2 * x / (p + q)) / 2 for x in (p, q) if x > 0]
    return min(1.0, max(0.0, math.fsum(parts)))


def homogeneity_p_value(some: Sequence[int], others: Sequence[int], *, draws: int) -> float:
    """
    Return the p-value of two rows of counts being drawn alike, by permutation, the same in every run.

    It stops once enough draws were as far apart as the rows are; the p-value holds all the same.

    Args:
        some: counts, not all of them zero.
        others: counts in the same bins, not all of them zero.
        draws: most permutations; the least p-value is 1 / (draws + 1).

    Source:
        Besag and Clifford 1991, "Sequential Monte Carlo p-values".
    """
    pooled = [a + b for a, b in zip(some, others, strict=True)]
    if sum(count > 0 for count in pooled) == 1:
        return 1.0
    far = divergence(some, others) - _ROUNDING
    draw, size, farther = random.Random(0), min(sum(some), sum(others)), 0  # noqa: S311 - statistics, no secret
    for done in range(1, draws + 1):
        one = _permuted(pooled, size, draw)
        farther += divergence(one, [a - b for a, b in zip(pooled, one, strict=True)]) >= far
        if farther == _ENOUGH:
            return farther / done
    return (farther + 1) / (draws + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for there being several, in their order; Holm's method holds under any dependence."""
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted


def _permuted(pooled: Sequence[int], size: int, draw: random.Random) -> list[int]:
    """The bins of `size` requests that are drawn from all, none of them twice."""
    left, taken = sum(pooled), []
    for count in pooled:
        some = _hypergeometric(count, left - count, size, draw)
        taken.append(some)
        left, size = left - count, size - some
    return taken


def _hypergeometric(good: int, bad: int, size: int, draw: random.Random) -> int:
    """How many of `size` drawn from `good + bad` are good: by inversion, from the likeliest number outwards."""
    low, high = max(0, size - bad), min(good, size)
    if low == high:
        return low
    down = up = min(max((size + 1) * (good + 1) // (good + bad + 2), low), high)
    below = above = math.exp(
        _log_ways(good, up) + _log_ways(bad, size - up) - _log_ways(good + bad, size)
    )  # fmt: skip
    left = draw.random() - below
    while left >= 0 and (down > low or up < high):
        if up < high:
            above *= (good - up) * (size - up) / ((up + 1) * (bad - size + up + 1))
            up += 1
            left -= above
            if left < 0:
                return up
        if down > low:
            below *= down * (bad - size + down) / ((good - down + 1) * (size - down + 1))
            down -= 1
            left -= below
            if left < 0:
                return down
        if above == below == 0:
            break  # what is left is rounding
    return min(max((size + 1) * (good + 1) // (good + bad + 2), low), high)


def _log_ways(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
