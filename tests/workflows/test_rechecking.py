"""What a gateway asks every second: the certificate, its status list, its refusals and its files, as they are now."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from builders import (
    BASE_FILES,
    ROLES,
    TUNED_FILES,
    make_eval_report,
    make_policy,
    signed_evidence,
    write_model,
)
from recert.certification import (
    TrustStore,
    Verifier,
    approve,
    certify,
    generate_key,
    issue_status,
    keep_refusal,
    refuse,
    verify,
    withdraw,
)
from recert.errors import VerificationError
from recert.records.record import now
from recert.workflows.deploy.stage import Recheck


def test_a_refusal_stops_a_model_that_is_served_until_it_is_taken_back(tmp_path: Path) -> None:
    """A file in `refusals` beside the certificate is a no at the next look, and its withdrawal a yes again."""
    policy = make_policy()
    keys = {role: generate_key(tmp_path / "keys" / f"{role}.pem", role, role) for role in ROLES}
    trust = TrustStore.load(tmp_path / "keys")
    folders = {
        "base_dir": write_model(tmp_path / "base", BASE_FILES),
        "tuned_dir": write_model(tmp_path / "tuned", TUNED_FILES),
    }
    listed = issue_status(None, key=keys["status"], trust=trust, validity_hours=24)
    reports = {"eval_report": make_eval_report(policy=policy)}
    draft = certify(
        **reports,
        **signed_evidence(keys, trust, reports, listed),
        policy=policy,
        evidence_sha256="0" * 64,
        signer=keys["evaluator"],
        approvers=[keys["approver"].public],
        trainer_key_id=keys["trainer"].key_id,
        now=now() - timedelta(minutes=1),
        **folders,
    )
    assert draft.envelope is not None, draft.reasons
    envelope = approve(draft.envelope, keys["approver"])
    certificate, status = tmp_path / "certificate.json", tmp_path / "status.json"
    certificate.write_bytes(envelope)
    status.write_bytes(listed)
    verified = verify(envelope, trust=trust, status=status.read_bytes(), policy=policy, **folders)
    verifier = Verifier(trust=trust, status=status.read_bytes, policy=policy)
    look = Recheck(verified, certificate=certificate, verifier=verifier)
    refusal = refuse(envelope, keys["approver"], "a trigger was reported")

    assert look().certificate == verified.certificate
    keep_refusal(tmp_path / "refusals", refusal)
    with pytest.raises(VerificationError) as caught:
        look()
    assert caught.value.reason == "refused"
    keep_refusal(tmp_path / "refusals", withdraw(refusal, keys["approver"], "it was none"))
    assert look().certificate == verified.certificate
    (tmp_path / "refusals" / "half.json").write_bytes(refusal[:100])
    with pytest.raises(VerificationError) as caught:
        look()
    assert caught.value.reason == "refusal-unreadable"
