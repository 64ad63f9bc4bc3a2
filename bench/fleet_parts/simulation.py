"""
A fleet's re-certifications as a queue, event by event: workers that fail, people who sign, certificates that end.

Every adapter asks for its next certificate once a period, at a phase of its own. A job waits for a worker, is worked
on, then waits for somebody who signs it, and from then on the adapter has a certificate that holds for `validity_h`.
While it has none it is out of service. Times are hours.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

WEEK_H: Final = 168.0
_ARRIVES, _DONE, _BACK, _SIGNED = range(4)
Rhythm = Literal["spread", "monday", "poisson"]


@dataclass(frozen=True)
class Fleet:
    """What is simulated. Service times are drawn from `service_h`, in which each entry is as likely as another."""

    service_h: Sequence[float]
    workers: int
    adapters: int = 10_000
    bases: int = 20
    rhythm: Rhythm = "spread"
    """`spread`: phases are even over the period; `monday`: all at its beginning; `poisson`: by chance, for checks."""
    period_h: float = WEEK_H
    validity_h: float = WEEK_H + 24
    """How long a certificate holds, counted from the end of its evaluation."""
    people: int = 0
    """Those who sign; 0 where a key does, at once."""
    sign_h: float = 0.0
    """What one signature takes a person."""
    working_h: float = 40.0
    """Hours of a week in which people work, Monday to Friday."""
    failures_per_h: float = 0.0
    """Of a worker that works; the job begins anew at its last finished block."""
    kept: float = 0.9
    """Share of a job's finished work that is not lost with its worker."""
    repair_h: float = 0.25
    update_at_h: float | None = None
    """When one base is replaced: its adapters have no certificate from then on until they are evaluated again."""
    urgent_first: bool = False
    """Whose certificate ends first is taken first; else first come, first served, as the service's queue does."""
    weeks: int = 6
    warm_up_weeks: int = 2
    seed: int = 0


