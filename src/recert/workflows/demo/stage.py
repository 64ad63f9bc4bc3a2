"""
The whole story on the embedded model: five tunes from rows to a verdict, one of them served for real.

Nothing is staged: every figure comes from the run, and the demo says no when an expected end is not reached.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recert import settings
from recert.evaluation.suites.reading import embedded_suite
from recert.models.embedded import aligned_base
from recert.models.protocol import Model
from recert.policy import load_policy
from recert.progress import Progress
from recert.records.data.suite import Suite
from recert.store.cache import GenerationCache
from recert.store.files.writing import write_atomic
from recert.workflows.demo.data import demo_tunes, write_rows
from recert.workflows.demo.ends import missed_ends, summary
from recert.workflows.demo.service import serve_and_stop, serve_behind_secret
from recert.workflows.demo.sql_task import sql_suite
from recert.workflows.run import Plan, Run, run
from recert.workflows.run_summary import Event, ModelPage, RunSummary
from recert.workflows.signers import keep_status_list, signers_of

if TYPE_CHECKING:
    from recert.models.engines.local import LocalModel


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
