"""Watching of a system: evidence over time, the fingerprint, renewals, and what would suspend its certificate."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from recert.console import list_words
from recert.console.accounts.rights import Right
from recert.console.gateways.watch_history import Watched, evidence_of, history_of
from recert.console.gateways.watch_plots import WatchPlot, watch_plot
from recert.console.list_words import Shown
from recert.console.pages import Page
from recert.console.systems_pages import system_of
from recert.console.visiting import Visit
from recert.errors import RecertError, StoreError
from recert.records.live.watching import CanaryResult, WatchReport
from recert.store.files.writing import read_bytes

_MOST_BYTES: Final = 16 * 2**20
_LAST_RUNS: Final = 30
OUTCOMES: Final = {
    "renew": Shown("may be renewed", "yes"),
    "warn": Shown("look at it", "undecided"),
    "suspend": Shown("suspend", "no"),
}


class RateShown(NamedTuple):
    """One rate on one path, with its plot where there is a history."""

    canary: CanaryResult
    plot: WatchPlot | None
    outlook: str


def shown_watch(visit: Visit) -> Response:
    """The last watch of a system, and all before it."""
    system = system_of(visit)
    values: dict[str, Any] = {
        "report": None,
        "trouble": "",
        "history": None,
        "rates": [],
        "runs": [],
        "lacking": False,
    }
    path = system.records.get("watch")
    if path is not None:
        try:
            report = _report(path)
        except RecertError as exc:
            values["trouble"] = exc.message
        else:
            history = history_of(report, {system.folder, path.parent})
            values |= {
                "report": report,
                "history": history,
                "rates": [_rate(canary, history) for canary in report.canaries],
                "runs": history.runs[: -_LAST_RUNS - 1 : -1] if history else (),
                "lacking": history is not None and history.lacks(report.history),
            }
    return visit.page(
        "watch.html.j2",
        title=system.name,
        system=system,
        outcomes=OUTCOMES,
        ends=list_words.ends,
        now=datetime.now(UTC),
        **values,
    )


def _report(path: Any) -> WatchReport:
    """The last report. Raises StoreError, RecordError."""
    try:
        too_long = path.stat().st_size > _MOST_BYTES
    except OSError as exc:
        raise StoreError("the report cannot be read", facts={"because": exc.strerror}) from exc
    if too_long:
        raise StoreError("the report is too long to be one", facts={"file": path})
    return WatchReport.from_json(read_bytes(path, "report of the watch"))


def _rate(canary: CanaryResult, history: Watched | None) -> RateShown:
    plot = None
    if history is not None and canary.over_time is not None and canary.through is not None:
        points = evidence_of(history, (canary.through, canary.estimand), canary.over_time.bound)
        plot = watch_plot(points, canary.over_time)
    return RateShown(canary, plot, outlook(canary))


def outlook(canary: CanaryResult) -> str:
    """Return in words what would suspend the certificate for this rate."""
    found = canary.over_time
    if found is None:
        return (
            f"Without a history one run decides alone: it suspends where the rate is surely more than "
            f"{100 * canary.margin:.0f} points above the certified one."
        )
    if found.rise >= found.suspend_at:
        return "There was enough evidence of a rise to suspend, and that stays: a person has to look."
    bound, ceiling = f"{100 * found.bound:.1f} %", f"{100 * found.ceiling:.1f} %"
    return (
        f"It suspends once evidence of a rate above {bound} is {_figure(found.suspend_at)}; the most so far was "
        f"{_figure(found.rise)}. It warns at {_figure(found.warn_at)} of a recent rise, now "
        f"{_figure(found.recent_rise)}. A renewal needs {_figure(found.renew_at)} that it is below {ceiling}, now "
        f"{_figure(found.within)}."
    )


def _figure(evidence: float) -> str:
    """Evidence as people read it."""
    if evidence >= 1e6:
        return f"10^{math.log10(evidence):.0f}"
    return f"{evidence:,.0f}" if evidence >= 100 else f"{evidence:.3g}"


PAGES: Final = (Page("GET", "/systems/{id}/watch", Right.READ, shown_watch, sharable=True),)
