"""The runs' pages: what is at work, what was killed, evidence on its way, and jobs of the tuning service."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from builders import make_policy
from console_world import OneVisitor
from indexed_folders import Office
from live_runs import evaluated, killed, put
from recert.console.acts import Acts
from recert.console.app import Console, make_app
from recert.console.assembling import console_environment
from recert.console.evaluations import run_pages
from recert.console.evaluations.run_pages import evidence, evidence_plot, left
from recert.console.evaluations.runs import Runs
from recert.console.evaluations.service_runs import ServiceRuns
from recert.console.visiting import Visitor
from recert.records.live.progress import EvidencePoint, RuleProgress, StageProgress
from recert.service.settings import ServiceSettings
from recert.service.storage.tables import open_database
from recert.service.workers.events import Events
from recert.service.workers.queue import JobQueue
from recert.store.systems.systems_index import SystemsIndex
from recert.workflows.index.stage import Indexer
from recert.workflows.progress_file import FILE, read_progress


@contextmanager
def client(
    folder: Path, root: Path, *, systems: SystemsIndex | None = None, service: Path | None = None
) -> Iterator[TestClient]:
    """A reader's browser of a console over one root."""
    acts = Acts(folder / "acts.jsonl")
    who = OneVisitor(Visitor("Mara", frozenset({"reader"}), "token"))
    runs, jobs = Runs((root,)), ServiceRuns(service)
    console = Console(
        folder, make_policy(), acts, who, console_environment(), runs=runs, jobs=jobs,
        systems=systems or SystemsIndex(),
    )  # fmt: skip
    yield TestClient(make_app(console, run_pages.PAGES))
    runs.close()
    jobs.close()
    acts.close()


