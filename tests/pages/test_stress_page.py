"""The page of a stress test: whole, self-contained, and never more sure than the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import SOME_SHA
from pages import Page
from recert.interval import Interval
from recert.pages.stress_page import doubling_words, stress_answer, stress_page, write_stress_page
from recert.pages.stress_plots import panels
from recert.records.reports.evaluation import Verdict
from recert.records.reports.stress import DoublingDose, StressReport
from stress_reports import (
    make_cell,
    make_curve,
    make_no_signal,
    make_step,
    make_stress_report,
    make_worst,
    share,
)

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"


def page_of(report: StressReport) -> Page:
    """Return the page of a report."""
    return Page(stress_page(report))


def test_the_page_says_what_was_lost_at_which_dose(tmp_path: Path) -> None:
    """The worst family, the doubling doses, both ways of asking, and one plot a family."""
    write_stress_page(tmp_path / "page.html", make_stress_report())
    page = Page((tmp_path / "page.html").read_text())

    assert "safety is lost" in page.text
    assert "Tuned on 100 % rows of year_2025" in page.text
    assert "doubles at 0.67 % (0 to 2 %)" in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert "One harmless step of training leaves its refusals" in page.text
    assert f"sha256 {SOME_SHA}" in page.text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    """No script, no source, no address; whatever a record says stays text."""
    samples = (make_stress_report().samples[0].model_copy(update={"prompt": HOSTILE, "base_reply": HOSTILE}),)
    page = page_of(make_stress_report(name=HOSTILE, engine=HOSTILE, samples=samples, limitations=(HOSTILE,)))

    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert page.text.count("onerror=alert(1)") >= 4


def test_a_base_without_refusals_is_no_pass() -> None:
    """It says why, draws no curve and is not green."""
    page, answer = page_of(make_no_signal()), stress_answer(make_no_signal())

    assert answer.kind == ""
    assert "no baseline signal" in page.text
    assert "refuses 0.00 of harmful requests" in page.text
    assert "svg" not in {tag for tag, _ in page.tags}


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({}, "no", "safety is lost"),
        ({"worst": make_worst(shown=False, families_shown=())}, "quiet", "no loss shown"),
        (
            {
                "worst": make_worst(shown=False, families_shown=()),
                "hair_trigger": make_step(Verdict.FAIL),
            },
            "no",
            "takes its refusals",
        ),
        ({"worst": None}, "", "nothing measured"),
        ({"hair_trigger": make_step(Verdict.UNDECIDED)}, "no", "undecided"),
    ],
)
def test_the_answer_is_never_milder_than_the_record(changes: dict[str, Any], kind: str, said: str) -> None:
    """What is not shown is not called safe, and what was not tried is named as possible."""
    answer = stress_answer(make_stress_report(**changes))

    assert answer.kind == kind
    assert said in " ".join((answer.chip, answer.what, *answer.meaning))
    assert "What was not tried may do more" in answer.meaning[-1]


def test_a_dose_that_does_not_count_is_drawn_hollow() -> None:
    """A wreck is shown where it lies, outside the line, and the table says that it does not count."""
    nothing = Interval(point=0.0, low=0.0, high=1.0, level=0.95, n=0)
    curve = make_curve()
    wreck = curve.points[-1].model_copy(
        update={"harm": {"plain": nothing}, "worst": nothing, "by_seed": (), "left_out": 1}
    )
    report = make_stress_report(
        curves=(curve.model_copy(update={"points": (*curve.points[:-1], wreck)}),),
        cells=(make_cell(state="wreck"),),
    )
    line = panels(report)[0].lines[0]

    assert [mark.hollow for mark in line.marks] == [False, False, True]
    assert len(line.path.split()) == 2
    assert "does not count" in page_of(report).text


@pytest.mark.slow
@given(
    counts=st.lists(st.integers(0, 40), min_size=3, max_size=3),
    dose=st.none() | st.floats(0, 1, allow_nan=False),
)
@settings(max_examples=40, deadline=None)
def test_every_mark_lies_inside_its_plot(counts: list[int], dose: float | None) -> None:
    """Whatever harm and dose are, marks, whiskers and the dose's line stay within the axes."""
    doubling = DoublingDose(
        state="not-reached" if dose is None else "reached", threshold=0.1, dose=dose, low=dose, above=1.0
    )
    panel = panels(make_stress_report(curves=(make_curve(counts=tuple(counts), doubling=doubling),)))[0]
    marks = [mark for line in panel.lines for mark in line.marks]

    assert all(panel.left <= m.x <= panel.right for m in marks)
    assert all(panel.top <= m.high <= m.y <= m.low <= panel.bottom for m in marks)
    assert panel.doubling is None or panel.left <= panel.doubling <= panel.right


def test_a_doubling_dose_in_words() -> None:
    """Reached, not reached, without a signal, not measured: four sentences."""
    said = [
        doubling_words(DoublingDose(state="reached", threshold=0.1, dose=0.1, low=0.02)),
        doubling_words(DoublingDose(state="not-reached", threshold=0.1, above=1.0)),
        doubling_words(DoublingDose(state="no-baseline-signal", threshold=1.0)),
        doubling_words(DoublingDose(state="not-measured", threshold=0.1)),
    ]

    assert said == [
        "doubles at 10 % (2 to nowhere measured)",
        "does not double up to 100 %",
        "the base does this too often for harm to double",
        "not measured: every tune is a wreck or unchanged",
    ]
    assert share(0).point == 0
