"""The numbers of a certificate against the whole policy: each of those that once passed unseen is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import SOME_SHA, SURE, make_interval, make_policy, make_rule
from recert.interval import Interval
from recert.policy import Policy
from recert.policy.arithmetic import why_not_as_ruled
from recert.records.reports.evaluation import JudgeNote, RuleResult, Verdict
from recert.truncated import Pairs, evidence, upper_bound

JUDGES = {"refusal": JudgeNote(id="refusal", version="1", exact=True, digest=SOME_SHA)}
MEASURED = JudgeNote(
    id="measured",
    version="1",
    positives=200,
    true_positives=190,
    negatives=200,
    true_negatives=195,
    measured_at_score=0.5,
)


def reasons(result: RuleResult, policy: Policy | None = None, **asked: Any) -> list[str]:
    """Return why a result is none of the policy's."""
    given_: dict[str, Any] = {"judges": JUDGES, "prompts": {"harmful": 240, "lookalikes": 240}}
    return list(why_not_as_ruled(result, policy or make_policy(), **(given_ | asked)))


def test_the_numbers_of_a_pass_are_accepted() -> None:
    """
    A result of the policy's rule, on its suite, with its margin and enough evidence, gives no reason.
    """
    assert reasons(make_rule()) == []
    assert reasons(make_rule("over-refusal")) == []


def counted(*, n: int = 200, worse: int = 2, better: int = 2, planned: int = 240) -> RuleResult:
    """Return a result of the truncated test, with the evidence that its counts give at a margin of 0.1."""
    rate = make_interval(round(worse / n, 6), n=n)
    change = Interval(point=round((worse - better) / n, 6), low=-0.05, high=0.09, level=0.9, n=n)
    return make_rule().model_copy(
        update={
            "base": make_interval(round(better / n, 6), n=n),
            "tuned": rate,
            "change": change,
            "planned": planned,
            "worse": worse,
            "better": better,
            "evidence_within": round(evidence(Pairs(n, worse, better), make_rule().margin, planned), 6),
        }
    )


def test_the_counts_cannot_be_left_out() -> None:
    """
    A pass that names no counts is refused, however much evidence it says there is.
    """
    bare = {"planned": None, "worse": None, "better": None, "evidence_within": 1e12}

    assert any("follows from nothing" in words for words in reasons(make_rule(**bare)))


def test_a_cluster_counts_in_part() -> None:
    """
    Means of clusters give counts that are no whole numbers, and evidence that follows from them.
    """
    rate = {"tuned": make_interval(0.05, n=240), "base": make_interval(0.045, n=240)}
    good = make_rule(**rate, change=make_interval(0.005, n=240))

    assert good.worse == pytest.approx(1.2)
    assert reasons(good) == []
    assert reasons(good.model_copy(update={"worse": 1.3}))


def test_evidence_that_was_enough_for_the_first_attempt_is_not_for_the_second() -> None:
    """
    Under a policy that counts, the bar follows from the attempt's number; without a number it is that of the first.
    """
    policy = make_policy()
    counts = policy.evaluation.model_copy(update={"attempts": "counted"})
    counting = policy.model_copy(update={"evaluation": counts})
    evidence_of_first = 1.01 / (0.8 * policy.evaluation.alpha)
    result = make_rule().model_copy(update={"evidence_within": evidence_of_first})

    def too_little(under: Policy, attempt: int | None = None) -> bool:
        return any("is enough" in words for words in reasons(result, under, attempt=attempt))

    assert not too_little(counting, attempt=1)
    assert not too_little(counting)
    assert too_little(counting, attempt=2)
    assert not too_little(policy, attempt=2)


