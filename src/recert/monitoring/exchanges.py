"""
Live exchanges, from the gateway's audit log: are requests and what controls say of them as they were before?

Scores and digests are enough. Words are read only where they were kept and are given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from recert.betting import EProcess
from recert.interval import Interval, exact_interval
from recert.policy import Policy
from recert.records.live.exchange import ControlScore, Exchange
from recert.records.live.exchange_drift import BlockedCluster, ControlDrift, ExchangeDrift
from recert.records.record import now

_STEPS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Scores are compared by how many reach each of these."""
_MOST: Final = 1e300
_LEVEL: Final = 0.95
_NAMED: Final = 10
_MOST_CLUSTERS: Final = 1000
"""Beyond it a request that is like none so far is left out: no log takes forever."""


def compare_exchanges(
    before: Sequence[Exchange],
    since: Sequence[Exchange],
    *,
    policy: Policy,
    at: datetime,
    prompts: Mapping[str, str] | None = None,
) -> ExchangeDrift:
    """
    Return how live exchanges differ from those of before, control by control, and which blocked requests are alike.

    The exchanges are paired in their order, one of before with one of now. Where both are distributed alike the
    difference of what they reach is 0 on average, and bets on it win nothing, however many more come: the evidence may
    be looked at again as the log grows. Half is bet on more, half on less, at several scores and on blocks.

    Args:
        before: exchanges of an earlier time, which is what is usual.
        since: exchanges of now.
        policy: the bounds.
        at: when those of now begin.
        prompts: last user turns by the digest of the request; None to compare requests without words.

    Source:
        Shekhar and Ramdas 2023, "Nonparametric two-sample testing by betting", arXiv:2112.09162 (pairs and bets).
    """
    bounds = policy.monitoring
    names = sorted({(s.control, s.direction) for e in (*before, *since) for s in e.scores})
    changed_at = len(names) / bounds.exchange_alpha
    return ExchangeDrift(
        policy_sha256=policy.digest,
        since=at,
        exchanges_before=len(before),
        exchanges_now=len(since),
        changed_at=changed_at,
        controls=tuple(_control(name, before, since, changed_at) for name in names),
        clusters=tuple(_clusters(before, since, prompts, bounds.cluster_least, bounds.cluster_likeness)),
        by_text=prompts is not None,
        looked_at=now(),
    )


def _control(
    name: tuple[str, str], before: Sequence[Exchange], since: Sequence[Exchange], changed_at: float
) -> ControlDrift:
    sides = [
        [s for e in side for s in e.scores if (s.control, s.direction) == name] for side in (before, since)
    ]
    evidence = min(two_sample_evidence(*sides), _MOST)
    means = [_mean([s.score for s in side if s.score is not None]) for side in sides]
    return ControlDrift(
        control=name[0],
        direction=name[1],
        before=_blocked(sides[0]),
        now=_blocked(sides[1]),
        failed_before=sum(s.score is None for s in sides[0]),
        failed_now=sum(s.score is None for s in sides[1]),
        mean_before=means[0],
        mean_now=means[1],
        pairs=min(map(len, sides)),
        evidence=evidence,
        changed=evidence >= changed_at,
    )


def two_sample_evidence(before: Sequence[ControlScore], since: Sequence[ControlScore]) -> float:
    """
    Return the evidence that scores or blocks are distributed otherwise than before, an e-value.

    A score that is missing reaches every step, as a failed control blocks.
    """
    events = [_reaches(step) for step in _STEPS] + [_is_blocked]
    processes = [EProcess.above(0.0) for _ in range(2 * len(events))]
    for old, new in zip(before, since, strict=False):
        for place, event in enumerate(events):
            difference = float(event(new)) - float(event(old))
            processes[2 * place].update([difference])
            processes[2 * place + 1].update([-difference])
    return sum(process.value for process in processes) / len(processes)


def _reaches(step: float) -> Callable[[ControlScore], bool]:
    return lambda score: score.score is None or score.score >= step


def _is_blocked(score: ControlScore) -> bool:
    return score.blocked


def _blocked(scores: Sequence[ControlScore]) -> Interval:
    return exact_interval(sum(s.blocked for s in scores), len(scores), level=_LEVEL)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


@dataclass
class _Cluster:
    """Blocked requests that are like the first of them."""

    control: str
    category: str
    likes: frozenset[str]
    prompt: str | None
    size: int = 0
    seen_before: int = 0
    clients: set[str] = field(default_factory=set)
    requests: dict[str, None] = field(default_factory=dict)


def _clusters(
    before: Sequence[Exchange],
    since: Sequence[Exchange],
    prompts: Mapping[str, str] | None,
    least: int,
    likeness: float,
) -> Iterator[BlockedCluster]:
    found: list[_Cluster] = []
    for is_new, side in ((True, since), (False, before)):
        for exchange in side:
            score = next((s for s in exchange.scores if s.blocked and s.direction == "input"), None)
            if score is None or exchange.decision != "blocked-input":
                continue
            words = _likes(exchange, score, prompts)
            one = next(
                (c for c in found if c.control == score.control and _alike(c.likes, words) >= likeness), None
            )
            if one is None and is_new and len(found) < _MOST_CLUSTERS:
                text = prompts.get(exchange.request_sha256) if prompts else None
                one = _Cluster(score.control, score.category, words, text)
                found.append(one)
            if one is not None and is_new:
                one.size += 1
                one.clients.add(exchange.client)
                one.requests[exchange.request_sha256] = None
            elif one is not None:
                one.seen_before += 1
    for one in sorted(found, key=lambda c: (c.seen_before - c.size, c.control)):
        if one.size >= least:
            yield BlockedCluster(
                control=one.control, category=one.category, size=one.size, clients=len(one.clients),
                seen_before=one.seen_before, requests=tuple(list(one.requests)[:_NAMED]), prompt=one.prompt,
            )  # fmt: skip


def _likes(exchange: Exchange, score: ControlScore, prompts: Mapping[str, str] | None) -> frozenset[str]:
    """What a request is compared by: its words, or else all that the log says of it but its text."""
    text = (prompts or {}).get(exchange.request_sha256, "")
    words = frozenset(re.findall(r"\w+", text.casefold()))
    tenth = "none" if score.score is None else f"{score.score:.1f}"
    return words or frozenset({f"{score.category}\n{tenth}"})


def _alike(some: frozenset[str], others: frozenset[str]) -> float:
    return len(some & others) / len(some | others)
