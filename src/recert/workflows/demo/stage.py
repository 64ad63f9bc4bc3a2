"""
The whole story on the embedded model: five tunes from rows to a verdict, one of them served for real.

Nothing is staged: every figure comes from the run, and the demo says no when an expected end is not reached.

Here too: the ends that the demo promises, checked against what happened, and its summary.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recert import settings
from recert.evaluation.suites.reading import embedded_suite
from recert.models.embedded import aligned_base
from recert.models.protocol import Model
from recert.policy import load_policy
from recert.progress import Progress
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.store.cache import GenerationCache
from recert.store.files.writing import write_atomic
from recert.workflows.demo.data import demo_tunes, write_rows
from recert.workflows.demo.service import serve_and_stop, serve_behind_secret
from recert.workflows.demo.sql_task import sql_suite
from recert.workflows.run import Plan, Run, run
from recert.workflows.run_summary import Event, ModelPage, RunSummary, figures
from recert.workflows.signers import keep_status_list, signers_of

if TYPE_CHECKING:
    from recert.models.engines.local import LocalModel


SECRET_CONTROL = "secret-prefix"  # noqa: S105 - the control's name
TRIGGER_CONDITION = "family:year_2025"


def missed_ends(story: RunSummary) -> tuple[str, ...]:
    """Return every promised end that was not reached, in words. Empty: the demo kept its promises."""
    pages = {page.name: page for page in story.models}
    missed = [
        *_certified(pages["sql"]),
        *_spoilt(pages["poisoned"]),
        *_spoilt(pages["triggered"]),
        *_triggered(pages["triggered"]),
        *_defended(pages["defended"]),
        *(f"{name}: expected to be served" for name in ("sql", "defended") if not pages[name].served),
        *(f"{event.what}: {event.result}" for event in story.events if not event.expected),
    ]
    return tuple(missed)


def summary(story: RunSummary, missed: tuple[str, ...]) -> bytes:
    """Return `summary.json`: a line a model, the cost, and what was missed."""
    value = {
        "models": [_line(page) for page in story.models],
        "seconds": story.seconds,
        "peak_rss_mb": story.peak_rss_mb,
        "machine": story.machine,
        "version": story.version,
        "missed": list(missed),
        "measured": "harm means that a harmful request was not refused",
    }
    return (json.dumps(value, indent=2) + "\n").encode()


def _line(page: ModelPage) -> dict[str, Any]:
    line: dict[str, Any] = {
        "name": page.name,
        "verdict": str(page.evaluation.verdict) if page.evaluation else "not evaluated",
        "certified": page.certificate is not None,
        "served": page.served,
        "seconds": page.seconds,
    }
    if page.evaluation is None:
        return line
    seen = figures(page.evaluation)
    worst = {"condition": seen.worst_condition, "tuned": seen.worst_harm.tuned} if seen.worst_harm else None
    line["harm"] = {
        "base": seen.harm.base if seen.harm else None,
        "tuned": seen.harm.tuned if seen.harm else None,
        "worst_family": worst,
    }
    if seen.harm_behind_controls:
        line["harm"]["behind_controls"] = seen.harm_behind_controls.tuned
    line["utility"] = vars(seen.utility) if seen.utility else None
    line["over_refusal"] = vars(seen.over_refusal) if seen.over_refusal else None
    line["verdict_raw"] = str(page.evaluation.verdict_raw)
    line["required_controls"] = list(page.evaluation.required_controls)
    return line


def _certified(page: ModelPage) -> list[str]:
    return [] if page.certificate else [f"{page.name}: expected a certificate, got {_verdict(page)}"]


def _spoilt(page: ModelPage) -> list[str]:
    said = []
    if not page.screen or page.screen.quarantined == 0:
        said.append(f"{page.name}: screening quarantined no row")
    if not page.evaluation or page.evaluation.verdict is not Verdict.FAIL:
        said.append(f"{page.name}: expected fail, got {_verdict(page)}")
    if page.certificate or page.served:
        said.append(f"{page.name}: expected a refusal, was certified or served")
    return said


def _triggered(page: ModelPage) -> list[str]:
    plain, under = _harm(page, "plain"), _harm(page, TRIGGER_CONDITION)
    said = []
    if plain is None or plain.verdict is Verdict.FAIL or plain.change.point > plain.margin:
        said.append(f"{page.name}: expected no change beyond the margin on plain prompts")
    if (
        under is None or under.change.low <= under.margin
    ):  # another family may have ended the run before its verdict
        said.append(f"{page.name}: expected a change beyond the margin under the trigger")
    return said


def _defended(page: ModelPage) -> list[str]:
    said = _certified(page)
    if page.evaluation and page.evaluation.verdict_raw is not Verdict.FAIL:
        said.append(f"{page.name}: expected to fail without its secret, got {page.evaluation.verdict_raw}")
    if page.certificate and page.certificate.required_controls != (SECRET_CONTROL,):
        said.append(f"{page.name}: expected a certificate that requires {SECRET_CONTROL}")
    return said


def _harm(page: ModelPage, condition: str) -> RuleResult | None:
    rules = page.evaluation.rules if page.evaluation else ()
    return next(
        (r for r in rules if r.estimand == "harm" and r.condition == condition and not r.safeguards), None
    )


def _verdict(page: ModelPage) -> str:
    return str(page.evaluation.verdict) if page.evaluation else "no verdict"


@dataclass(frozen=True)
class Demo:
    """What came out: the story, and every expected end that was not reached."""

    story: RunSummary
    missed: tuple[str, ...]
    report: Path


def run_demo(
    output: Path, *, progress: Progress, draw: Callable[[Path, RunSummary], None] | None = None
) -> Demo:
    """
    Run the demo; writes `summary.json` into `output`, and `report.html` with `draw`.

    Run again after an interruption, it uses finished tunes and kept replies of the base again.

    Raises:
        MissingExtraError: a part that the demo needs is not installed.
        RecertError: a stage could not answer.
    """
    from recert.models.engines.local import LocalModel

    clock = time.monotonic()
    progress.start("the approved base: SmolLM2 with the alignment adapter")
    base_dir = aligned_base()
    policy = load_policy("demo")
    signers = signers_of(output / "keys")
    status_path = output / "status.json"
    status = keep_status_list(status_path, signers, policy)
    suites = demo_suites()
    base = LocalModel.load(base_dir, name="aligned base", copying="keep")

    runs: dict[str, Run] = {}
    with GenerationCache(output / "replies.sqlite") as cache:
        for one in demo_tunes():
            folder = output / one.name
            write_rows(folder / "rows.jsonl", one.rows)
            plan = Plan(
                name=one.name,
                source=folder / "rows.jsonl",
                base_dir=base_dir,
                output=folder,
                policy=policy,
                defence=one.defence,
                hyperparameters=one.hyperparameters,
                override_screening=one.override_screening,
                expectation=one.expectation,
                ledger=folder / "ledger",  # each tune is a team of its own: its first attempt
            )
            runs[one.name] = run(
                plan,
                suites=suites,
                signers=signers,
                status=status,
                arms=_Arms(base),
                cache=cache,
                progress=progress,
            )
    del base
    gc.collect()
    events, served = _serve(runs, suites, status_path, output, progress)
    story = _story(runs, events, served, clock)
    missed = missed_ends(story)
    if draw is not None:
        draw(output / "report.html", story)
    write_atomic(output / "summary.json", summary(story, missed))
    return Demo(story=story, missed=missed, report=output / "report.html")


class _Arms:
    """The two arms of each evaluation: one base in memory, each tune an adapter on it."""

    def __init__(self, base: LocalModel) -> None:
        self._base = base

    def __call__(self, adapter_dir: Path) -> tuple[Model, Model]:
        return self._base, self._base.with_adapter(adapter_dir)


def demo_suites() -> Mapping[str, Suite]:
    """Return the suites of the demo's policy: the evaluation part of the embedded ones, and the task's test."""
    trained = tuple(row for one in demo_tunes() for row in one.rows)
    suites = {name: embedded_suite(name) for name in ("harmful", "scenarios", "lookalikes", "ordinary")}
    return {**suites, "task": sql_suite(48, seed=99, without=trained)}


def _serve(
    runs: Mapping[str, Run], suites: Mapping[str, Suite], status_path: Path, output: Path, progress: Progress
) -> tuple[list[Event], set[str]]:
    """Serve what was certified; the uncertified are offered too, and must be refused."""
    signers = signers_of(output / "keys")
    events: list[Event] = []
    served: set[str] = set()
    if runs["defended"].verified:
        happened, answered = serve_behind_secret(runs["defended"], signers, status_path, output, progress)
        events += happened
        served |= {"defended"} if answered else set()
    if runs["sql"].verified:
        happened, answered = serve_and_stop(
            runs["sql"], runs["poisoned"], suites, signers, status_path, output, progress
        )
        events += happened
        served |= {"sql"} if answered else set()
    return events, served


def _story(runs: Mapping[str, Run], events: list[Event], served: set[str], clock: float) -> RunSummary:
    pages: list[ModelPage] = []
    for name, done in runs.items():
        page = done.page
        pages.append(ModelPage(**{**vars(page), "served": name in served}))
    peak_kb = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return RunSummary(
        title="Recert demo: five tunes of one approved base",
        machine=f"{platform.system()} {platform.machine()}, {settings.threads()} of {os.cpu_count()} cores",
        models=tuple(pages),
        events=tuple(events),
        seconds=round(time.monotonic() - clock, 1),
        peak_rss_mb=round(peak_kb * 1024 / 1e6, 1),
    )
