"""Model folders, keys, a certificate and a status list on disk, all of which hold now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from builders import (
    BASE_FILES,
    ROLES,
    SOME_SHA,
    TUNED_FILES,
    make_eval_report,
    make_policy,
    make_rules,
    make_screen_report,
    make_tune_report,
    safetensors,
    signed_evidence,
    write_model,
)
from evaluated import evaluated
from recert.certification import (
    SigningKey,
    TrustStore,
    approve,
    certify,
    generate_key,
    issue_status,
    read_unverified,
    suspend,
    verify,
)
from recert.interop.attestation.holding import CertificateFiles
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.record import now
from recert.records.reports.evaluation import Verdict
from recert.records.signed.certificate import Certificate, VerifiedCertificate

MERGED_FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model-00001-of-00002.safetensors": safetensors(b"tuned weights, first half"),
    "model-00002-of-00002.safetensors": safetensors(b"tuned weights, second half"),
    "tokenizer/tokenizer.json": b"{}",
}


@dataclass
class Certified:
    """One certified model in a folder: `base`, `tuned`, `keys`, `certificate.json`, `status.json`."""

    folder: Path
    tuned_files: dict[str, bytes] = field(default_factory=lambda: dict(TUNED_FILES))
    base_files: dict[str, bytes] = field(default_factory=lambda: dict(BASE_FILES))
    policy: Policy = field(default_factory=make_policy)
    name: str = "test-model"
    made_at: datetime = field(default_factory=lambda: now() - timedelta(minutes=1))
    changes: dict[str, Any] = field(default_factory=dict)
    """Of what `certify` is asked."""
    suffix: str = ""
    """Words after every user turn, without which it is not certified."""
    evidence: bool = False
    """With an evaluation beside it, from whose outcomes it follows."""

    def __post_init__(self) -> None:
        write_model(self.base, self.base_files)
        write_model(self.tuned, self.tuned_files)
        self.keys: dict[str, SigningKey] = {
            role: generate_key(self.folder / "keys" / f"{role}.pem", role, role.title()) for role in ROLES
        }
        self.trusted = TrustStore.load(self.trust)
        self.status.write_bytes(self._issue(None))
        base, tuned = Manifest.of_folder(self.base), Manifest.of_folder(self.tuned)
        screen = make_screen_report()
        kind = "lora-adapter" if (self.tuned / "adapter_config.json").exists() else "merged-weights"
        behind: dict[str, Any] = {}
        if self.suffix:
            self.policy = make_policy(gateway={"immutable_suffix": self.suffix})
            behind = {
                "rules": (*make_rules(), *make_rules(safeguards=("immutable-suffix",))),
                "verdict_safeguarded": Verdict.PASS,
                "required_controls": ("immutable-suffix",),
            }
        asked: dict[str, Any] = {
            "eval_report": make_eval_report(
                base=base, tuned=tuned, policy=self.policy, model_name=self.name, **behind
            ),
            "policy": self.policy,
            "base_dir": self.base,
            "tuned_dir": self.tuned,
            "evidence_sha256": SOME_SHA,
            "signer": self.keys["evaluator"],
            "approvers": [self.keys["approver"].public],
            "trainer_key_id": self.keys["trainer"].key_id,
            "tune_report": make_tune_report(base=base, tuned=tuned, screen_report=screen, delta_kind=kind),
            "screen_report": screen,
            "now": self.made_at,
        }
        if self.evidence:
            asked["eval_report"] = evaluated(
                self.folder / "evaluation", self.policy, base=base, tuned=tuned, model_name=self.name
            )
            asked["evidence_sha256"] = asked["eval_report"].outcomes_sha256
        asked |= self.changes
        decision = certify(
            **(signed_evidence(self.keys, self.trusted, asked, self.status.read_bytes()) | asked)
        )
        assert decision.envelope is not None, decision.reasons
        self.certificate.write_bytes(approve(decision.envelope, self.keys["approver"]))

    @property
    def base(self) -> Path:
        """The base model's folder."""
        return self.folder / "base"

    @property
    def tuned(self) -> Path:
        """The tuned model's folder."""
        return self.folder / "tuned"

    @property
    def trust(self) -> Path:
        """The trusted keys."""
        return self.folder / "keys"

    @property
    def status(self) -> Path:
        """The status list's file."""
        return self.folder / "status.json"

    @property
    def certificate(self) -> Path:
        """The certificate's file."""
        return self.folder / "certificate.json"

    @property
    def content(self) -> Certificate:
        """What the certificate says."""
        return read_unverified(self.certificate.read_bytes())

    @property
    def files(self) -> CertificateFiles:
        """Where all of it lies."""
        return CertificateFiles([self.certificate], self.trust)

    @property
    def environment(self) -> dict[str, str]:
        """The settings that name it."""
        return {"RECERT_CERTIFICATE": str(self.certificate), "RECERT_TRUST": str(self.trust)}

    def verified(self) -> VerifiedCertificate:
        """Return what verification says of all of it now."""
        return verify(
            self.certificate.read_bytes(),
            base_dir=self.base,
            tuned_dir=self.tuned,
            trust=self.trusted,
            status=self.status.read_bytes(),
            policy=self.policy,
        )

    def suspend(self) -> None:
        """Suspend the certificate in the status list."""
        self.status.write_bytes(
            suspend(
                self.status.read_bytes(),
                self.content.serial,
                "canary failed",
                key=self.keys["status"],
                trust=self.trusted,
                validity_hours=24,
            )
        )

    def _issue(self, previous: bytes | None) -> bytes:
        return issue_status(
            previous, key=self.keys["status"], trust=self.trusted, validity_hours=24, now=self.made_at
        )
