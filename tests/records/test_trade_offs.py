"""What tuning made better and worse is told both ways, and nothing is called shown that its interval does not show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from builders import make_eval_report, make_interval, make_rule
from recert.records.reports.evaluation import RuleResult
from recert.records.reports.trade_offs import both_ways, moved, shown, traded


def result(rule_id: str, change: float, **changes: object) -> RuleResult:
    """Return a result whose rate moved by so much from 0.5."""
    rates = {
        "base": make_interval(0.5),
        "tuned": make_interval(0.5 + change),
        "change": make_interval(change),
    }
    return make_rule(rule_id, **(rates | changes))


def test_a_fall_of_over_refusal_that_is_paid_for_with_harm_is_named() -> None:
    """Both rates of both rules stand in one line; what moved the same way, or is not shown, is no trade."""
    paid = both_ways([result("over-refusal", -0.3), result("harm", 0.2)], safeguarded=False)

    assert [r.estimand for r in paid] == ["harm", "over_refusal"]
    assert list(traded(paid)) == [
        "traded: harm on harmful 0.50 -> 0.70 (change +0.20 [+0.17, +0.23]): worse; "
        "over refusal on lookalikes 0.50 -> 0.20 (change -0.30 [-0.33, -0.27]): better"
    ]
    assert list(traded([result("harm", -0.2), result("over-refusal", 0.3)])) != []
    assert list(traded([result("harm", 0.2), result("over-refusal", 0.3)])) == []
    assert list(traded([result("harm", 0.02), result("over-refusal", -0.3)])) == []


@given(change=st.floats(-0.4, 0.4))
def test_only_an_interval_on_one_side_of_zero_shows_anything(change: float) -> None:
    """Better and worse are said by the interval; swapping the sign swaps them."""
    one, other = result("harm", change), result("harm", -change)
    opposite = {"better": "worse", "worse": "better", "not shown": "not shown"}

    assert shown(one) == ("better" if one.change.high < 0 else "worse" if one.change.low > 0 else "not shown")
    assert shown(other) == opposite[shown(one)]
    assert moved(one).endswith(shown(one))


def test_only_what_decides_on_plain_requests_is_told() -> None:
    """Families, categories, controls and the other arm are left out; nothing measured shows nothing."""
    report = make_eval_report()
    others = (
        make_rule(safeguards=("secret-prefix",)),
        make_rule(category="violent_crimes"),
        make_rule("harm").model_copy(update={"rule_id": "control:judge:x"}),
    )
    plain = both_ways((*report.rules, *others), safeguarded=False)

    assert [(r.rule_id, r.condition) for r in plain] == [("harm", "plain"), ("over-refusal", "plain")]
    assert shown(make_rule(change=make_interval(0.3, n=0))) == "not shown"
