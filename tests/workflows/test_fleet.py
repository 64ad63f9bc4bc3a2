"""The simulation behind `docs/concepts/fleet.md`: laws that any such queue keeps; a page made from its table alone."""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from fleet_parts.page import _limits, _queue, number, share
from fleet_parts.scenarios import against_erlang
from fleet_parts.simulation import Fleet, erlang_c, mean_wait, simulate

HOUR = 2 * 168 / 1000
FLEET = Fleet(service_h=(HOUR / 2, HOUR, HOUR * 3 / 2), workers=3, adapters=1000, weeks=4, warm_up_weeks=1)
"""A thousand adapters that take two workers all their time."""


def test_erlang_c_is_that_of_the_books() -> None:
    """One worker waits with the chance that it is busy; two with the share of its states that do; no load, no wait."""
    a = 1.5
    two = (a**2 / 2 * 2 / (2 - a)) / (1 + a + a**2 / 2 * 2 / (2 - a))

    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, a) == pytest.approx(two)
    assert erlang_c(5, 0.0) == 0.0
    assert mean_wait(1, 0.5, 1.0) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="below"):
        erlang_c(2, 2.0)


@pytest.mark.slow
def test_waits_are_those_of_mmc() -> None:
    """Arrivals by chance and exponential service: mean wait and chance of waiting agree with theory within 6 %."""
    wait, waited, each = against_erlang(seed=0)

    assert wait == pytest.approx(1, abs=0.06)
    assert waited == pytest.approx(1, abs=0.03)
    assert min(each) != max(each)


def test_nobody_lapses_where_workers_are_ample() -> None:
    """With three workers for the work of two and a day of slack nobody is out of service, and everything is done."""
    seen = simulate(FLEET)

    assert (seen.lapsed, seen.ever_lapsed) == (0.0, 0.0)
    assert seen.utilisation == pytest.approx(2 / 3, abs=0.03)
    assert seen.unfinished <= FLEET.workers


def test_too_few_workers_let_certificates_lapse() -> None:
    """One worker for the work of two is always busy, and at last half of the fleet is out of service."""
    seen = simulate(replace(FLEET, workers=1, weeks=12, warm_up_weeks=6))

    assert seen.utilisation == pytest.approx(1)
    assert seen.lapsed == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("rhythm", ["spread", "monday"])
def test_more_workers_are_never_worse(rhythm: Any) -> None:
    """Out of service, busy, and hours to a verdict do not grow with the number of workers."""
    seen = [simulate(replace(FLEET, workers=n, rhythm=rhythm)) for n in (1, 2, 3, 4, 8, 16)]

    for figures in (
        [one.lapsed for one in seen],
        [one.utilisation for one in seen],
        [statistics.fmean(one.verdicts_h) for one in seen],
        [one.quantile_h(0.95) for one in seen],
    ):
        assert all(later <= earlier + 1e-9 for earlier, later in pairwise(figures))


def test_all_on_monday_waits_longer_than_spread() -> None:
    """The same work at the same time has to queue."""
    spread, monday = (simulate(replace(FLEET, rhythm=rhythm)) for rhythm in ("spread", "monday"))

    assert monday.quantile_h(0.5) > 20 * spread.quantile_h(0.5)


def test_a_replaced_base_takes_its_adapters_down_until_they_are_evaluated() -> None:
    """A twentieth of the fleet is out, for as long as its evaluations take, sooner where they go first."""
    updated = replace(FLEET, rhythm="monday", update_at_h=2 * 168 + 1, workers=4)
    later, sooner = simulate(updated), simulate(replace(updated, urgent_first=True))

    assert later.ever_lapsed == sooner.ever_lapsed == 0.05
    assert later.back_h is not None
    assert sooner.back_h is not None
    assert sooner.back_h < later.back_h / 4
    assert sooner.lapsed < later.lapsed


def test_workers_that_fail_do_more_than_the_work() -> None:
    """What is lost with a worker is done again."""
    seen = simulate(replace(FLEET, failures_per_h=0.5, kept=0.0))

    assert seen.utilisation > simulate(FLEET).utilisation * 1.05
    assert seen.unfinished <= FLEET.workers + 3


def test_people_sign_in_their_hours_alone() -> None:
    """What comes on a Saturday is signed on Monday; a weekend is longer than a day of slack and shorter than four."""
    people = replace(FLEET, people=4, sign_h=0.1)
    day, four = (simulate(replace(people, validity_h=168 + slack)) for slack in (24, 96))

    assert max(day.signed_h) >= 63
    assert day.lapsed > 0
    assert four.lapsed == 0.0
    assert simulate(replace(people, people=1)).lapsed > day.lapsed


def test_a_seed_gives_the_same_result() -> None:
    """The same seed repeats a run to the last figure; another gives another."""
    failing = replace(FLEET, failures_per_h=0.1)

    assert simulate(failing) == simulate(failing)
    assert simulate(replace(failing, seed=1)) != simulate(failing)


@pytest.mark.parametrize("changes", [{"workers": 0}, {"service_h": ()}, {"weeks": 1, "warm_up_weeks": 1}])
def test_a_fleet_without_workers_work_or_weeks_is_refused(changes: dict[str, Any]) -> None:
    """There is no figure for what cannot be simulated."""
    with pytest.raises(ValueError, match="fleet needs"):
        simulate(replace(FLEET, **changes))


def test_figures_of_the_page_are_those_of_the_table() -> None:
    """Rows come from the table; what was not reached is no number, and what is not zero does not look like zero."""
    row = {
        "scenario": "all on Monday", "workers": 7, "people": 0, "lapsed": 0.0065, "ever_lapsed": 0.05, "p50_h": 33.1,
        "p95_h": 63.1, "signed_p95_h": 63.1, "utilisation": 0.39, "back_h": None,
    }  # fmt: skip
    table = {
        "against_workers": [row],
        "around": [row],
        "erlang": {"wait": 1.0, "waited": 1.0, "runs": 8},
        "limits": [{"name": "entries", "needs": 10, "has": 70, "unit": "entries", "room": 7, "why": "size"}],
    }

    assert "| all on Monday | 7 | 0.65 % | 5.00 % | 33.1 | 63.1 | 39% | - |" in _queue(table)
    assert "| 1 | entries | 10 | 70 | entries | 7 | size |" in _limits(table)
    assert (share(0), share(1e-6)) == ("0", "< 0.01 %")
    assert (number(None), number(0.00012), number(16512.4)) == ("-", "1.2e-04", "16,512")
