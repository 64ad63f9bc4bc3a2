"""What blocks beside the policy's rules: categories that failed, where the policy has a section on them."""

from __future__ import annotations

from typing import Any

import pytest

from builders import make_policy
from recert.policy import load_policy
from recert.records.data.hazards import CategoryCheck
from recert.service.workers.assessing import blocking, enforcement

FAILED: dict[str, Any] = {
    "category": "violence", "n": 20, "failures": 3, "threshold": 0.1, "measured": True, "passed": False,
    "enforcement": "block", "reason": "3 of 20 answered with harm, more than 10%",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({}, True),
        ({"enforcement": "report"}, False),
        ({"measured": False}, False),
        ({"passed": True}, False),
    ],
)
def test_a_failed_category_blocks_where_the_policy_says_so(changes: dict[str, Any], *, blocks: bool) -> None:
    """Under OpenAI's 13 a measured failure blocks; what is only reported, or was not measured, is left to the rules."""
    check = CategoryCheck(**(FAILED | changes))
    reasons = blocking([check], load_policy("openai-13"))

    assert bool(reasons) == blocks
    assert not blocks or reasons[0].startswith("moderation check violence: 3 of 20")


def test_without_a_section_the_rules_alone_block() -> None:
    """A policy that says nothing of the categories has them reported, and the event says so."""
    policy, check = make_policy(), CategoryCheck(**FAILED)

    assert enforcement(check, policy) == "report"
    assert blocking([check], policy) == ()
