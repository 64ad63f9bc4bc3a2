"""
Runs while they are at work: how far each step is, evidence on its way to a decision, and what was killed.

Here too: where the parts of a plot of evidence lie: one rule, on its way up to a pass or to a fail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import HTMLResponse, Response

from recert.console import list_words
from recert.console.accounts.rights import Right
from recert.console.evaluations.runs import FolderRun, run_in
from recert.console.list_words import Shown
from recert.console.pages import Page
from recert.console.systems_pages import system_of
from recert.console.visiting import Visit
from recert.errors import RecertError
from recert.records.live.progress import RuleProgress, StageProgress
from recert.store.systems.systems_index import IndexedSystem

WIDTH, HEIGHT = 360, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 350, 14, 138
_LEAST_ORDERS: Final = 1.0
_ROOM: Final = 1.25


@dataclass(frozen=True)
class EvidencePlot:
    """A plot to draw; positions are pixels."""

    rule: RuleProgress
    within: str
    """Line of the evidence that the change is below the margin, as SVG has it."""
    beyond: str
    """Line of the evidence that it is above."""
    ends: tuple[tuple[float, float, str], ...]
    """Last point of each line."""
    bound: float
    """Where evidence decides."""
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str], ...]
    said: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM


def evidence_plot(rule: RuleProgress) -> EvidencePlot:
    """
    Lay out the path of a rule's evidence.

    Evidence is drawn in orders of ten from a tenth to somewhat above what decides; what is beyond lies on the edge.
    """
    bound = rule.enough / math.log(10)
    highest, lowest = max(_LEAST_ORDERS, bound * _ROOM), -_LEAST_ORDERS
    most = max(1, max((point.n for point in rule.path), default=1))

    def y(order: float) -> float:
        inside = min(max(order, lowest), highest)
        return round(_BOTTOM - (inside - lowest) / (highest - lowest) * (_BOTTOM - _TOP), 1)

    def x(n: float) -> float:
        return round(_LEFT + n / most * (_RIGHT - _LEFT), 1)

    lines = {}
    for which in ("within", "beyond"):
        points = [(0, 0.0), *((p.n, getattr(p, which) / math.log(10)) for p in rule.path)]
        lines[which] = [(x(n), y(order)) for n, order in points]
    ticks = [order for order in range(math.ceil(lowest), math.floor(highest) + 1)]
    return EvidencePlot(
        rule=rule,
        within=_line(lines["within"]),
        beyond=_line(lines["beyond"]),
        ends=tuple((*lines[which][-1], which) for which in ("within", "beyond") if rule.path),
        bound=y(bound),
        y_ticks=tuple((y(order), _power(order)) for order in ticks),
        x_ticks=((x(0), "0"), (x(most), str(most))),
        said=_said(rule),
    )


def evidence(log_value: float) -> str:
    """Return evidence as people read it, from its natural logarithm."""
    order = log_value / math.log(10)
    if order >= 4:
        return f"more than 10^{min(int(order), 300)}"
    value = math.exp(log_value)
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _said(rule: RuleProgress) -> str:
    if not rule.path:
        return "Nothing was measured yet."
    last = rule.path[-1]
    return (
        f"After {last.n} observations the evidence that the change is below the margin is {evidence(last.within)}, "
        f"that it is above {evidence(last.beyond)}; {evidence(rule.enough)} decides."
    )


def _power(order: int) -> str:
    return {-1: "0.1", 0: "1", 1: "10", 2: "100", 3: "1000"}.get(order, f"10^{order}")


def _line(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


_MOST_RULES: Final = 60
STATES: Final = {
    "running": Shown("at work", "undecided"),
    "ended": Shown("ended", "yes"),
    "failed": Shown("gave no answer", "no"),
    "killed": Shown("killed", "no"),
    "unreadable": Shown("cannot be read", "no"),
    "validating_files": Shown("waits", "quiet"),
    "queued": Shown("waits", "quiet"),
    "paused": Shown("paused", "quiet"),
    "succeeded": Shown("succeeded", "yes"),
    "cancelled": Shown("cancelled", "quiet"),
}


def shown_runs(visit: Visit) -> Response:
    """Every run that left its progress below the console's folders, and every job of the tuning service."""
    return visit.page("runs.html.j2", title="Runs", **_list_values(visit))


def live_runs(visit: Visit) -> Response:
    """The same, as a part of the page that is fetched again and again."""
    return _part(visit, "runs_live.html.j2", **_list_values(visit))


def shown_run(visit: Visit) -> Response:
    """One run, or one job of the service."""
    id_ = visit.path["id"]
    run = visit.console.runs.find(id_)
    if run is not None:
        return visit.page("run.html.j2", title=run.name, live=f"/console/runs/{id_}/live", **_values(run))
    job = visit.console.jobs.find(id_)
    if job is None:
        visit.missing("there is no such run", hint="its folder may have been moved or removed")
    values = _job_values(job)
    return visit.page("job.html.j2", title=f"Job {id_}", live=f"/console/runs/{id_}/live", **values)


