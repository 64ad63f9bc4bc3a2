"""A policy's change log."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from recert.errors import PolicyError
from recert.policy import Policy, load_deployments, load_policy, profiles
from recert.policy.changes.change_log import why_log_is_wrong, why_no_successor

from .changed import WHOLE, one_change
from .test_deployments import FILE, policy_file

LOG = '\n[[changes]]\nversion = "{}"\ndate = {}\nby = "Ada"\nwhy = "because"\n'


def with_log(*entries: tuple[str, str], version: str = "1") -> Policy:
    """Return a policy with a change log of versions and dates."""
    changes = [{"version": name, "date": date, "by": "Ada", "why": "because"} for name, date in entries]
    return Policy.model_validate(WHOLE.to_value() | {"version": version, "changes": changes})


def successor(before: Policy, after: Policy) -> str:
    """Return why one cannot follow the other, each for one deployment."""
    return why_no_successor({"external": before}, {"external": after})


def test_a_log_ends_at_the_present_version() -> None:
    """A log is wrong where it ends elsewhere, names a version twice, or goes back in time; none at all is not."""
    first, second = ("1", "2026-01-01"), ("2", "2026-02-01")

    assert why_log_is_wrong(with_log()) == ""
    assert why_log_is_wrong(with_log(first, second, version="2")) == ""
    assert "ends at version 1" in why_log_is_wrong(with_log(first, version="2"))
    assert "twice" in why_log_is_wrong(with_log(first, first))
    assert "order" in why_log_is_wrong(with_log(("1", "2026-03-01"), second, version="2"))


@pytest.mark.parametrize("name", profiles())
def test_shipped_profiles_have_a_log(name: str) -> None:
    """Every profile that comes with Recert says what became of it."""
    assert load_policy(name).changes
    assert why_log_is_wrong(load_policy(name)) == ""


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(one_change())
def test_no_change_goes_in_without_a_version(change: tuple[str, Policy]) -> None:
    """Whatever field has another value, a policy of the same version is no successor."""
    path, after = change

    assert (successor(WHOLE, after) == "") == (path == "version")
    assert successor(WHOLE, WHOLE) == ""


def test_a_log_is_only_added_to() -> None:
    """A successor's log begins with the earlier one, and its version was never there before."""
    first, second, third = ("1", "2026-01-01"), ("2", "2026-02-01"), ("3", "2026-03-01")
    before = with_log(first, second, version="2")

    assert successor(before, with_log(first, second, third, version="3")) == ""
    assert "does not begin" in successor(before, with_log(second, third, version="3"))
    assert "was there before" in successor(before, with_log(first, second, version="1"))


def test_bounds_of_another_deployment_are_content_too(tmp_path: Path) -> None:
    """A table that changed, came or went is noticed, also where the file's own bounds are what they were."""
    before = load_deployments(policy_file(tmp_path))
    for text in (
        FILE.replace("validity_hours = 24", "validity_hours = 12"),
        FILE.partition("[deployments.high")[0],
    ):
        after = load_deployments(policy_file(tmp_path, text))

        assert before["internal"] == after["internal"]
        assert "its version is the same" in why_no_successor(before, after)


def test_dates_are_dates(tmp_path: Path) -> None:
    """A log entry without a date, or with another thing there, is refused with its place."""
    assert (
        load_policy(policy_file(tmp_path, FILE + LOG.format("1", "2026-11-28"))).changes[0].date.year == 2026
    )
    with pytest.raises(PolicyError, match="invalid"):
        load_policy(policy_file(tmp_path, FILE + LOG.format("1", '"yesterday"')))