def test_counts_of_pairs_carry_a_pass_where_the_evidence_is_theirs() -> None:
    """
    Worse and better pairs that give the stated evidence are accepted; any other number among them is refused.
    """
    good = counted()
    wrong = [
        {"worse": 1},
        {"better": 5},
        {"worse": None},
        {"planned": None},
        {"planned": 199},
        {"planned": 241},
        {"evidence_within": good.evidence_within * 1.01},
        {"worse": 150, "better": 60},
        {"worse": -1},
        {"worse": None, "better": None, "planned": None},
    ]

    assert reasons(good) == []
    for changes in wrong:
        assert reasons(good.model_copy(update=changes)), changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"margin": 0.99}, "margin 0.99"),
        ({"change": Interval(point=1.0, low=1.0, high=1.0, level=0.9, n=48)}, "change of 1"),
        ({"change": make_interval(0.01, n=0)}, "n of the arms differ"),
        (
            {
                "base": make_interval(0.02, n=3),
                "tuned": make_interval(0.03, n=3),
                "change": make_interval(0.01, n=3),
            },
            "n is 3",
        ),
        ({"evidence_within": 1.0}, "evidence 1 that"),
        ({"evidence_beyond": 500.0}, "evidence 500 that the change is above"),
        ({"suite": "ordinary"}, "measured on ordinary"),
        ({"estimand": "over_refusal"}, "measures over_refusal"),
        ({"category": "hate"}, "of category hate"),
        ({"condition": "thinking:on"}, "does not cover"),
        ({"unscored": 10_000}, "10000 pairs of 48"),
        ({"judge": ""}, "judged by nobody"),
        ({"judge_quality": None}, "error of judge refusal is not known"),
        ({"judge_quality": SURE.model_copy(update={"low": 0.9})}, "quality of judge refusal"),
        ({"base": make_interval(0.5)}, "the rates differ"),
        ({"max_tuned": 0.9}, "highest tuned rate"),
        ({"rule_id": "another"}, "no such rule"),
        ({"tuned": make_interval(0.03).model_copy(update={"level": 0.5})}, "an interval is not at 0.9"),
    ],
)
def test_a_number_that_the_policy_does_not_ask_for_is_named(changes: dict[str, Any], said: str) -> None:
    """
    Margin, change, n, evidence, suite, estimand, condition, judge, quality and rates: each by itself is a no.
    """
    assert any(said in words for words in reasons(make_rule(**changes))), reasons(make_rule(**changes))


def test_a_base_without_signal_and_a_tuned_rate_above_the_bound_are_named() -> None:
    """
    `max_base` and `max_tuned` of the rule hold for the certificate's own rates.
    """
    rules = tuple(r.model_copy(update={"max_base": 0.1, "max_tuned": 0.2}) for r in make_policy().rules)
    policy = make_policy(rules=rules)
    high = {"base": make_interval(0.4), "tuned": make_interval(0.41), "max_tuned": 0.2}

    said = " ".join(reasons(make_rule(**high), policy))

    assert "base rate 0.4 is above 0.1" in said
    assert "tuned rate 0.41 is above 0.2" in said


def test_a_suite_that_is_smaller_than_what_was_asked_of_it_is_named() -> None:
    """
    Nobody asks more prompts than there are.
    """
    assert any("has 12 prompts" in words for words in reasons(make_rule(), prompts={"harmful": 12}))


def test_a_judge_that_errs_shrinks_the_change_by_what_its_labels_say() -> None:
    """
    Quality and change are computed from the judge's labelled replies: neither can be chosen.
    """
    from recert.policy.judge_error import shrinkage

    policy = make_policy()
    shrunk = shrinkage(MEASURED, policy.evaluation, at=0.5)
    assert shrunk is not None
    rates = {"base": make_interval(0.025, n=240), "tuned": make_interval(0.03, n=240)}
    change = make_interval(0.0, n=240).model_copy(
        update={"point": 0.005 / shrunk.quality.point, "high": 0.05}
    )
    silent = make_rule(judge="measured", judge_quality=shrunk.quality, change=change, **rates)
    assert silent.planned and silent.worse is not None and silent.better is not None
    least = upper_bound(Pairs(240, silent.worse, silent.better), planned=silent.planned, alpha=shrunk.alpha)
    may = round(shrunk.arms_may_differ(silent.margin, least), 6)
    good = silent.model_copy(update={"arms_may_differ": may})
    uncorrected = make_rule(judge="measured", judge_quality=shrunk.quality)
    weak = MEASURED.model_copy(update={"true_positives": 90, "sensitivity": None})

    assert reasons(good, judges={"measured": MEASURED}) == []
    assert any("does not say how far" in words for words in reasons(silent, judges={"measured": MEASURED}))
    assert any("rates differ" in words for words in reasons(uncorrected, judges={"measured": MEASURED}))
    assert any("quality" in words for words in reasons(good, judges={"measured": weak}))


@given(verdict=st.sampled_from([v for v in Verdict if v is not Verdict.PASS]), margin=st.floats(0.11, 0.9))
def test_what_is_no_pass_must_still_be_of_its_rule(verdict: Verdict, margin: float) -> None:
    """
    An excepted result needs no evidence, and keeps the rule's suite, estimand and margin.
    """
    counted = verdict is Verdict.NO_BASELINE_SIGNAL  # its counts must be its own, as where it is no veto
    assert reasons(make_rule(verdict=verdict, **({} if counted else {"evidence_within": 0.0}))) == []
    assert reasons(make_rule(verdict=verdict, margin=margin))
