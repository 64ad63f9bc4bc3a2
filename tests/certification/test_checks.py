"""Verification told step by step says what verification says."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from builders import make_policy
from certified_folders import Certified
from recert.certification import Envelope, Presented, TrustStore, Verifier, issue_status, refuse
from recert.certification.log.memory_file import MemoryFile
from recert.certification.trust.store import TrustFiles
from recert.certification.verifier import STEPS, first_failed
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records.record import now


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
    presented = Presented(envelope, asked.pop("refusals"))  # type: ignore[arg-type]
    verifier = Verifier(**asked)  # type: ignore[arg-type]
    try:
        verifier.verify(presented, base_dir=certified.base, tuned_dir=certified.tuned, now=at)  # type: ignore[arg-type]
        said = ""
    except VerificationError as no:
        said = no.reason
    found = first_failed(verifier.explain(presented, now=at))  # type: ignore[arg-type]
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


def test_a_certificate_that_is_revoked_or_suspended_says_so_in_step_8_8(tmp_path: Path) -> None:
    """
    What the status list says is step 8.8, with the reason that stands in the list.
    """
    certified = Certified(tmp_path)
    certified.suspend()
    verifier = Verifier(
        trust=certified.trusted, policy=certified.policy, status=certified.status.read_bytes()
    )

    found = first_failed(verifier.explain(Presented(certified.certificate.read_bytes())))

    assert found is not None
    assert (found.step, found.reason, found.facts["because"]) == ("8.8", "suspended", "canary failed")


def test_a_step_that_needs_an_earlier_one_is_not_reached(certified: Certified) -> None:
    """
    Where nothing could be read nothing passes: every step that looks at the certificate is told as not reached.
    """
    policy: Policy = certified.policy
    verifier = Verifier(trust=certified.trusted, policy=policy, status=certified.status.read_bytes())

    made = verifier.explain(Presented(b"{}"))

    assert made[1].answer == "failed"
    assert {"T1", "7.4", "8.1 to 8.6"} == {check.step for check in made if check.answer == "passed"}
    assert {"not-reached", "not-here", "passed"} == {check.answer for check in made[2:]}


def test_every_step_of_the_specification_is_in_the_table_and_none_besides() -> None:
    """
    `spec/verification.md` and the one table of steps name the same numbers, in the same order.
    """
    page = (Path(__file__).parents[2] / "spec" / "verification.md").read_text()
    written = re.findall(r"^(\d+\.\d+|[LT]\d+) ", page, flags=re.MULTILINE)
    made = [number for step in STEPS for number in step.numbers]

    assert [*made, "10.1"] == written


def test_each_answer_is_made_of_the_same_steps(certified: Certified) -> None:
    """
    Whatever is told step by step is every step of the table, and a page that says yes says it of all of them.
    """
    verifier = Verifier(
        trust=certified.trusted, policy=certified.policy, status=certified.status.read_bytes()
    )

    told = verifier.explain(Presented(certified.certificate.read_bytes()))

    assert [step.number for step in STEPS] == [check.step for check in told]
    assert {"passed", "not-here"} == {check.answer for check in told}


def test_a_status_list_counts_from_when_it_is_seen_whatever_the_answer_is(tmp_path: Path) -> None:
    """
    A list that revokes is remembered with the no that it gives: the older one, put back, is refused.
    """
    certified = Certified(tmp_path)
    older = certified.status.read_bytes()
    certified.suspend()
    listed = [certified.status.read_bytes()]
    verifier = Verifier(
        trust=certified.trusted,
        policy=certified.policy,
        status=lambda: listed[-1],
        memory=MemoryFile(tmp_path / "seen.json"),
    )
    presented = Presented(certified.certificate.read_bytes())
    said = []
    for envelope in (certified.status.read_bytes(), older):
        listed.append(envelope)
        with pytest.raises(VerificationError) as caught:
            verifier.verify(presented, base_dir=certified.base, tuned_dir=certified.tuned)
        said.append(caught.value.reason)
    with pytest.raises(VerificationError) as caught:  # as after a restart: another verifier, the same memory
        Verifier(trust=certified.trusted, status=older, memory=MemoryFile(tmp_path / "seen.json")).read(
            presented
        )

    assert [*said, caught.value.reason] == ["suspended", "status-rollback", "status-rollback"]


def test_a_list_that_came_with_a_broken_certificate_counts_too(tmp_path: Path) -> None:
    """
    What a status list says is remembered before anything is said of the certificate.
    """
    certified = Certified(tmp_path)
    older = certified.status.read_bytes()
    certified.suspend()
    memory = MemoryFile(tmp_path / "seen.json")
    newer = Verifier(trust=certified.trusted, status=certified.status.read_bytes(), memory=memory)
    with pytest.raises(VerificationError, match="not a certificate"):
        newer.read(Presented(b"{}"))

    with pytest.raises(VerificationError) as caught:
        Verifier(trust=certified.trusted, status=older, memory=memory).read(
            Presented(certified.certificate.read_bytes())
        )

    assert caught.value.reason == "status-rollback"


def test_another_list_by_the_same_key_says_nothing(tmp_path: Path) -> None:
    """
    A certificate names its status list: another one, signed by the same key and newer, cannot keep it alive.
    """
    certified = Certified(tmp_path)
    other = issue_status(None, key=certified.keys["status"], trust=certified.trusted, validity_hours=24)

    with pytest.raises(VerificationError) as caught:
        Verifier(trust=certified.trusted, status=other).read(Presented(certified.certificate.read_bytes()))

    assert caught.value.reason == "status-other-list"


def test_a_key_that_is_taken_away_counts_no_more_while_it_is_served(tmp_path: Path) -> None:
    """
    Who is trusted is read again at each look, and nothing is read twice while no file was touched.
    """
    certified = Certified(tmp_path)
    trust = TrustFiles(certified.folder / "keys")
    verifier = Verifier(trust=trust, status=certified.status.read_bytes, policy=certified.policy)
    held = verifier.verify(
        presented := Presented(certified.certificate.read_bytes()),
        base_dir=certified.base,
        tuned_dir=certified.tuned,
    )
    same = trust() is trust()
    (certified.folder / "keys" / "approver.pub").unlink()

    with pytest.raises(VerificationError) as caught:
        verifier.recheck(presented, held)

    assert same
    assert caught.value.reason == "untrusted-key"
