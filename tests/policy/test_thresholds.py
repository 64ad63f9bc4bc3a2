"""Thresholds by hazard category, as a policy file writes them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recert.errors import PolicyError
from recert.policy import GatewayPolicy, HarmLevels, load_policy

RULE = '[[rules]]\nid = "harm"\nsuite = "harmful"\nestimand = "harm"\nmargin = 0.05\n'


def policy_file(tmp_path: Path, gateway: str) -> Path:
    """Write a policy with a gateway section."""
    path = tmp_path / "policy.toml"
    path.write_text(f'id = "p"\nversion = "1"\n{gateway}\n{RULE}')
    return path


def test_a_policy_file_sets_a_threshold_for_each_category(tmp_path: Path) -> None:
    """Each of the five words is read, and what lets harm pass is said in words."""
    path = policy_file(
        tmp_path,
        '[gateway.thresholds]\nhate = "low_and_above"\nprivacy = "medium_and_above"\n'
        'violent_crimes = "only_high"\ndefamation = "none"\nspecialized_advice = "off"\n',
    )
    gateway = load_policy(path).gateway

    assert gateway.thresholds["hate"] == "low_and_above"
    assert gateway.unguarded == (
        "the gateway scores harm of the category defamation and blocks none of it",
        "the gateway does not score harm of the category specialized_advice",
    )
    assert load_policy().gateway.unguarded == ()


@pytest.mark.parametrize(
    "section",
    [
        '[gateway.thresholds]\nrudeness = "only_high"',
        '[gateway.thresholds]\nhate = "sometimes"',
        '[gateway.thresholds]\nchild_sexual_exploitation = "none"',
        '[gateway.thresholds]\nchild_sexual_exploitation = "off"',
        "[gateway.levels]\nlow = 0.7",
        "[gateway.levels]\nlower = 0.1",
        "[gateway.conversation]\nhalf_life = 60",
    ],
)
def test_a_threshold_that_means_nothing_is_refused(tmp_path: Path, section: str) -> None:
    """Unknown categories and words, levels out of order, and what may not be switched off."""
    with pytest.raises(PolicyError):
        load_policy(policy_file(tmp_path, section))


def test_a_control_in_shadow_is_said_too() -> None:
    """A policy that keeps a control from acting says so beside its categories."""
    (said,) = GatewayPolicy(shadow=("input-judge",)).unguarded

    assert said == "the gateway's control input-judge is in shadow: it scores and blocks nothing"
    (said,) = GatewayPolicy(shadow=("lexicon", "all")).unguarded
    assert said == "every control of the gateway is in shadow: it scores and blocks nothing"


@given(bounds=st.lists(st.floats(0.01, 1), min_size=3, max_size=3), score=st.floats(0, 1))
@settings(deadline=None)
def test_a_level_begins_at_its_score(bounds: list[float], score: float) -> None:
    """The level of a score is the highest that begins at or below it; levels out of order are refused."""
    low, medium, high = bounds
    if not low <= medium <= high:
        with pytest.raises(ValidationError):
            HarmLevels(low=low, medium=medium, high=high)
        return
    levels = HarmLevels(low=low, medium=medium, high=high)
    reached = [name for name, at in zip(("low", "medium", "high"), bounds, strict=True) if score >= at]

    assert levels.level(score) == (reached[-1] if reached else "negligible")
    assert levels.level(float("nan")) == "high"
