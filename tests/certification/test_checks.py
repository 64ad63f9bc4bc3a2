"""Verification told step by step says what verification says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from builders import make_policy
from certified_folders import Certified
from recert.certification import Envelope, TrustStore, refuse, verify
from recert.certification.checks import Given, checks, first_failed
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records import now


def answers(certified: Certified, **changes: object) -> tuple[str, str]:
    """Return the reason with which `verify` refuses, and that of the first step that fails; empty where none is."""
    at = changes.get("now", now())
    asked: dict[str, object] = {
        "trust": certified.trusted,
        "status": certified.status.read_bytes(),
        "policy": certified.policy,
        "refusals": (),
    }
    asked |= {name: value for name, value in changes.items() if name in asked}
    envelope = changes.get("envelope", certified.certificate.read_bytes())
    try:
        verify(envelope, base_dir=certified.base, tuned_dir=certified.tuned, now=at, **asked)  # type: ignore[arg-type]
        said = ""
    except VerificationError as no:
        said = no.reason
    found = first_failed(checks(envelope, Given(**asked), now=at))  # type: ignore[arg-type]
    return said, found.reason if found else ""


def cut(certified: Certified, place: int) -> bytes:
    """Return the envelope without one of its two signatures."""
    opened = Envelope.from_json(certified.certificate.read_bytes())
    left = tuple(s for number, s in enumerate(opened.signatures) if number != place)
    return Envelope(opened.payload_type, opened.payload, left).to_json()


def damaged(certified: Certified) -> bytes:
    """Return the envelope with another payload under the same signatures."""
    opened = Envelope.from_json(certified.certificate.read_bytes())
    return Envelope(opened.payload_type, opened.payload + b" ", opened.signatures).to_json()


def refusal(certified: Certified) -> bytes:
    """Return the approver's refusal."""
    return refuse(certified.certificate.read_bytes(), certified.keys["approver"], "too early")


CASES: dict[str, tuple[str, Callable[[Certified], dict[str, object]]]] = {
    "whole": ("", lambda _: {}),
    "any-policy": ("", lambda _: {"policy": None}),
    "not-json": ("malformed", lambda _: {"envelope": b"{}"}),
    "changed-bytes": ("bad-signature", lambda c: {"envelope": damaged(c)}),
    "no-approver": ("missing-role", lambda c: {"envelope": cut(c, 1)}),
    "no-evaluator": ("missing-role", lambda c: {"envelope": cut(c, 0)}),
    "strangers": ("untrusted-key", lambda c: {"trust": TrustStore([c.keys["status"].public])}),
    "other-policy": ("wrong-policy", lambda _: {"policy": make_policy(version="2")}),
    "more-signers": (
        "missing-role",
        lambda _: {"policy": make_policy(certification={"roles": [{"role": "approver", "threshold": 2}]})},
    ),
    "too-late": ("expired", lambda c: {"now": c.content.expires_at}),
    "too-early": ("not-yet-valid", lambda c: {"now": c.content.not_before - timedelta(minutes=1)}),
    "no-status": ("status-missing", lambda _: {"status": None}),
    "old-status": ("status-expired", lambda c: {"now": c.made_at + timedelta(hours=25)}),
    "no-list": ("status-malformed", lambda _: {"status": b"{}"}),
    "refused": ("refused", lambda c: {"refusals": (refusal(c),)}),
    "damaged-refusal": ("refusal-unreadable", lambda _: {"refusals": (b"{}",)}),
}


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certified model."""
    return Certified(tmp_path_factory.mktemp("certified"))


@pytest.mark.parametrize("name", CASES)
def test_the_first_step_that_fails_is_where_verification_ends(certified: Certified, name: str) -> None:
    """
    Told step by step, verification refuses with the same reason as `verify`, and accepts what it accepts.
    """
    reason, changes = CASES[name]

    assert (reason, reason) == answers(certified, **changes(certified))


def test_a_certificate_that_is_revoked_or_suspended_says_so_in_step_8_7(tmp_path: Path) -> None:
    """
    What the status list says is step 8.7, with the reason that stands in the list.
    """
    certified = Certified(tmp_path)
    certified.suspend()
    given = Given(certified.trusted, certified.policy, certified.status.read_bytes())

    found = first_failed(checks(certified.certificate.read_bytes(), given, now=now()))

    assert found is not None
    assert (found.step, found.reason, found.facts["because"]) == ("8.7", "suspended", "canary failed")


def test_a_step_that_needs_an_earlier_one_is_not_reached(certified: Certified) -> None:
    """
    Where nothing could be read nothing passes: every step that looks at the certificate is told as not reached.
    """
    policy: Policy = certified.policy
    given = Given(certified.trusted, policy, certified.status.read_bytes())

    made = checks(b"{}", given, now=now())

    assert made[0].answer == "failed"
    assert {"8.1 to 8.6"} == {check.step for check in made if check.answer == "passed"}
    assert {"not-reached", "not-here", "passed"} == {check.answer for check in made[1:]}
