"""What a certificate shows of its policy, its files and its replies is what they are, whoever signs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from certified_folders import Certified
from recert.certification import verify
from recert.certification.signing.envelope import sign
from recert.certification.signing.statement import statement_bytes
from recert.errors import VerificationError
from recert.records.signed.certificate import PAYLOAD_TYPE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"policy_id": "recert-strict"}, "wrong-policy"),
        ({"policy_version": "99"}, "wrong-policy"),
        ({"delta_kind": "merged-weights"}, "malformed"),
        ({"delta_kind": "hosted"}, "malformed"),
        ({"replies": {}}, "evidence-missing"),
        ({"replies": {"base_made": 9}}, "evidence-missing"),
        ({"replies": {"base_made": 9, "tuned_made": 10, "tuned_cached": -1}}, "evidence-missing"),
        ({"sampling": {"seed": 777}}, "evidence-missing"),
    ],
)
def test_what_it_shows_is_what_it_is(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    """
    Evaluator and approver together name another policy, kind, seed or count than there was: refused.
    """
    one = Certified(tmp_path)
    said = one.content
    if "sampling" in changes:
        changes = {"sampling": {**(said.sampling or {}), **changes["sampling"]}}
    forged = statement_bytes(said.model_copy(update=changes))
    signed = sign(PAYLOAD_TYPE, forged, [one.keys["evaluator"], one.keys["approver"]]).to_json()

    with pytest.raises(VerificationError) as refused:
        verify(
            signed,
            base_dir=one.base,
            tuned_dir=one.tuned,
            trust=one.trusted,
            status=one.status.read_bytes(),
            policy=one.policy,
        )

    assert refused.value.reason == reason
