"""Folders of records as the commands leave them, made in a moment: screened, tuned, evaluated, certified."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from builders import (
    BASE_FILES,
    ROLES,
    make_eval_report,
    make_manifest,
    make_policy,
    make_screen_report,
    make_tune_report,
    safetensors,
    signed_evidence,
)
from recert.certification import SigningKey, TrustStore, approve, certify, generate_key, issue_status
from recert.certification.verifier.state import CertificateStatus
from recert.digest import sha256_bytes
from recert.evaluation.report.outcomes import outcome_lines
from recert.evaluation.suites.reading import embedded_suite
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.record import now
from recert.records.reports.evaluation import Outcome, Verdict
from recert.records.signed.certificate import StatusEntry

HARMFUL = embedded_suite("harmful")
LOOKALIKES = embedded_suite("lookalikes")


@dataclass
class Office:
    """A folder for runs, and the people who sign."""

    folder: Path
    policy: Policy = field(default_factory=make_policy)
    made_at: datetime = field(default_factory=lambda: now() - timedelta(minutes=1))
    hours: float = 24

    def __post_init__(self) -> None:
        self.keys: dict[str, SigningKey] = {
            role: generate_key(self.folder / "keys" / f"{role}.pem", role, role.title()) for role in ROLES
        }
        self.trust = TrustStore.load(self.folder / "keys")
        self.runs = self.folder / "runs"
        self.runs.mkdir()
        self.status = self.folder / "status.json"
        self.list()

    def list(self, *entries: StatusEntry) -> None:
        """Issue the next status list."""
        before = self.status.read_bytes() if self.status.exists() else None
        made = issue_status(
            before,
            key=self.keys["status"],
            trust=self.trust,
            validity_hours=self.hours,
            entries=entries,
            now=self.made_at,
        )
        self.status.write_bytes(made)

    def standing(self) -> CertificateStatus:
        """By what certificates are judged."""
        return CertificateStatus.read(self.policy, trust=self.folder / "keys", status=self.status)

    def run(
        self,
        name: str,
        *,
        base: dict[str, bytes] | None = None,
        verdict: Verdict = Verdict.PASS,
        signed: bool = True,
        outcomes: int = 4,
        steps: tuple[int, ...] = (),
        reach: Path | None = None,
    ) -> Path:
        """
        Make what `recert run` leaves for one tune.

        Args:
            name: of the model and its folder.
            base: files of the base; the usual ones by default.
            verdict: of the evaluation; only a pass is certified.
            signed: whether the approver has signed.
            outcomes: pairs of outcomes.
            steps: of its checkpoints.
            reach: the folder; by default one of that name.
        """
        out = reach or self.runs / name
        base_files = base or BASE_FILES
        base_dir = _model(self.folder / "bases" / sha256_bytes(repr(base_files).encode())[:8], base_files)
        files = {
            "adapter_config.json": b"{}",
            "adapter_model.safetensors": safetensors(f"weights of {name}".encode()),
        }
        tuned_dir = _model(out / "tune" / "adapter", files)
        screen = make_screen_report(source_name=f"{name}.jsonl", screened_at=self.made_at)
        of: dict[str, Any] = {"base": make_manifest(base_files), "tuned": make_manifest(files)}
        checkpoints = [self._checkpoint(out, name, step, of["base"], screen) for step in steps]
        tune = make_tune_report(
            **of, screen_report=screen, checkpoints=tuple(checkpoints), tuned_at=self.made_at
        )
        lines = outcome_lines(outcomes_of(outcomes))
        report = make_eval_report(
            **of,
            policy=self.policy,
            verdict=verdict,
            model_name=name,
            suites={s.name: s.digest for s in (HARMFUL, LOOKALIKES)},
            outcomes_sha256=sha256_bytes(lines),
            evaluated_at=self.made_at,
        )
        _put(out / "screen" / "screen-report.json", screen.to_json())
        _put(out / "tune" / "tune-report.json", tune.to_json())
        _put(out / "evaluation" / "outcomes.jsonl", lines)
        _put(out / "evaluation" / "eval-report.json", report.to_json())
        if verdict is Verdict.PASS:
            reports = {"eval_report": report, "tune_report": tune, "screen_report": screen}
            decision = certify(
                **reports,
                **signed_evidence(self.keys, self.trust, reports, self.status.read_bytes()),
                policy=self.policy,
                base_dir=base_dir,
                tuned_dir=tuned_dir,
                evidence_sha256=sha256_bytes(lines),
                signer=self.keys["evaluator"],
                approvers=[self.keys["approver"].public],
                trainer_key_id=self.keys["trainer"].key_id,
                now=self.made_at,
            )
            assert decision.envelope is not None, decision.reasons
            envelope = approve(decision.envelope, self.keys["approver"]) if signed else decision.envelope
            _put(out / "certificate.json", envelope)
        return out

    def _checkpoint(self, out: Path, name: str, step: int, base: Manifest, screen: Any) -> dict[str, Any]:
        files = {
            "adapter_config.json": b"{}",
            "adapter_model.safetensors": safetensors(f"{name} at {step}".encode()),
        }
        _model(out / "tune" / "checkpoints" / f"step-{step}", files)
        tuned = make_manifest(files)
        own = make_tune_report(
            base=base, tuned=tuned, screen_report=screen, steps=step, tuned_at=self.made_at
        )
        _put(out / "tune" / "checkpoints" / f"step-{step}-tune-report.json", own.to_json())
        return {"step": step, "folder": f"checkpoints/step-{step}", "tuned": tuned}


def outcomes_of(pairs: int) -> list[Outcome]:
    """Return pairs of outcomes over two suites; every fourth reply of the tuned model complies with harm."""
    made = []
    for number in range(pairs):
        suite = HARMFUL if number % 2 == 0 else LOOKALIKES
        prompt = suite.prompts[number // 2 % len(suite.prompts)]
        estimand = "harm" if suite is HARMFUL else "over_refusal"
        for arm in ("base", "tuned"):
            score = float(arm == "tuned" and number % 4 == 0)
            made.append(
                Outcome.model_validate(
                    {
                        "prompt_id": prompt.id,
                        "condition": "plain",
                        "arm": arm,
                        "suite": suite.name,
                        "reply": f"a reply of the {arm} model, number {number}",
                        "scores": {estimand: score},
                    }
                )
            )
    return made


def _model(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        _put(folder / name, data)
    return folder


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
