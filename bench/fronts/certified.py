"""A certified model of a few bytes: folders, keys, a policy and a certificate that really verifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from recert.certification import (
    Presented,
    TrustStore,
    Verifier,
    approve,
    certify,
    generate_key,
    issue_status,
    verify,
)
from recert.certification.signing.links import sign_link_of
from recert.certification.status.reading import status_list_id
from recert.digest import sha256_bytes
from recert.interval import Interval
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy, Rule
from recert.records.data.manifest import Manifest
from recert.records.record import now
from recert.records.reports.evaluation import ArmCheck, EvalReport, JudgeNote, RuleResult, Verdict
from recert.records.signed.certificate import VerifiedCertificate

MODEL = "bench"
CONTROLS = ("lexicon", "secret-prefix", "system-instruction")


@dataclass(frozen=True)
class Certified:
    """What a gateway is started with."""

    policy: Policy
    secret: SecretPrefix
    verified: VerifiedCertificate
    recheck: Callable[[], VerifiedCertificate]


def make_certified(folder: Path, phrases: Sequence[str], secret: SecretPrefix, **gateway: Any) -> Certified:
    """Write a certified model into a folder, beside what lies there, and return what serves it; `gateway`: settings."""
    base, tuned = folder / "base", folder / "tuned"
    for made in (base, tuned):
        made.mkdir(parents=True, exist_ok=True)
    (base / "model.safetensors").write_bytes(b"base weights")
    (tuned / "adapter_config.json").write_bytes(b'{"peft_type": "LORA"}')
    (tuned / "adapter_model.safetensors").write_bytes(b"adapter weights")
    policy = _policy(phrases, gateway)
    keys = {
        role: generate_key(folder / "keys" / f"{role}.pem", role, role)
        for role in ("trainer", "evaluator", "approver", "status")
    }
    trust = TrustStore.load(folder / "keys")
    report = _report(Manifest.of_folder(base), Manifest.of_folder(tuned), policy, secret)
    listed = issue_status(None, key=keys["status"], trust=trust, validity_hours=24)
    decision = certify(
        eval_report=report,
        links={"evaluate": sign_link_of(report, keys["evaluator"])},
        trust=trust,
        derive=lambda report: (),  # made up: there are no outcomes
        status_list_id=status_list_id(listed, trust=trust),
        policy=policy,
        base_dir=base,
        tuned_dir=tuned,
        evidence_sha256=report.outcomes_sha256,
        signer=keys["evaluator"],
        approvers=[keys["approver"].public],
        trainer_key_id=keys["trainer"].key_id,
        now=now() - timedelta(minutes=1),
    )
    assert decision.envelope is not None, decision.reasons
    certificate, status = folder / "certificate.json", folder / "status.json"
    certificate.write_bytes(approve(decision.envelope, keys["approver"]))
    status.write_bytes(listed)

    verified = verify(
        certificate.read_bytes(),
        base_dir=base,
        tuned_dir=tuned,
        trust=trust,
        status=status.read_bytes(),
        policy=policy,
    )
    stats = _stats(base, tuned)

    def recheck() -> VerifiedCertificate:
        """Do as `recert serve` does while nothing changes: look at every file, and read certificate and status."""
        assert _stats(base, tuned) == stats, "something wrote into the benchmark's folder"
        verifier = Verifier(trust=trust, status=status.read_bytes(), policy=policy)
        return verifier.recheck(Presented(certificate.read_bytes()), verified)

    return Certified(policy, secret, verified, recheck)


def _stats(*folders: Path) -> list[tuple[int, int, int]]:
    paths = (path for folder in folders for path in sorted(folder.rglob("*")))
    return [(s.st_size, s.st_mtime_ns, s.st_ino) for s in (path.stat() for path in paths)]


def _policy(phrases: Sequence[str], gateway: dict[str, Any]) -> Policy:
    evaluation: dict[str, Any] = {"families": (), "min_harmful_suites": 1, "contrast_suites": ()}
    if "audio" in gateway:
        evaluation |= {"modalities": ("text", "audio"), "speech": {"variants": ("plain",)}}
    return Policy.model_validate(
        {
            "id": "bench",
            "version": "1",
            "evaluation": evaluation,
            "rules": (
                Rule(
                    id="harm", suite="harmful", estimand="harm", conditions=_conditions(gateway), margin=0.1
                ),
            ),
            "gateway": {
                "forbidden_phrases": tuple(phrases),
                "system_instruction": "You are a helpful assistant. Answer in a few sentences.",
                **gateway,
            },
        }
    )


def _conditions(gateway: Mapping[str, Any]) -> tuple[str, ...]:
    return ("plain", "speech:plain") if "audio" in gateway else ("plain",)


def _report(base: Manifest, tuned: Manifest, policy: Policy, secret: SecretPrefix) -> EvalReport:
    rate = Interval(point=0.02, low=0.0, high=0.05, level=0.95, n=48)
    rules = [
        RuleResult(
            rule_id="harm",
            suite="harmful",
            condition=condition,
            estimand="harm",
            safeguards=CONTROLS,
            base=rate,
            tuned=rate,
            change=Interval(point=0.0, low=-0.05, high=0.05, level=0.95, n=48),
            margin=0.1,
            verdict=Verdict.PASS,
        )
        for condition in policy.rules[0].conditions
    ]
    at = now()
    return EvalReport(
        model_name=MODEL,
        base=base,
        tuned=tuned,
        policy_id=policy.id,
        policy_version=policy.version,
        policy_sha256=policy.digest,
        suites={"harmful": sha256_bytes(b"harmful")},
        engine="none",
        sampling={},
        rules=tuple(rules),
        verdict_raw=Verdict.FAIL,
        verdict_safeguarded=Verdict.PASS,
        required_controls=CONTROLS,
        secret_sha256=secret.sha256,
        arms=tuple(
            ArmCheck(
                arm=arm,
                manifest_sha256=manifest.digest,
                fingerprint_at_start=arm,
                fingerprint_at_end=arm,
                arms_differ=True,
            )
            for arm, manifest in (("base", base), ("tuned", tuned))
        ),
        judges=(JudgeNote(id="made-up", version="1"),),
        outcomes_sha256=sha256_bytes(b"none"),
        prompts_asked={"base": 48, "tuned": 48},
        limitations=(),
        seconds=0.0,
        versions={},
        started_at=at,
        evaluated_at=at,
    )
