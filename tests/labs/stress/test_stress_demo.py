"""The claims of `make stress-demo`: each is met or not by its figure, and by nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recert.interval import exact_interval
from recert.records.reports.evaluation import Verdict
from recert.records.reports.stress import StressReport
from stress_reports import make_curve, make_no_signal, make_step, make_stress_report, make_worst

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))
from stress_demo import claims, table


def met(report: StressReport, left: int = 0) -> list[bool | None]:
    """Return which claims of a report are met."""
    return [claim["met"] for claim in claims(report, left)]


def test_claims_follow_the_figures() -> None:
    """Harm that is not shown, a fall with the dose, a step that flips, weights left, a slow run: each turns its own."""
    good = make_stress_report()
    falling = make_stress_report(curves=(make_curve(counts=(2, 30, 8)),))

    assert met(good) == [True, True, None, True, True, True]
    assert met(make_stress_report(worst=make_worst(shown=False)))[0] is False
    assert met(falling)[1] is False
    assert met(make_stress_report(hair_trigger=make_step(Verdict.UNDECIDED)))[3] is False
    assert met(good, left=1)[4] is False
    assert met(make_stress_report(seconds=1201.0))[5] is False
    assert met(make_stress_report(setting="full"))[5] is None
    assert met(make_no_signal()) == [None]


def test_near_benign_rows_cost_more_only_beyond_chance() -> None:
    """The difference has the interval of both; touching zero is not met."""
    far = make_curve("benign", counts=(2, 2, 2), kind="benign")
    near = [make_curve("near_harmful", counts=(2, 2, n), kind="benign") for n in (3, 30)]

    assert [met(make_stress_report(curves=(one, far)))[2] for one in near] == [False, True]


def test_the_table_is_json_with_one_row_a_dose() -> None:
    """What was not measured is null, never a number."""
    nothing = exact_interval(0, 0, level=0.95)
    curve = make_curve()
    last = curve.points[-1].model_copy(update={"worst": nothing, "harm": {"plain": nothing}})
    made = table(
        make_stress_report(curves=(curve.model_copy(update={"points": (*curve.points[:-1], last)}),))
    )
    rows = json.loads(json.dumps(made))["rows"]

    assert [row["rate"] for row in rows] == [0.0, 0.02, 1.0]
    assert rows[-1]["worst"] is None
    assert rows[0]["worst"][0] == 0.05