@dataclass
class Seen:
    """What a simulation came to, after its warm-up."""

    lapsed: float
    """Share of the fleet that is out of service, averaged over time."""
    ever_lapsed: float
    """Share of adapters that were out of service at some time."""
    waits_h: list[float] = field(repr=False)
    """From asking to the first worker."""
    verdicts_h: list[float] = field(repr=False)
    """From asking to the verdict, without signatures."""
    signed_h: list[float] = field(repr=False)
    """From asking to the last signature."""
    utilisation: float
    """Share of the workers' time in which they work."""
    unfinished: int
    """Jobs that nobody had finished when the simulation ended."""
    back_h: float | None = None
    """From the update of a base until 99 % of its adapters were in service again; None without, or where never."""

    def quantile_h(self, share: float) -> float:
        """Return the time to a verdict that a share of the jobs did not exceed."""
        return quantile(self.verdicts_h, share)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of the values does not exceed; NaN where there are none."""
    if not values:
        return math.nan
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def erlang_c(workers: int, load: float) -> float:
    """
    Return the chance that a job has to wait in M/M/c, where `load` is arrivals times mean service time.

    Raises:
        ValueError: the load is not below the number of workers.

    Source:
        A. K. Erlang, 1917, by the recursion of Erlang B.
    """
    if not 0 <= load < workers:
        raise ValueError("a queue needs a load below its number of workers")
    blocked = 1.0
    for n in range(1, workers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def mean_wait(workers: int, arrivals_per_h: float, mean_service_h: float) -> float:
    """Return the mean time that a job waits in M/M/c."""
    load = arrivals_per_h * mean_service_h
    return erlang_c(workers, load) * mean_service_h / (workers - load)


@dataclass
class _Job:
    adapter: int
    asked_at: float
    left_h: float
    began_at: float | None = None
    verdict_at: float = 0.0
    update: bool = False


class _People:
    """First come, first served by people who share their hours: the queue runs in working time alone."""

    def __init__(self, fleet: Fleet) -> None:
        self._day = fleet.working_h / 5
        self._sign_h = fleet.sign_h
        self._free = [0.0] * fleet.people

    def signed_at(self, at: float) -> float:
        """Return when something that comes now is signed."""
        if not self._free:
            return at
        done = max(heapq.heappop(self._free), self._worked(at)) + self._sign_h
        heapq.heappush(self._free, done)
        return self._clock(done)

    def _worked(self, at: float) -> float:
        week, hour = divmod(at, WEEK_H)
        day, hour = divmod(hour, 24)
        return (week * 5 + min(day, 5)) * self._day + (min(max(hour - 9, 0), self._day) if day < 5 else 0)

    def _clock(self, worked: float) -> float:
        days, hours = divmod(worked, self._day)
        if hours == 0 and days:  # the end of a day, not the beginning of the next
            days, hours = days - 1, self._day
        week, day = divmod(days, 5)
        return week * WEEK_H + day * 24 + 9 + hours


class _Run:
    """One simulation. Randomness of arrivals, service and failures is drawn apart, so that runs can be compared."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.draw = {name: random.Random(f"{fleet.seed} {name}") for name in ("when", "work", "fail")}
        self.events: list[tuple[float, int, int, object]] = []
        self.order = itertools.count()
        self.waiting: deque[_Job] = deque()
        self.urgent: list[tuple[float, int, _Job]] = []
        self.idle = fleet.workers
        self.people = _People(fleet)
        self.ends_h = fleet.weeks * fleet.period_h
        self.begins_h = fleet.warm_up_weeks * fleet.period_h
        self.busy_h = 0.0
        self.open = [0] * fleet.adapters
        self.out_h = [0.0] * fleet.adapters
        self.waits: list[float] = []
        self.verdicts: list[float] = []
        self.signed: list[float] = []
        self.back: list[float] = []
        phases = [self._phase(n) for n in range(fleet.adapters)]
        # each begins with a certificate of the round before, as old as its phase says
        self.until = [phase - fleet.period_h + fleet.validity_h for phase in phases]
        if fleet.rhythm == "poisson":
            self._later(self.draw["when"].expovariate(fleet.adapters / fleet.period_h), _ARRIVES, (0, False))
        else:
            for adapter, phase in enumerate(phases):
                self._later(phase, _ARRIVES, (adapter, False))
        if fleet.update_at_h is not None:
            for adapter in range(0, fleet.adapters, fleet.bases):
                self._later(fleet.update_at_h, _ARRIVES, (adapter, True))

    def _phase(self, adapter: int) -> float:
        return 0.0 if self.fleet.rhythm == "monday" else adapter / self.fleet.adapters * self.fleet.period_h

    def _later(self, at: float, kind: int, about: object) -> None:
        heapq.heappush(self.events, (at, next(self.order), kind, about))

    def run(self) -> Seen:
        """Go through all events up to the end."""
        acts = {
            _ARRIVES: self._arrives,
            _DONE: self._done,
            _BACK: self._worker_back,
            _SIGNED: self._is_signed,
        }
        while self.events and self.events[0][0] < self.ends_h:
            at, _, kind, about = heapq.heappop(self.events)
            acts[kind](at, about)
            self._start(at)
        return self._seen()

    def _arrives(self, at: float, about: object) -> None:
        adapter, update = about  # type: ignore[misc]
        if self.fleet.rhythm == "poisson":
            gap = self.draw["when"].expovariate(self.fleet.adapters / self.fleet.period_h)
            self._later(at + gap, _ARRIVES, ((adapter + 1) % self.fleet.adapters, False))
        elif not update:
            self._later(at + self.fleet.period_h, _ARRIVES, (adapter, False))
        if update:
            self._ends(adapter, at)
            self.until[adapter] = min(self.until[adapter], at)
        elif self.open[adapter] and self.fleet.rhythm != "poisson":
            return  # the job of the round before is still under way
        job = _Job(adapter, at, self.draw["work"].choice(self.fleet.service_h), update=update)
        self.open[adapter] += 1
        if self.fleet.urgent_first:
            heapq.heappush(self.urgent, (self.until[adapter], next(self.order), job))
        else:
            self.waiting.append(job)

    def _start(self, at: float) -> None:
        while self.idle and (self.waiting or self.urgent):
            job = heapq.heappop(self.urgent)[2] if self.urgent else self.waiting.popleft()
            self.idle -= 1
            if job.began_at is None:
                job.began_at = at
                if at >= self.begins_h:
                    self.waits.append(at - job.asked_at)
            rate = self.fleet.failures_per_h
            lives = self.draw["fail"].expovariate(rate) if rate else math.inf
            worked = min(job.left_h, lives)
            self.busy_h += self._within(at, at + worked)
            failed = lives < job.left_h
            job.left_h -= lives * self.fleet.kept if failed else job.left_h
            self._later(at + worked, _DONE, (job, failed))

    def _done(self, at: float, about: object) -> None:
        job, failed = about  # type: ignore[misc]
        if failed:
            if self.fleet.urgent_first:
                heapq.heappush(self.urgent, (self.until[job.adapter], next(self.order), job))
            else:
                self.waiting.appendleft(job)
            self._later(at + self.fleet.repair_h, _BACK, None)
            return
        self.idle += 1
        job.verdict_at = at
        if at >= self.begins_h:
            self.verdicts.append(at - job.asked_at)
        self._later(self.people.signed_at(at), _SIGNED, job)

    def _worker_back(self, at: float, _: object) -> None:
        self.idle += 1

    def _is_signed(self, at: float, about: object) -> None:
        job: _Job = about  # type: ignore[assignment]
        self.open[job.adapter] -= 1
        if at >= self.begins_h:
            self.signed.append(at - job.asked_at)
        if self.fleet.update_at_h is not None and job.adapter % self.fleet.bases == 0:
            if job.asked_at < self.fleet.update_at_h <= at:
                return  # it was on the base that is gone
            if job.update:
                self.back.append(at - self.fleet.update_at_h)
        self._ends(job.adapter, at)
        self.until[job.adapter] = max(self.until[job.adapter], job.verdict_at + self.fleet.validity_h)

    def _ends(self, adapter: int, at: float) -> None:
        """Count the time up to now in which an adapter had no certificate."""
        if self.until[adapter] < at:
            self.out_h[adapter] += self._within(self.until[adapter], at)
            self.until[adapter] = at

    def _within(self, begin: float, end: float) -> float:
        return max(0.0, min(end, self.ends_h) - max(begin, self.begins_h))

    def _seen(self) -> Seen:
        for adapter in range(self.fleet.adapters):
            self._ends(adapter, self.ends_h)
        window, n = self.ends_h - self.begins_h, self.fleet.adapters
        updated = len(range(0, n, self.fleet.bases))
        whole = len(self.back) >= 0.99 * updated
        return Seen(
            lapsed=sum(self.out_h) / (n * window),
            ever_lapsed=sum(out > 0 for out in self.out_h) / n,
            waits_h=self.waits,
            verdicts_h=self.verdicts,
            signed_h=self.signed,
            utilisation=self.busy_h / (self.fleet.workers * window),
            unfinished=sum(self.open),
            back_h=sorted(self.back)[math.ceil(0.99 * updated) - 1] if self.back and whole else None,
        )


def simulate(fleet: Fleet) -> Seen:
    """
    Return what a fleet comes to. The same seed gives the same result.

    Raises:
        ValueError: there are no workers, no service times, or nothing is left after the warm-up.
    """
    if fleet.workers < 1 or not fleet.service_h or not 0 <= fleet.warm_up_weeks < fleet.weeks:
        raise ValueError("a fleet needs workers, service times, and weeks after its warm-up")
    return _Run(fleet).run()
