"""What requests were expected is in the certificate as counts, is signed and shown, and decides nothing."""

from __future__ import annotations

from datetime import timedelta

from builders import NOW
from recert.certification import approve, read_unverified, signoff_sheet
from recert.records.live.exchange import ControlScore
from recert.records.signed.input_distribution import InputDistribution

SCORES = [
    [ControlScore(control="input-judge", direction="input", score=n / 10, blocked=False)] for n in range(9)
]
INPUTS = InputDistribution.of(SCORES, ["input-judge"], judge="j 1")


def test_a_certificate_holds_what_was_expected(world) -> None:
    """It verifies, says the counts, and shows them to who signs; no other answer changes."""
    decision = world.certify(inputs=INPUTS)
    verified = world.verify(envelope=approve(decision.envelope, world.keys["approver"]))
    sheet = signoff_sheet(decision.envelope, policy=world.policy, now=NOW + timedelta(hours=1))
    words = [line.words for line in sheet.lines if line.heading == "expected inputs"]

    assert verified.certificate.inputs == INPUTS
    assert sheet.unshown == ()
    assert words[0].startswith("expected-traffic: 9 requests")
    assert words[1].startswith(f"input-judge: {' '.join(map(str, INPUTS.controls[0].scores))}, 0 failed")


def test_without_a_sample_nothing_is_written(world) -> None:
    """A certificate without one reads and digests as before there were any."""
    drafted = read_unverified(world.certify().envelope)
    sheet = signoff_sheet(world.envelope, policy=world.policy, now=NOW)

    assert drafted.inputs is None
    assert "inputs" not in drafted.to_value()
    assert [line.words for line in sheet.lines if line.heading == "expected inputs"] == ["no sample given"]
