"""Watching that does not end: a run every so often, one watcher at a time, taken up again after a kill."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from recert.errors import InputError, RecertError, VerificationError
from recert.monitoring.history import begin_history, held, read_history
from recert.records.live.watching import WatchOutcome
from recert.records.record import now
from recert.records.signed.certificate import Certificate
from recert.workflows.watching.stage import Watched, WatchPlan, watch_once, what_holds

log = logging.getLogger("recert.watch")

JITTER: Final = 0.1
"""A run comes up to this share of the interval sooner or later, so that nobody knows when."""


def keep_watching(
    plan: WatchPlan,
    every_s: float,
    *,
    tell: Callable[[Watched], object],
    trouble: Callable[[RecertError], object],
    draw: random.Random | None = None,
) -> Watched | None:
    """
    Watch again and again; return the run that suspended, or None where it was told to end while it waited.

    A run that gives no answer is told as trouble, and the next one comes in its time: with nobody to renew it the
    certificate runs out. After a kill the next run comes when it would have.

    Args:
        plan: what is watched; it has a history.
        every_s: from the beginning of a run to that of the next.
        tell: told of every run.
        trouble: told of every run without an answer.
        draw: source of chance for when runs come.

    Raises:
        InputError: there is no history, or one already where it was to be begun.
        StoreError: another watch uses the history.
        VerificationError: the certificate does not hold any more: there is nothing to watch.
        RecertError: a suspension could not be carried out.
    """
    if plan.history is None:
        raise InputError("watching again and again needs a history", hint="give --history FILE")
    chance = draw or secrets.SystemRandom()
    with held(plan.history):
        certificate = what_holds(plan).certificate  # else there is nothing to wait for
        plan = _begun(plan, certificate)
        began = _last(plan, certificate)
        try:
            while True:
                if began is not None:
                    _wait(began + timedelta(seconds=every_s * chance.uniform(1 - JITTER, 1 + JITTER)))
                began = now()
                try:
                    watched = watch_once(plan, hold=False)
                except VerificationError:
                    raise
                except RecertError as exc:
                    log.error("no answer: %s", exc.message)
                    trouble(exc)
                    continue
                tell(watched)
                if watched.report.outcome is WatchOutcome.SUSPEND:
                    if watched.failed:
                        raise watched.failed[0]
                    return watched
        except _ToldToEndError:
            return None


class _ToldToEndError(Exception):
    """Ctrl-C or SIGTERM, between two runs."""


def _wait(until: datetime) -> None:
    try:
        while (left_s := (until - now()).total_seconds()) > 0:
            time.sleep(min(left_s, 60.0))  # a clock that is set does not make it long
    except KeyboardInterrupt:
        raise _ToldToEndError from None


def _begun(plan: WatchPlan, certificate: Certificate) -> WatchPlan:
    """Make the history once, and not again with every run."""
    if plan.begin and plan.history is not None:
        begin_history(plan.history, certificate)
    return replace(plan, begin=False)


def _last(plan: WatchPlan, certificate: Certificate) -> datetime | None:
    """When the last run began, where a history says so."""
    runs = read_history(plan.history, certificate).runs if plan.history is not None else ()
    return min(runs[-1].started_at, now()) if runs else None
