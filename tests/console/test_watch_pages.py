"""The page of a watch: evidence over time, renewals, the fingerprint, what would suspend, and what is missing."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders import make_interval, make_policy
from console_world import OneVisitor
from recert.console.acts import Acts
from recert.console.app import Console, make_app
from recert.console.assembling import console_environment
from recert.console.gateways import watch_pages
from recert.console.gateways import watch_pages as watch_history
from recert.console.gateways.watch_pages import evidence_of, read
from recert.console.visiting import Visitor
from recert.monitoring import over_time
from recert.monitoring.history import begin_history, read_history
from recert.records.live.watching import AskedSample, CanaryResult, WatchedRun, WatchOutcome, WatchReport
from recert.records.record import now
from recert.records.signed.certificate import Certificate
from recert.store.systems.systems_index import IndexedSystem, SystemsIndex
from watched_models import Replies, certified
from watched_models import good as replies

ESTIMAND = "harmful/harm"
CERTIFIED = make_interval(0.02)
BOUNDS = make_policy()


class WatchedFolder:
    """A folder with a history of runs and the report of the last."""

    def __init__(self, folder: Path, bad: list[int], *, of: int = 24, renewed_after: int = 0) -> None:
        self.folder, self.path = folder, folder / "watch-history.jsonl"
        folder.mkdir(exist_ok=True)
        self.certificate: Certificate = certified(Replies(replies))
        self.began: datetime = now() - timedelta(days=len(bad))
        draw = random.Random(7)
        history = begin_history(self.path, self.certificate)
        self.end = history.end
        for number, count in enumerate(bad):
            prompts = tuple(f"{draw.getrandbits(64):016x}" for _ in range(of))
            serial = (
                "feed000000000001" if renewed_after and number >= renewed_after else self.certificate.serial
            )
            at = self.began + timedelta(days=number)
            run = WatchedRun(
                serial=serial,
                samples=(AskedSample(through="raw", estimand=ESTIMAND, prompts=prompts, bad=count),),
                outcome=WatchOutcome.WARN,
                seconds=1,
                started_at=at,
                watched_at=at,
            )
            self.end = history.append(run)
            history = read_history(self.path, self.certificate)
        self.runs = history.runs

    def report(self, **changes: Any) -> WatchReport:
        """The report after the last run."""
        samples = over_time.samples_of(self.runs)["raw", ESTIMAND]
        found = over_time.weigh(samples, CERTIFIED, BOUNDS, rates=1, at=samples[-1][0])
        canary: CanaryResult = over_time.decide_over_time(samples[-1][1], found, CERTIFIED, BOUNDS)
        given = {
            "serial": self.certificate.serial,
            "certificate_sha256": "0" * 64,
            "through": "raw",
            "fingerprint_matches": True,
            "canaries": (canary,),
            "history": self.end,
            "outcome": canary.outcome,
            "reasons": (canary.reason,) if canary.reason else (),
            "started_at": samples[-1][0],
            "watched_at": samples[-1][0],
        }
        made = WatchReport.model_validate(given | changes)
        (self.folder / "watch-report.json").write_bytes(made.to_json())
        return made

    def page(self, tmp_path: Path, *, watched: bool = True) -> str:
        """The page of the system."""
        return shown(tmp_path, self.folder, watched=watched)


def shown(tmp_path: Path, folder: Path, *, watched: bool = True) -> str:
    """The page of a system of a folder."""
    records = {"watch": folder / "watch-report.json"} if watched else {}
    system = IndexedSystem(
        id="a1", name="sql", kind="tune", base="b", parent="", verdict="pass", state="signed", serial="ab",
        expires_at=None, updated_at=now(), folder=folder, records=records,
    )  # fmt: skip
    index = SystemsIndex()
    index.put([system])
    acts = Acts(tmp_path / "acts.jsonl")
    who = OneVisitor(Visitor("Mara", frozenset({"reader"}), "token"))
    console = Console(tmp_path, make_policy(), acts, who, console_environment(), systems=index)
    text: str = TestClient(make_app(console, watch_pages.PAGES)).get("/console/systems/a1/watch").text
    acts.close()
    return text


def test_a_watch_shows_evidence_over_time_and_what_would_suspend(tmp_path: Path) -> None:
    """A plot in words, thresholds, counts of all runs, the fingerprint, and renewals."""
    made = WatchedFolder(tmp_path / "sql", [0, 1, 0, 2, 0, 1], renewed_after=4)
    report = made.report()
    found = report.canaries[0].over_time
    page = made.page(tmp_path)

    assert found is not None
    assert "Evidence of a rise over 6 runs" in page
    assert f"It suspends once evidence of a rate above {100 * found.bound:.1f} % is" in page
    assert "4 bad of 144 in 6 runs, 144 different prompts" in page
    assert 'chip yes">matches' in page
    assert "under certificate <code>feed000000000001</code>" in page
    assert page.count('data-label="Outcome"') == 6


def test_the_curve_ends_where_the_report_says(tmp_path: Path) -> None:
    """Evidence drawn after the last run is the report's."""
    made = WatchedFolder(tmp_path / "sql", [0, 3, 6, 9, 4])
    found = made.report().canaries[0].over_time
    assert found is not None
    last = evidence_of(read(made.path), ("raw", ESTIMAND), found.bound)[-1]

    assert 10**last.ever == pytest.approx(found.rise, rel=1e-6)
    assert 10**last.recent == pytest.approx(found.recent_rise, rel=1e-6)