def live_run(visit: Visit) -> Response:
    """The same, as a part of the page; it says when nothing more comes."""
    id_ = visit.path["id"]
    run = visit.console.runs.find(id_)
    if run is not None:
        return _part(visit, "run_live.html.j2", done=run.state != "running", **_values(run))
    job = visit.console.jobs.find(id_)
    if job is None:
        visit.missing("there is no such run")
    values = _job_values(job)
    return _part(visit, "job_live.html.j2", done=not job.at_work, **values)


def shown_system_run(visit: Visit) -> Response:
    """The run that made a system; where it left no progress, what its records say."""
    system = system_of(visit)
    run = run_of(system)
    none: dict[str, Any] = {"run": None, "now": datetime.now(UTC), "states": STATES}
    values = _values(run) if run is not None else none
    return visit.page(
        "system_run.html.j2",
        title=system.name,
        system=system,
        story=[] if run is not None else list_words.story(visit.console.systems.facts(system)),
        live=f"/console/systems/{system.id}/run/live",
        **values,
    )


def live_system_run(visit: Visit) -> Response:
    """The same, as a part of the page."""
    run = run_of(system_of(visit))
    if run is None:
        visit.missing("this run left no progress")
    return _part(visit, "run_live.html.j2", done=run.state != "running", **_values(run))


def run_of(system: IndexedSystem) -> FolderRun | None:
    """Return the progress beside a system's records, the newest where there are several; None where there is none."""
    folders = {system.folder, *(path.parent for path in system.records.values())}
    folders |= {path.parent.parent for path in system.records.values()}
    found = [run for folder in folders if (run := run_in(folder)) is not None]
    return max(found, key=lambda run: run.seen.touched_s if run.seen else 0.0, default=None)


def _list_values(visit: Visit) -> dict[str, Any]:
    try:
        jobs, trouble = visit.console.jobs.jobs(), ""
    except RecertError as exc:
        jobs, trouble = [], exc.message
    return {
        "runs": visit.console.runs.all(),
        "jobs": jobs,
        "jobs_trouble": trouble,
        "states": STATES,
        "now": datetime.now(UTC),
        "when": _when,
        "share": share,
        "left": left,
    }


def _values(run: FolderRun) -> dict[str, Any]:
    told = run.seen.told if run.seen else None
    rules = sorted(told.rules, key=_order) if told else []
    return {
        "run": run,
        "told": told,
        "touched": _when(run.seen.touched_s) if run.seen else None,
        "plots": [evidence_plot(rule) for rule in rules if rule.gates][:_MOST_RULES],
        "rules": rules[:_MOST_RULES],
        "more_rules": max(0, len(rules) - _MOST_RULES),
        "states": STATES,
        "now": datetime.now(UTC),
        "evidence": evidence,
        "share": share,
        "left": left,
        "ends": list_words.ends,
    }


def _job_values(job: Any) -> dict[str, Any]:
    return {
        "job": job,
        "runs": [_values(one) for one in job.runs],
        "now": datetime.now(UTC),
        "states": STATES,
        "when": _when,
    }


def _order(rule: RuleProgress) -> tuple[bool, bool, str, str]:
    """Rules that gate before controls, those without a decision first."""
    return (not rule.gates, rule.verdict is not None, rule.rule_id, rule.condition)


def share(stage: StageProgress) -> int:
    """Return how much of a step is done, in per cent."""
    return min(100, 100 * stage.done // stage.of) if stage.of else 0


def left(stage: StageProgress, now: datetime) -> float | None:
    """Return how many seconds a step takes yet at most, if it goes on as so far; None where that is not known."""
    took = (now - stage.started_at).total_seconds()
    if stage.ended_at is not None or not 0 < stage.done <= stage.of or took < 1:
        return None
    return took * (stage.of - stage.done) / stage.done


def _when(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _part(visit: Visit, template: str, *, done: bool = False, **values: Any) -> Response:
    """A part of a page, without its frame; `x-done` where nothing more comes."""
    made = visit.console.templates.get_template(f"console/{template}").render(visitor=visit.visitor, **values)
    return HTMLResponse(made, headers={"x-done": "1"} if done else None)


PAGES: Final = (
    Page("GET", "/runs", Right.READ, shown_runs, tab="Runs"),
    Page("GET", "/runs/live", Right.READ, live_runs),
    Page("GET", "/runs/{id}", Right.READ, shown_run),
    Page("GET", "/runs/{id}/live", Right.READ, live_run),
    Page("GET", "/systems/{id}/run", Right.READ, shown_system_run),
    Page("GET", "/systems/{id}/run/live", Right.READ, live_system_run),
)
