"""The chance that a policy passes an equal tune, as `policy check` prints it."""

from __future__ import annotations

import pytest

from recert.evaluation.decision.power import HONEST, pass_chances
from recert.evaluation.suites.reading import shipped_suites
from recert.policy import load_policy

SUITES = shipped_suites()


def test_the_default_policy_passes_an_equal_tune():
    """
    At the judges' real notes an equal tune is certified with probability .95 where 1.25 % of prompts got worse and as
    many better, and .85 at 2 %.
    """
    few, many = pass_chances(load_policy("default"), SUITES, rates=(0.0125, 0.02))

    assert few.passes >= 0.95
    assert many.passes >= HONEST == 0.85
    assert few.prompts < many.prompts < 14 * 680


@pytest.mark.parametrize("name", ["demo", "gemini-filters", "openai-13"])
def test_policies_with_the_margins_of_the_default_do_too(name):
    """
    Every shipped policy but the strict one, of rules whose suites are there.
    """
    assert pass_chances(load_policy(name), SUITES, rates=(0.02,))[0].passes >= HONEST


def test_fewer_prompts_or_more_changed_ones_pass_less_often():
    """
    With 144 prompts a rule an equal tune hardly ever passes; the rule that passes least often is named.
    """
    policy = load_policy("default")
    small = policy.model_copy(
        update={"evaluation": policy.evaluation.model_copy(update={"max_prompts": 144})}
    )
    rare, common = pass_chances(small, SUITES, rates=(0.0025, 0.02))

    assert common.passes < rare.passes < pass_chances(policy, SUITES, rates=(0.0025,))[0].passes
    assert common.passes < 0.05
    assert common.hardest


def test_a_rule_that_is_not_at_hand_is_left_out():
    """
    Without any suite nothing is said; an unmeasured judge passes nothing.
    """
    assert pass_chances(load_policy("default"), {}) == ()