def test_a_rise_that_suspends_is_said_so(tmp_path: Path) -> None:
    """And that it stays so."""
    made = WatchedFolder(tmp_path / "sql", [20, 22, 24])
    made.report()
    page = made.page(tmp_path)

    assert 'chip no">suspend' in page
    assert "There was enough evidence of a rise to suspend" in page


def test_a_history_that_was_changed_or_shortened_is_told(tmp_path: Path) -> None:
    """A changed line breaks the chain; one that was cut is missed by its checkpoint or by the report."""
    made = WatchedFolder(tmp_path / "sql", [0, 1, 2])
    made.report()
    lines = made.path.read_bytes().splitlines(keepends=True)
    made.path.write_bytes(b"".join([*lines[:2], lines[2].replace(b'"bad":1', b'"bad":0'), lines[3]]))
    changed = made.page(tmp_path)
    made.path.write_bytes(b"".join(lines[:-1]))
    cut = made.page(tmp_path)

    assert "The history is not all there" in changed
    assert "The report names a line of the history that is not there" in cut


def test_a_long_history_is_read_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says where the drawing ends, and claims no damage."""
    made = WatchedFolder(tmp_path / "sql", [0, 1, 0, 1])
    made.report()
    monkeypatch.setattr(watch_history, "MOST_BYTES", made.path.stat().st_size - 10)
    page = made.page(tmp_path)

    assert "The history is longer than what is drawn here: plots end at run 3." in page
    assert "not all there" not in page


def test_a_watch_without_a_history_draws_nothing(tmp_path: Path) -> None:
    """The last run is there in figures, with what decides."""
    made = WatchedFolder(tmp_path / "sql", [1, 1])
    report = made.report()
    alone = report.canaries[0].model_copy(update={"over_time": None})
    made.report(canaries=(alone,), history=None, fingerprint_matches=None)
    made.path.unlink()
    page = made.page(tmp_path)

    assert "No history lies beside the report" in page
    assert "Without a history one run decides alone" in page
    assert "Not compared: this path gives no logits." in page
    assert "<polyline" not in page


def test_what_was_never_watched_or_cannot_be_read_is_said(tmp_path: Path) -> None:
    """The empty state says how to begin; a damaged report is an error in words."""
    (tmp_path / "sql").mkdir()
    never = shown(tmp_path, tmp_path / "sql", watched=False)
    (tmp_path / "sql" / "watch-report.json").write_bytes(b"{")
    damaged = shown(tmp_path, tmp_path / "sql")

    assert "It was not watched yet" in never
    assert "The report of its last watch cannot be read" in damaged
