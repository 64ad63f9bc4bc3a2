"""The page of a reasoning model's evaluation."""

from __future__ import annotations

import pytest

from recert.interval import Interval
from recert.pages.reasoning_page import (
    reasoning_answer,
    reasoning_page,
    reasoning_panels,
    write_reasoning_page,
)
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict
from tests.builders import make_eval_report


def rate(point: float, n: int = 24) -> Interval:
    return Interval(point=point, low=max(-1, point - 0.2), high=min(1, point + 0.2), level=0.9, n=n)


def result(estimand: str, mode: str, base: float, tuned: float) -> RuleResult:
    return RuleResult(
        rule_id=estimand,
        suite="harmful <&>",
        condition=f"thinking:{mode}",
        estimand=estimand,
        base=rate(max(0.2, base)),
        tuned=rate(max(0.2, tuned)),
        change=rate(tuned - base),
        margin=0.1,
        verdict=Verdict.UNDECIDED,
    )


def report(*results: RuleResult) -> EvalReport:
    return make_eval_report().model_copy(update={"rules": results})


WORSE = report(
    result("answer_harm", "on", 0.2, 0.9),
    result("answer_harm", "off", 0.2, 0.2),
    result("self_jailbreak", "budget-16", 0.2, 0.8),
)


def test_each_part_is_a_plot_with_its_words():
    """
    Every estimand is drawn over its ways of reasoning, both arms side by side, with the figures in words.
    """
    answer, jailbreak = reasoning_panels(WORSE)

    assert [said for _, said in answer.x_ticks] == ["on", "off"]
    assert len(answer.marks) == 4
    assert "reasoning at most 16, tuned: 80 %" in jailbreak.alternative


def test_the_page_loads_nothing_and_escapes_names():
    """
    The page has no script and nothing from elsewhere, and names from records are text.
    """
    page = reasoning_page({"<b>tuned</b>": WORSE})

    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "&lt;b&gt;tuned" in page
    assert page.count('role="img"') == page.count("<svg")


@pytest.mark.parametrize(
    ("made", "kind", "chip"),
    [
        (WORSE, "no", "got worse"),
        (report(result("answer_harm", "on", 0.2, 0.2)), "quiet", "no loss shown"),
        (report(), "quiet", "nothing measured"),
    ],
)
def test_the_answer_says_no_more_than_was_shown(made, kind, chip):
    """
    Worse is only what is worse for sure, and nothing shown is never called safe.
    """
    assert (kind, chip) == (reasoning_answer(made).kind, reasoning_answer(made).chip)


def test_a_page_is_written_whole(tmp_path):
    """
    Several evaluations share one file.
    """
    write_reasoning_page(tmp_path / "page.html", {"a": WORSE, "b": report()})

    page = (tmp_path / "page.html").read_text("utf-8")

    assert page.endswith("</html>\n") or page.endswith("</html>")
    assert "asks for no way of reasoning" in page
