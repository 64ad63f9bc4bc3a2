"""A vendor's tune is certified for its behaviour, never for bytes, and never past the vendor's own no."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from builders import NOW, SOME_SHA, make_eval_report, make_policy, signed_evidence
from recert.certification import TrustStore, approve, generate_key, issue_status, read_unverified, verify
from recert.certification.hosted import certify_hosted
from recert.certification.signing.signoff import signoff_sheet
from recert.errors import VerificationError
from recert.records.reports.evaluation import ArmCheck, Verdict
from recert.records.signed.hosted_job import HostedCheck, HostedJob

VENDOR = "https://api.example.com/v1"


def job(**changes: Any) -> HostedJob:
    """A vendor's job that succeeded and passed."""
    fields: dict[str, Any] = {
        "vendor": VENDOR,
        "job_id": "ftjob-abc",
        "base_model": "small",
        "tuned_model": "ft:small",
        "training_file": "file-1",
        "method": "supervised",
        "status": "succeeded",
        "created_at": NOW,
        "checks": (HostedCheck(event_id="e", snapshot="ft:small", category="violence", passed=True),),
        "pulled_at": NOW,
    }
    return HostedJob.model_validate(fields | changes)


def arms(base: str = "small", tuned: str = "ft:small", vendor: str = VENDOR) -> tuple[ArmCheck, ...]:
    """Both arms at the vendor's endpoint."""
    return tuple(
        ArmCheck(
            arm=arm,
            endpoint=f"{vendor}#{name}",
            fingerprint_at_start=f"print of {name}",
            fingerprint_at_end=f"print of {name}",
            arms_differ=True,
        )
        for arm, name in (("base", base), ("tuned", tuned))
    )


def decided(tmp_path: Path, found: HostedJob, **changes: Any) -> Any:
    """Certify a vendor's job on an evaluation at its endpoint."""
    keys = {
        role: generate_key(tmp_path / f"{role}.pem", role, role.title())
        for role in ("evaluator", "approver", "trainer", "status")
    }
    trust = TrustStore.load(tmp_path)
    status = issue_status(None, key=keys["status"], trust=trust, validity_hours=24, now=NOW)
    policy = make_policy()
    report = make_eval_report(policy=policy, **({"arms": arms()} | changes))
    reports = {"eval_report": report.model_copy(update={"base": None, "tuned": None})}
    return certify_hosted(
        **reports,
        **signed_evidence(keys, trust, reports, status),
        job=found,
        policy=policy,
        evidence_sha256=SOME_SHA,
        signer=keys["evaluator"],
        approvers=[keys["approver"].public],
        trainer_key_id=keys["trainer"].key_id,
        now=NOW,
    ), keys


def test_what_it_binds_is_behaviour_and_the_vendors_record(tmp_path: Path) -> None:
    """It says so, names the record's digest, is signed like any other, and is no leave to serve files."""
    decision, keys = decided(tmp_path, job())
    assert decision.envelope is not None, decision.reasons
    said = read_unverified(decision.envelope)
    signed = approve(decision.envelope, keys["approver"])
    sheet = signoff_sheet(signed, policy=make_policy(), trust=TrustStore.load(tmp_path), now=NOW)

    assert (said.binds, said.delta_kind, said.method) == ("behaviour", "hosted", "hosted-supervised")
    assert [(f.name, f.sha256) for f in said.tuned.files] == [("hosted-job.json", job().digest)]
    assert [f.name for f in said.base.files] == ["hosted-base.json"]
    assert "binds behaviour, not bytes" in said.limitations[0]
    assert not sheet.unshown and not sheet.missing
    with pytest.raises(VerificationError) as refused:
        verify(
            signed,
            base_dir=tmp_path,
            tuned_dir=tmp_path,
            trust=TrustStore.load(tmp_path),
            status=b"{}",
            policy=make_policy(),
            now=NOW + timedelta(minutes=1),
        )
    assert refused.value.reason == "binds-behaviour"


@pytest.mark.parametrize(
    ("found", "changes", "code"),
    [
        ({"status": "failed", "error": "bad rows"}, {}, "vendor-job"),
        ({"checks": (HostedCheck(event_id="e", category="hate", passed=False),)}, {}, "vendor-check"),
        ({}, {"verdict": Verdict.FAIL}, "verdict-not-pass"),
        ({}, {"arms": arms(tuned="ft:other")}, "vendor-model"),
        ({}, {"arms": arms(base="large")}, "vendor-model"),
        ({}, {"arms": arms(vendor="https://other.example.com/v1")}, "vendor-model"),
    ],
)
def test_a_no_of_either_side_is_no(
    found: dict[str, Any], changes: dict[str, Any], code: str, tmp_path: Path
) -> None:
    """The vendor's, ours, and an evaluation of other models than the job's each refuse with a reason."""
    decision, _ = decided(tmp_path, job(**found), **changes)

    assert decision.envelope is None
    assert code in {reason.partition(":")[0] for reason in decision.reasons}


def test_files_cannot_stand_for_the_vendors_model(tmp_path: Path) -> None:
    """An evaluation of files on disk says nothing about what a vendor serves."""
    decision, _ = decided(tmp_path, job(), arms=make_eval_report().arms)

    assert [reason.partition(":")[0] for reason in decision.reasons].count("vendor-model") == 2
