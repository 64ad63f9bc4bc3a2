"""What a policy says of speech at the gateway."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from builders import make_policy
from recert.policy import Policy
from recert.policy.changes.difference import differences
from recert.policy.changes.explaining import explain
from recert.policy.changes.weaknesses import weaknesses


def test_a_policy_without_speech_is_written_as_before() -> None:
    """The section is not in it, so certificates of earlier policies keep their policy's digest."""
    assert "audio" not in make_policy().to_value()["gateway"]


def test_a_policy_with_speech_is_read_back() -> None:
    """What is written is what was said."""
    policy = make_policy(gateway={"audio": {"passes_on": "clip", "formats": ("wav", "mp3")}})

    assert Policy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    "given",
    [
        {"passes_on": "both"}, {"formats": ("ogg",)}, {"formats": ()}, {"min_confidence": 0}, {"min_confidence": 1.5},
        {"min_clip_s": 5, "max_clip_s": 1}, {"min_sample_rate_hz": 9_000, "max_sample_rate_hz": 8_000},
        {"max_clips": 0}, {"timeout_s": 0},
    ],
)  # fmt: skip
def test_bounds_that_bound_nothing_are_refused(given: dict[str, object]) -> None:
    """A bound that could never be met, or lets everything through, is a mistake."""
    with pytest.raises(ValidationError):
        make_policy(gateway={"audio": given})


def test_every_change_of_it_has_a_direction() -> None:
    """To serve speech at all is laxer, and so is less confidence."""
    none, some, less = (
        make_policy(gateway=given)
        for given in ({}, {"audio": {}}, {"audio": {"min_confidence": 0.3, "max_clip_s": 60}})
    )

    assert [one.direction for one in differences(none, some)] == ["laxer"]
    assert [one.direction for one in differences(some, less)] == ["laxer", "laxer"]
    assert [one.direction for one in differences(less, none)] == ["stricter"]


def test_what_it_leaves_open_is_said() -> None:
    """A section that serves nobody, one that is missing, and clips that are passed on."""
    aloud = {"families": (), "modalities": ("text", "audio")}

    def said(**changes: object) -> str:
        return " ".join(weaknesses(make_policy(**changes)))

    assert "serves nobody" in said(gateway={"audio": {}})
    assert "served in writing alone" in said(evaluation=aloud)
    assert "not judged" in said(evaluation=aloud, gateway={"audio": {"passes_on": "clip"}})
    assert "audio" not in said(evaluation=aloud, gateway={"audio": {}})
    assert "Requests may be spoken" in str(explain(make_policy(gateway={"audio": {}})))