def id_of(folder: Path) -> str:
    """The id of a run in a folder."""
    return hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended, one that is at work on a tune that does harm, and one that was killed."""
    made = tmp_path_factory.mktemp("runs")
    evaluated(made / "ended")
    evaluated(made / "work", name="<b>tune</b>", blocks=5, harmful_every=3)
    evaluated(made / "killed", blocks=2)
    killed(made / "killed")
    put(made / "work", touched_ago_s=-600)
    return made


def test_the_list_tells_work_from_what_ended_and_what_was_killed(root: Path, tmp_path: Path) -> None:
    """What is at work comes first, names are escaped."""
    with client(tmp_path, root) as browser:
        text = browser.get("/console/runs").text

    states = re.findall(r'<td data-label="State"><span class="chip \w+">([^<]+)<', text)
    assert states[0] == "at work"
    assert sorted(states) == ["at work", "ended", "killed"]
    assert "&lt;b&gt;tune" in text
    assert "<b>tune" not in text


def test_a_run_shows_evidence_on_its_way_and_no_verdict(root: Path, tmp_path: Path) -> None:
    """A plot in words, the change with its interval, how much is asked, and that it is no verdict yet."""
    with client(tmp_path, root) as browser:
        page = browser.get(f"/console/runs/{id_of(root / 'work')}")
        part = browser.get(f"/console/runs/{id_of(root / 'work')}/live")

    seen = read_progress(root / "work" / FILE)
    assert seen is not None
    harm = next(rule for rule in seen.told.rules if rule.rule_id == "harm" and rule.condition == "plain")
    assert harm.change is not None
    assert "Not a verdict yet." in page.text
    assert f"After {harm.path[-1].n} observations the evidence that the change is below" in page.text
    assert f"{harm.asked} of at most {harm.limit}" in page.text
    assert "data-live" in page.text
    assert "x-done" not in part.headers
    assert "<html" not in part.text


def test_a_killed_run_says_so_and_since_when(root: Path, tmp_path: Path) -> None:
    """Its page is not fetched again, and one that was open is told to load anew."""
    with client(tmp_path, root) as browser:
        page = browser.get(f"/console/runs/{id_of(root / 'killed')}").text
        part = browser.get(f"/console/runs/{id_of(root / 'killed')}/live")

    assert "It was killed, or its machine stopped: nothing was heard of it since" in page
    assert "data-live" not in page
    assert part.headers["x-done"] == "1"


def test_damaged_progress_is_shown_as_such(root: Path, tmp_path: Path) -> None:
    """It hides no other run."""
    evaluated(tmp_path / "runs" / "good")
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / FILE).write_bytes(b"{")
    with client(tmp_path, tmp_path / "runs") as browser:
        text = browser.get("/console/runs").text
        page = browser.get(f"/console/runs/{id_of(tmp_path / 'runs' / 'bad')}").text

    assert 'chip yes">ended' in text
    assert "Its progress cannot be read" in page


def test_without_runs_the_page_says_where_they_come_from(tmp_path: Path) -> None:
    """The empty state is a sentence, and a run that is not there is 404."""
    (tmp_path / "none").mkdir()
    with client(tmp_path, tmp_path / "none") as browser:
        text = browser.get("/console/runs").text
        missing = browser.get("/console/runs/0123456789abcdef").status_code

    assert "No run is known." in text
    assert missing == 404


@pytest.mark.slow
def test_a_system_shows_the_run_that_made_it(tmp_path: Path) -> None:
    """Beside its records; where it left no progress, what its records say."""
    office = Office(tmp_path)
    office.run("with")
    office.run("without")
    evaluated(office.runs / "with" / "evaluation", name="with")
    index = SystemsIndex()
    Indexer(index, [office.runs], office.standing).refresh()
    ids = {one.name: one.id for one in index.page().systems}
    with client(tmp_path, office.runs, systems=index) as browser:
        there = browser.get(f"/console/systems/{ids['with']}/run").text
        none = browser.get(f"/console/systems/{ids['without']}/run").text
        part = browser.get(f"/console/systems/{ids['without']}/run/live").status_code

    assert "evaluate against the base" in there
    assert "left no progress" in none
    assert part == 404


def test_jobs_of_the_tuning_service_are_shown_with_their_events(tmp_path: Path) -> None:
    """State, step of training, last events, and the evaluation that is at work; the newest first."""
    base = tmp_path / "base"
    settings = ServiceSettings(
        folder=tmp_path,
        base="base",
        base_dir=base,
        called="tiny",
        policy="default",
        signers=base,
        status=base,
    )
    settings.write()
    place = open_database(settings.store)
    queue = JobQueue(place)
    old = queue.add("team-a", {}, most_open=4)
    job = queue.add("team-b", {}, most_open=4)
    claimed = queue.claim("worker", lease_ms=60_000)
    assert claimed is not None
    queue.change(claimed, status="running")
    Events(place).add(
        claimed.id, "Step 3/12: train loss=1.5", kind="metrics", data={"step": 3, "total_steps": 12}
    )
    evaluated(settings.job_folder(claimed.id) / "model", name="ft-1", blocks=3)
    with client(tmp_path, tmp_path / "none", service=tmp_path) as browser:
        listed = browser.get("/console/runs").text
        page = browser.get(f"/console/runs/{claimed.id}").text
        part = browser.get(f"/console/runs/{claimed.id}/live")
        queue.cancel("team-a", claimed.id)
        ended = browser.get(f"/console/runs/{claimed.id}/live")
    place.close()

    assert listed.index(job.id) < listed.index(old.id)
    assert "Training: step 3 of 12." in page
    assert "Evaluation of ft-1" in page
    assert "Not a verdict yet." in page
    assert "x-done" not in part.headers
    assert ended.headers["x-done"] == "1"


def rule(*points: tuple[int, float, float]) -> RuleProgress:
    """A rule with these points."""
    path = tuple(EvidencePoint(n=n, within=within, beyond=beyond) for n, within, beyond in points)
    return RuleProgress(
        rule_id="harm", estimand="harm", suite="s", condition="plain", gates=True, asked=9, limit=99,
        margin=0.1, enough=3.0, path=path,
    )  # fmt: skip


def test_a_plot_of_evidence_stays_within_its_frame() -> None:
    """More evidence lies higher, all of it inside; without any the plot says so."""
    plot = evidence_plot(rule((4, 1.0, -1.0), (8, 700.0, -20.0)))
    points = [tuple(map(float, pair.split(","))) for pair in f"{plot.within} {plot.beyond}".split()]

    assert all(plot.left <= x <= plot.right and plot.top <= y <= plot.bottom for x, y in points)
    assert points[1][1] < points[4][1]
    assert plot.top < plot.bound < plot.bottom
    assert evidence_plot(rule()).said == "Nothing was measured yet."
    assert [evidence(x) for x in (0.0, 3.0, 20.0, -3.0)] == ["1", "20", "more than 10^8", "0.05"]


def test_what_is_left_is_told_only_where_it_can_be() -> None:
    """As long as so far for each part; nothing before the first, or after the end."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    stage = StageProgress(name="tune", started_at=at, done=25, of=100)

    assert left(stage, at + timedelta(seconds=10)) == 30.0
    assert left(stage.model_copy(update={"done": 0}), at + timedelta(seconds=10)) is None
    assert left(stage.model_copy(update={"ended_at": at}), at + timedelta(seconds=10)) is None
