"""What would decide an undecided evaluation: which rule, how many prompts more, how long."""

from __future__ import annotations

import pytest

from builders import make_eval_report, make_interval, make_policy, make_rule
from recert.cli.evaluating.evaluate import show_rules
from recert.evaluation.decision.cheapest import what_would_decide
from recert.evaluation.plan import UNKNOWN_CONTEXT
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict
from recert.truncated import Pairs, passes

POLICY = make_policy()


def open_rule(worse: int, n: int = 60, condition: str = "plain") -> RuleResult:
    """Return an undecided result of so many worse pairs."""
    rate = worse / n
    return make_rule(
        "harm",
        condition,
        Verdict.UNDECIDED,
        base=make_interval(0.0, n=n),
        tuned=make_interval(rate, n=n),
        change=make_interval(rate, n=n),
    )


def report(*rules: RuleResult, made: int = 240, seconds: float = 480.0) -> EvalReport:
    """Return a report of these results."""
    whole = make_eval_report()
    asked = {"base_made": made // 2, "tuned_made": made // 2}
    return whole.model_copy(
        update={"rules": rules, "verdict_raw": Verdict.UNDECIDED, "prompts_asked": asked, "seconds": seconds}
    )


def test_the_rule_that_needs_the_fewest_prompts_more_comes_first() -> None:
    """
    So many prompts as are named pass at the same shares, one less does not; a passing rule needs none.
    """
    found = what_would_decide(report(open_rule(3), make_rule(), open_rule(2)), POLICY.evaluation)
    first = found[0]

    assert [one.result.worse for one in found] == [2, 3]
    assert first.prompts is not None and first.more == first.prompts - 60
    for prompts, enough in ((first.prompts, True), (first.prompts - 1, False)):
        pairs = Pairs(prompts, prompts * 2 / 60, 0)
        assert passes(pairs, 0.1, planned=prompts, alpha=POLICY.evaluation.alpha) is enough


def test_minutes_are_those_of_the_run_itself() -> None:
    """
    Two seconds a reply are four a pair; where every reply was kept from before, nothing is known of its pace.
    """
    (found,) = what_would_decide(report(open_rule(3)), POLICY.evaluation)
    (kept,) = what_would_decide(report(open_rule(3), made=0), POLICY.evaluation)

    assert found.minutes == pytest.approx(found.more * 4 / 60)
    assert kept.minutes is None


def test_a_rule_at_its_margin_needs_another_tune(capsys: pytest.CaptureFixture[str]) -> None:
    """
    No number of prompts passes a change at the margin: that is said, and it comes last.
    """
    never = report(open_rule(7))
    some = report(open_rule(7), open_rule(3))

    assert [one.prompts for one in what_would_decide(never, POLICY.evaluation)] == [None]
    assert what_would_decide(some, POLICY.evaluation)[-1].prompts is None
    show_rules(never, POLICY)
    assert "change the tune" in capsys.readouterr().err
    show_rules(some, POLICY)
    said = capsys.readouterr().err
    assert "cheapest to decide: harm under plain" in said and "min at this run's pace" in said
    assert "1 would not pass with more prompts like these" in said


def test_an_unknown_training_context_is_told_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A rule that is unscored because nobody saw the tuning rows names the option that mends it; others do not.
    """
    show_rules(report(make_rule(verdict=Verdict.UNSCORED, reason=UNKNOWN_CONTEXT)), POLICY)
    unknown = capsys.readouterr().err
    show_rules(report(make_rule()), POLICY)

    assert "--context none" in unknown
    assert "--context" not in capsys.readouterr().err
